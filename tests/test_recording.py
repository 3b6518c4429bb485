"""Recordings: the figures are what they say, the same in every backend, and training is the same with and without."""

import copy
import pickle

import numpy as np
import pytest
from checks import digest
from networks import BATCH_SIZE, CASES, LARGE, Case, network, starting_point
from samples import small_trainer
from test_written_networks import rewritten

import bpfast as bp
from bpfast.ops import ACTIVATIONS
from bpfast.recording import FIGURES

EVERY = CASES | LARGE | {
    "written": Case(rewritten([bp.Dense(9, "tanh"), bp.Dense(8, "gelu"), bp.Dense(17, "relu"), bp.Dense(3, "softmax")]),
                    "cross_entropy", weighted=True),
    "dropped": Case([bp.Dense(9), bp.Dropout(0.4), bp.Activation("relu"), bp.Dense(20, "selu"), bp.AlphaDropout(0.2),
                     bp.Dense(1)], "squared_error"),
    "summed": Case([bp.Dense(4), bp.Residual(bp.Dense(6, "elu"), bp.Dense(4)), bp.Activation("relu"), bp.Dense(1)],
                   "squared_error"),
}  # fmt: skip


def recorded(name, backend, dtype="float64", *, record_every=3, **settings):
    """A trainer of a case after three epochs of two fits."""
    case = EVERY[name]
    X, y, weight, arrays = starting_point(case)
    trainer = bp.Trainer(network(case, arrays, dtype), loss=case.loss, batch_size=BATCH_SIZE, seed=3, backend=backend,
                         **settings)
    for epochs in (2, 1):
        trainer.fit(X, y, sample_weight=weight, epochs=epochs, record_every=record_every, verbose=False)
    return trainer


@pytest.mark.parametrize("name", EVERY)
def test_every_network(native_engine, name):
    check_same(name, native_engine)


@pytest.mark.parametrize("name", ["relu-1", "elu-10", "hard-10", "softmax-within", "residual-of-one", "weighted",
                                  "conv-same", "batch_norm", "layer_norm", "written", "dropped", "summed"])
def test_every_kind_in_numba(name):
    check_same(name, "numba")


def check_same(name, backend):
    """A recording as NumPy's."""
    expected, found = recorded(name, "numpy").recording, recorded(name, backend).recording
    np.testing.assert_array_equal(found.steps, expected.steps)
    assert (found.layers, found.activations) == (expected.layers, expected.activations) and found.layers
    for figure in FIGURES:
        np.testing.assert_allclose(getattr(found, figure), getattr(expected, figure), rtol=1e-6, atol=1e-9,
                                   err_msg=figure)


@pytest.mark.parametrize("name", EVERY)
def test_training_is_the_same(native_engine, dtype, name):
    settings = {"regularizer": bp.L2(1e-2), "clip": bp.ClipGlobalNorm(0.5)} if name == "conv-same" else {}
    plain, found = (recorded(name, native_engine, dtype, record_every=k, **settings) for k in (None, 1))
    assert plain.recording is None and len(found.recording)
    assert digest(plain.network) == digest(found.network)
    np.testing.assert_array_equal(plain.history["loss"], found.history["loss"])


def test_training_is_the_same_in_every_backend(backend, dtype):
    plain, found = (recorded("relu-10", backend, dtype, record_every=k) for k in (None, 2))
    assert digest(plain.network) == digest(found.network)


def test_any_number_of_threads(native_engine, rng):
    X, y = rng.normal(size=(2600, 30)), rng.integers(3, size=2600)

    def fit(n_threads, record_every):
        net = bp.Network([bp.Dense(200, "relu"), bp.Dense(100, "tanh"), bp.Dense(3, "softmax")], seed=0)
        trainer = bp.Trainer(net, loss="cross_entropy", batch_size=1300, seed=1, backend=native_engine,
                             n_threads=n_threads)
        trainer.fit(X, y, epochs=2, record_every=record_every)
        return trainer

    one, two, plain = fit(1, 1), fit(3, 1), fit(3, None)
    assert digest(one.network) == digest(two.network) == digest(plain.network)
    for figure in FIGURES:
        np.testing.assert_array_equal(getattr(one.recording, figure), getattr(two.recording, figure))


