"""Penalties, decay, bounds on weights and clipping: every engine against the formulas written out."""

import pickle

import numpy as np
import pytest
from checks import check_gradients, digest, flat
from engines import SAME_BITS
from networks import BATCH_SIZE, CASES, LARGE, network, starting_point

import bpfast as bp
from bpfast.regularizers import CLIPS, REGULARIZERS

N, N_IN, BATCH, EPOCHS, RATE = 60, 13, 25, 2, 0.1
REGULARIZED = {
    "L1": bp.L1(0.02),
    "L2": bp.L2(0.3),
    "L2OfSum": bp.L2OfSum(6),
    "WeightDecay": bp.WeightDecay(0.5),
    "MaxNorm": bp.MaxNorm(0.7),
    "all": [bp.L1(0.01), bp.L2(0.1), bp.WeightDecay(0.2), bp.MaxNorm(0.9)],
    "twice": [bp.L2(0.1), bp.L2(0.2)],
    "by name": {"0.weight": bp.L2(0.5), "1.bias": [bp.L1(0.1), bp.WeightDecay(0.3)]},
}
CLIPPED = {"ClipValue": bp.ClipValue(0.02), "ClipNorm": bp.ClipNorm(0.1), "ClipGlobalNorm": bp.ClipGlobalNorm(0.1)}
EVERY = {**{name: {"regularizer": value} for name, value in REGULARIZED.items()},
         **{name: {"clip": value} for name, value in CLIPPED.items()},
         **{f"all and {name}": {"regularizer": REGULARIZED["all"], "clip": value} for name, value in CLIPPED.items()}}

each = pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
each_width = pytest.mark.parametrize("n_out", [1, 17])


def start(n_out, dtype, backend, **settings):
    """A Trainer of a small network whose biases are not zero, X and y."""
    rng = np.random.default_rng(3)
    net = bp.Network([bp.Dense(19, "sigmoid"), bp.Dense(n_out)], input_shape=N_IN, dtype=dtype, seed=1)
    for name in ("0.bias", "1.bias"):
        net.parameters[name] = rng.normal(size=net.parameters[name].shape)
    settings = {"batch_size": BATCH, "optimizer": bp.SGD(RATE), **settings}
    trainer = bp.Trainer(net, loss="squared_error", backend=backend, seed=2, **settings)
    return trainer, rng.normal(size=(N, N_IN)).astype("f4"), rng.normal(size=(N, n_out)).astype("f4")


def by_parameter(regularizer, parameters):
    """name -> list of regularizers."""
    if not isinstance(regularizer, dict):
        regularizer = {name: regularizer for name in parameters if name.endswith("weight")}
    return {name: given if isinstance(given, list) else [given] for name, given in regularizer.items() if given}


def restrained_descent(trainer, X, y, regularizer=None, clip=None):
    """SGD with everything written out, on gradients of a Trainer without restraints; -> the parameters."""
    net = trainer.network
    for _ in range(EPOCHS):
        for i in range(0, N, BATCH):
            _, g = trainer.loss_and_gradients(X[i : i + BATCH], y[i : i + BATCH])
            restraints = by_parameter(regularizer, net.parameters)
            for name, several in restraints.items():
                for one in several:
                    if isinstance(one, bp.L1):
                        g[name] = g[name] + one.rate * np.sign(net.parameters[name])
                    elif isinstance(one, bp.L2):
                        g[name] = g[name] + one.rate * net.parameters[name]
                    elif isinstance(one, bp.L2OfSum):
                        g[name] = g[name] + one.rate / len(X[i : i + BATCH]) * net.parameters[name]
            if isinstance(clip, bp.ClipValue):
                g = {name: np.minimum(np.maximum(array, -clip.limit), clip.limit) for name, array in g.items()}
            elif isinstance(clip, bp.ClipNorm):
                g = {name: array * min(1, clip.limit / np.linalg.norm(array)) for name, array in g.items()}
            elif isinstance(clip, bp.ClipGlobalNorm):
                norm = np.linalg.norm(flat(g))
                g = {name: array * min(1, clip.limit / norm) for name, array in g.items()}
            for name, w in net.parameters.items():
                several = restraints.get(name, [])
                decay = sum(one.rate for one in several if isinstance(one, bp.WeightDecay))
                w -= RATE * decay * w + RATE * g[name]
                for one in several:
                    if isinstance(one, bp.MaxNorm):
                        w *= np.minimum(1, one.limit / np.linalg.norm(w, axis=0))
    return net.parameters