# -- what the figures are --------------------------------------------------------------------------------


def followed(backend, trainer, X, y, steps):
    """Figures of full batches, from public calls around each step."""
    found = []
    for _ in range(steps):
        _, gradients = trainer.loss_and_gradients(X, y)
        values, before = trainer.network.activations(X), copy.deepcopy(dict(trainer.network.parameters))
        trainer.fit(X, y, epochs=1)
        found.append((gradients, values, before, copy.deepcopy(dict(trainer.network.parameters))))
    return found


def test_what_they_are(backend, rng):
    X, y = rng.normal(size=(40, 6)), rng.integers(2, size=40)
    trainer = small_trainer(backend, batch_size="full", regularizer=bp.L2(0.1), clip=bp.ClipValue(1e-3))
    trainer.network.build(6)
    twin = pickle.loads(pickle.dumps(trainer))
    twin.fit(X, y, epochs=3, record_every=1)
    r = twin.recording
    assert r.steps.tolist() == [1, 2, 3] and r.layers == ("0", "1") and r.activations == ("tanh", "softmax")
    last = None
    for record, (gradients, values, before, after) in enumerate(followed(backend, trainer, X, y, 3)):
        for layer, name in enumerate(("0.weight", "1.weight")):
            z = values[layer] @ before[name] + before[name.replace("weight", "bias")]
            expected = {
                "gradient_norm": np.linalg.norm(gradients[name]),
                "weight_norm": np.linalg.norm(before[name]),
                "update_norm": np.linalg.norm(after[name] - before[name]),
                "update_ratio": np.linalg.norm(after[name] - before[name]) / np.linalg.norm(before[name]),
                "activation_mean": values[-layer or 1].mean(), "activation_std": values[-layer or 1].std(),
                "pre_activation_mean": z.mean(), "pre_activation_std": z.std(),
                "saturated": np.nan if layer else np.mean(1 - np.tanh(z) ** 2 < 0.05),
                "gradient_angle": np.nan, "dead": np.nan,
            }  # fmt: skip
            if last:
                cosine = np.sum(gradients[name] * last[name])
                cosine /= np.linalg.norm(gradients[name]) * np.linalg.norm(last[name])
                expected["gradient_angle"] = np.degrees(np.arccos(cosine))
            assert sorted(expected) == sorted(FIGURES)
            for figure, value in expected.items():
                found = getattr(r, figure)[record, layer]
                assert found == pytest.approx(value, rel=1e-6, abs=1e-12, nan_ok=True), figure
        last = gradients


def test_dead_is_never_active_in_the_epoch(backend):
    """Unit j is active for row j alone: batch by batch fewer of them are dead, and each epoch begins anew."""
    net = bp.Network([bp.Dense(8, "relu"), bp.Dense(1)], input_shape=8, dtype="float64", seed=0)
    net.parameters["0.weight"][...] = np.eye(8)
    net.parameters["0.weight"][7] = 0  # unit 7 lives for no row
    net.parameters["0.bias"][...] = -0.5
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1e-9), batch_size=2, backend=backend)
    trainer.fit(np.eye(8), np.zeros(8), epochs=2, shuffle=False, record_every=1)
    np.testing.assert_allclose(trainer.recording.dead[:, 0], [0.75, 0.5, 0.25, 0.125] * 2)
    assert np.isnan(trainer.recording.dead[:, 1]).all()


def test_dead_where_an_epoch_begins_with_a_batch_of_zero_weight(backend):
    net = bp.Network([bp.Dense(8, "relu"), bp.Dense(1)], input_shape=8, dtype="float64", seed=0)
    net.parameters["0.weight"][...] = np.eye(8)
    net.parameters["0.bias"][...] = -0.5
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1e-9), batch_size=2, backend=backend)
    trainer.fit(np.eye(8), np.zeros(8), epochs=2, shuffle=False, record_every=1, sample_weight=[0, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(trainer.recording.dead[:, 0], [0.75, 0.5, 0.25] * 2)


@pytest.mark.parametrize("name", ["relu", "elu", "gelu", "relu6", "selu", "softplus", "leaky_relu"])
def test_units_that_die(backend, name):
    net = bp.Network([bp.Dense(10, name), bp.Dense(1)], input_shape=3, seed=0)
    net.build(3)
    net.parameters["0.bias"][:4] = -1000
    trainer = bp.Trainer(net, loss="squared_error", batch_size=7, backend=backend)
    trainer.fit(np.random.default_rng(0).normal(size=(50, 3)), np.zeros(50), epochs=1, record_every=1000)
    assert trainer.recording.dead[-1, 0] == (0 if name == "leaky_relu" else 0.4)


def test_units_of_a_gate_below_zero_die(backend):
    @bp.activation
    def gate(x):
        return x if x > 0 else -0.25

    net = bp.Network([bp.Dense(10, gate), bp.Dense(1)], input_shape=3, seed=0)
    net.parameters["0.bias"][:4] = -1000
    trainer = bp.Trainer(net, loss="squared_error", batch_size=7, backend=backend)
    trainer.fit(np.random.default_rng(0).normal(size=(50, 3)), np.zeros(50), epochs=1, record_every=1000)
    assert trainer.recording.dead[-1, 0] == 0.4


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "hard_tanh"])
def test_numbers_that_saturate(backend, name):
    net = bp.Network([bp.Dense(10, name), bp.Dense(1)], input_shape=3, seed=0)
    net.build(3)
    net.parameters["0.bias"][:3] = 1000
    trainer = bp.Trainer(net, loss="squared_error", batch_size="full", backend=backend)
    trainer.fit(np.random.default_rng(0).normal(size=(50, 3)) * 1e-3, np.zeros(50), epochs=1, record_every=1)
    assert trainer.recording.saturated[0, 0] == pytest.approx(0.3) and np.isnan(trainer.recording.dead).all()


def test_a_small_spread_far_from_zero(backend, rng):
    net = bp.Network([bp.Dense(37, "tanh"), bp.Dense(1)], input_shape=3, seed=0)
    net.build(3)
    net.parameters["0.bias"][...] = -300
    X = 1e-2 * rng.normal(size=(50, 3))
    trainer = bp.Trainer(net, loss="squared_error", batch_size="full", backend=backend)
    expected = np.std(X @ net.parameters["0.weight"])
    trainer.fit(X, np.zeros(50), epochs=1, record_every=1)
    assert trainer.recording.pre_activation_std[0, 0] == pytest.approx(expected, rel=0.02)
    assert trainer.recording.pre_activation_mean[0, 0] == pytest.approx(-300, abs=0.01)


def test_which_steps(backend, rng):
    """1, 1 + k, ... of the trainer, also over several fits, and the last of every epoch."""
    X, y = rng.normal(size=(50, 6)), rng.integers(2, size=50)
    trainer = small_trainer(backend, batch_size=10)  # 5 steps an epoch
    trainer.fit(X, y, epochs=2, record_every=4)
    trainer.fit(X, y, epochs=1)
    trainer.fit(X, y, epochs=1, record_every=4)
    assert trainer.recording.steps.tolist() == [1, 5, 9, 10, 17, 20]
    assert np.isnan(trainer.recording.gradient_angle[0]).all()
    assert np.isfinite(trainer.recording.gradient_angle[[1, 2, 3, 5]]).all()