@each
@each_width
def test_the_formulas(engine, dtype, n_out, settings):
    plain, X, y = start(n_out, "float64", "numpy")
    expected = restrained_descent(plain, X, y, **settings)
    trainer, X, y = start(n_out, dtype, engine, **settings)
    trainer.fit(X, y, epochs=EPOCHS, shuffle=False)
    for name, array in trainer.network.parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-13 if dtype == "float64" else 2e-6)


@each
def test_every_restraint_changes_something(settings):
    """Otherwise the comparison above proves nothing."""
    (plain, X, y), (restrained, _, _) = start(17, "float64", "numpy"), start(17, "float64", "numpy", **settings)
    plain.fit(X, y, epochs=EPOCHS)
    restrained.fit(X, y, epochs=EPOCHS)
    assert np.abs(plain.network.to_vector() - restrained.network.to_vector()).max() > 1e-3


@each
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_adam_and_large_batches(engine, dtype, optimizer, settings):
    """2500 rows in a batch, which a backend runs in blocks, with weights of rows: as the reference in float64."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(2500, N_IN)).astype("f4"), rng.normal(size=2500).astype("f4")
    weight = rng.uniform(size=2500)

    def fit(backend, dtype):
        trainer, _, _ = start(1, dtype, backend, batch_size=2500, **{**settings, "optimizer": optimizer})
        trainer.fit(X, y, epochs=3, sample_weight=weight)
        return trainer.network.to_vector(), trainer.history["loss"]

    for found, expected in zip(fit(engine, dtype), fit("numpy", "float64")):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 if dtype == "float64" else 2e-5)


@pytest.mark.skipif(len(SAME_BITS) < 2, reason="v3 and v4 do not both run here")
@each
@pytest.mark.parametrize("n_out", [1, 10, 17, 1000])
def test_levels_agree(monkeypatch, dtype, n_out, settings):
    digests = set()
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        trainer, X, y = start(n_out, dtype, "native", **{**settings, "optimizer": bp.Adam(0.01)})
        trainer.fit(X, y, epochs=3)
        digests.add(digest(trainer.network))
    assert len(digests) == 1


# -- penalties belong to the loss that is trained, and to nothing else -----------------------------------------


def penalty(net, l1, l2):
    """Of all weights."""
    weights = [array for name, array in net.parameters.items() if name.endswith("weight")]
    return sum(l1 * np.abs(w).sum() + l2 / 2 * np.square(w).sum() for w in weights)


def test_the_loss_has_the_penalty(engine):
    settings = {"regularizer": [bp.L1(0.1), bp.L2(0.3)], "batch_size": N}
    trainer, X, y = start(17, "float64", engine, **settings)
    expected = trainer.evaluate(X, y)["loss"] + penalty(trainer.network, 0.1, 0.3)
    assert trainer.loss_and_gradients(X, y)[0] == pytest.approx(expected, rel=1e-12)
    assert trainer.fit(X, y, epochs=1)["loss"][0] == pytest.approx(expected, rel=1e-12)

    plain, _, _ = start(17, "float64", engine)
    plain.network.from_vector(trainer.network.to_vector())
    assert trainer.evaluate(X, y) == plain.evaluate(X, y)


def test_the_penalty_of_the_sum(engine, rng):
    """The mean loss has it divided by the weights, added up; that of an epoch the mean over its batches."""
    trainer, X, y = start(17, "float64", engine, regularizer=bp.L2OfSum(3))
    weight, whole = rng.uniform(size=N), penalty(trainer.network, 0, 3)
    expected = trainer.evaluate(X, y, weight)["loss"] + whole / weight.sum()
    assert trainer.loss_and_gradients(X, y, weight)[0] == pytest.approx(expected, rel=1e-12)
    still, _, _ = start(17, "float64", engine, regularizer=bp.L2OfSum(3), optimizer=bp.SGD(0))
    found = still.fit(X, y, epochs=2)["loss"]
    np.testing.assert_allclose(found, still.evaluate(X, y)["loss"] + 3 * whole / N, rtol=1e-12)


@pytest.mark.parametrize("name", ["L1", "L2", "L2OfSum", "all", "by name"])
def test_the_gradient_has_the_penalty(backend, name, rng):
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    layers = [bp.Dense(5, "tanh"), bp.Dense(3)]
    check_gradients(backend, layers, "squared_error", X, y, regularizer=REGULARIZED[name])


def test_a_forgotten_penalty_is_found(monkeypatch, rng):
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    monkeypatch.setattr("bpfast.backends.numpy.add_penalty", lambda g, w, l1, l2: g)
    with pytest.raises(AssertionError):
        check_gradients("numpy", [bp.Dense(5, "tanh"), bp.Dense(3)], "squared_error", X, y, regularizer=bp.L2(0.1))


# -- descriptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*REGULARIZERS.values(), *CLIPS.values()])
def test_descriptions(kind):
    one = kind(0.5)
    assert one == kind(0.5) == pickle.loads(pickle.dumps(one)) != kind(0.25)
    assert repr(one) == f"{kind.__name__}(0.5)"
    assert kind.formula and kind.source
    for wrong in (-1, float("nan"), float("inf"), "0.5", None, True):
        with pytest.raises(ValueError, match=kind.__name__):
            kind(wrong)


@pytest.mark.parametrize("kind", [bp.MaxNorm, *CLIPS.values()])
def test_a_bound_of_zero_is_refused(kind):
    with pytest.raises(ValueError, match=r"limit must be a number in \(0, inf\), got 0"):
        kind(0)


@pytest.mark.parametrize("settings, match", [
    ({"regularizer": 1e-4}, r"regularizer must be such as L2\(1e-4\)"),
    ({"regularizer": "l2"}, "regularizer must be"),
    ({"regularizer": [bp.L2(1), 0.1]}, "regularizer must be"),
    ({"regularizer": {"0.weight": "l2"}}, "regularizer must be"),
    ({"clip": 1.0}, r"ClipGlobalNorm\(1.0\)"),
])
def test_what_is_none_is_refused(settings, match):
    with pytest.raises(TypeError, match=match):
        start(1, "float32", "numpy", **settings)


def test_unknown_names_are_refused_before_work():
    for regularizer, match in (({"9.weight": bp.L2(1)}, r"'9.weight'.*0.weight, 0.bias"),
                               ({"0.bias": bp.MaxNorm(1)}, "is a bias")):
        trainer, X, y = start(1, "float32", "numpy", regularizer=regularizer)
        before = trainer.network.to_vector()
        with pytest.raises(ValueError, match=match):
            trainer.fit(X, y)
        np.testing.assert_array_equal(trainer.network.to_vector(), before)


def test_l1_makes_weights_small_and_few(rng):
    """A regression whose outputs depend on two of ten inputs: the others' weights stay near zero."""
    X = rng.normal(size=(300, 10))
    y = 2 * X[:, 0] - X[:, 1] + 0.1 * rng.normal(size=300)
    net = bp.Network([bp.Dense(1)], seed=0)
    bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(0.05), regularizer=bp.L1(0.1), seed=0).fit(X, y, epochs=50)
    weight = net.parameters["0.weight"][:, 0]
    np.testing.assert_allclose(weight[:2], [1.9, -0.9], atol=0.05)  # each moved towards zero by the rate
    assert np.abs(weight[2:]).max() < 0.03


@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_norms_are_of_parameters_alone(native_engine, name):
    """Whatever lies beside them in compiled memory: clipped, every network learns what it learns in NumPy."""
    case, found = {**CASES, **LARGE}[name], []
    X, y, weight, arrays = starting_point(case, seed=2)
    for backend in ("numpy", native_engine):
        for clip in (bp.ClipGlobalNorm(0.1), bp.ClipNorm(0.05)):
            net = network(case, arrays, "float64")
            trainer = bp.Trainer(net, loss=case.loss, optimizer=bp.SGD(0.1), batch_size=BATCH_SIZE, clip=clip,
                                 backend=backend)
            trainer.fit(X, y, epochs=2, sample_weight=weight, shuffle=False)
            found.append(net.to_vector())
    for expected, vector in zip(found[:2], found[2:]):
        np.testing.assert_allclose(vector, expected, rtol=1e-9, atol=1e-10)