def test_every_step_of_long_epochs(backend, rng):
    """More than a call of compiled code has room for."""
    X, y = rng.normal(size=(601, 6)), rng.integers(2, size=601)
    trainer = small_trainer(backend, batch_size=3)
    trainer.fit(X, y, epochs=2, record_every=1)
    assert trainer.recording.steps.tolist() == [*range(1, 403)]
    assert np.isfinite(trainer.recording.gradient_angle[1:]).all()


# -- the object ------------------------------------------------------------------------------------------


def test_recording(backend, rows):
    trainer = small_trainer(backend)
    trainer.fit(*rows, epochs=2, record_every=5)
    r = trainer.recording
    assert repr(r) == f"Recording({len(r)} records of 2 layers, up to step {r.steps[-1]})"
    table = r.to_pandas()
    assert table.shape == (2 * len(r), len(FIGURES)) and list(table.columns) == list(FIGURES)
    assert table.loc[(1, "0"), "weight_norm"] == r.weight_norm[0, 0]
    for twin in (pickle.loads(pickle.dumps(trainer)).recording, copy.deepcopy(trainer).recording):
        np.testing.assert_array_equal(twin.gradient_norm, r.gradient_norm)
    with pytest.raises(AttributeError, match="no 'gradients'; it has: steps, layers, activations, gradient_norm"):
        r.gradients  # noqa: B018


def test_restarts_keep_the_recording_of_the_best(backend, rows):
    trainer = small_trainer(backend)
    trainer.fit(*rows, epochs=2, restarts=3, record_every=100)
    assert trainer.recording.steps.tolist() == [1, 7, 14]


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "10"])
def test_refused(rows, every):
    with pytest.raises(ValueError, match="record_every must be an integer of at least 1"):
        small_trainer().fit(*rows, record_every=every)


def test_so_seldom_that_only_the_ends_of_epochs_are_recorded(backend, rows):
    trainer = small_trainer(backend, batch_size="full")
    trainer.fit(*rows, epochs=2, record_every=2**64)
    assert trainer.recording.steps.tolist() == [1, 2]


def test_refused_of_lbfgs(rows):
    with pytest.raises(ValueError, match="LBFGS makes none"):
        small_trainer(optimizer=bp.LBFGS()).fit(*rows, record_every=1)


@pytest.mark.parametrize("looks", [{"record_every": 1}, {"watch": True}, {"callbacks": bp.StopIfIll()}])
def test_refused_of_what_has_no_weights(backend, rng, looks):
    net = bp.Network([bp.Scale(), bp.LayerNorm(), bp.Activation("softmax")], seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", backend=backend)
    with pytest.raises(ValueError, match="no dense or convolutional layer to look at"):
        trainer.fit(rng.normal(size=(20, 3)), rng.integers(3, size=20), **looks)
    trainer.fit(rng.normal(size=(20, 3)), rng.integers(3, size=20), epochs=1)


def test_an_interrupt_leaves_what_was_recorded(backend, rows):
    def interrupt(trainer, figures):
        raise KeyboardInterrupt

    trainer = small_trainer(backend, batch_size=50)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*rows, epochs=5, record_every=1, callbacks=interrupt)
    assert trainer.recording.steps.tolist() == [1, 2, 3, 4]


def test_divergence_leaves_what_was_recorded(backend, rows):
    trainer = small_trainer(backend, dtype="float32", optimizer=bp.SGD(1e38))
    with pytest.raises(bp.DivergenceError):
        trainer.fit(*rows, epochs=5, record_every=1)
    assert len(trainer.recording) and trainer.recording.steps[0] == 1


def test_activations_are_sorted():
    """Into those whose numbers saturate, those whose units die, and the others."""
    from bpfast.ops.figures import is_sigmoidal, least_slope

    kinds = {name: "flat" if least_slope(f) and is_sigmoidal(f) else "dies" if least_slope(f) else "neither"
             for name, f in ACTIVATIONS.items()}
    assert {name for name, kind in kinds.items() if kind == "neither"} == {"linear", "exponential", "softmax", "step"}
    assert {name for name, kind in kinds.items() if kind == "flat"} == {
        "sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign"}
