"""What layers learn without a gradient: by which formula, and that it goes wherever the parameters go."""

import copy
import pickle
import signal

import numpy as np
import pytest
from test_layers import new_trainer

import bpfast as bp

D = bp.Dense
NORMED = [D(5, "tanh"), bp.BatchNorm(), D(2)]
IMAGES = [bp.Conv2D(3, 2, bias=False), bp.BatchNorm(momentum=0.3), bp.Activation("tanh"), bp.Dropout(0.2),
          bp.Flatten(), D(2)]
KINDS = {"vectors": (4, NORMED), "images": ((3, 4, 2), IMAGES)}
each_kind = pytest.mark.parametrize("shape, layers", KINDS.values(), ids=KINDS)


def whole(network):
    """All that a network has learned, bit for bit."""
    return {name: array.tobytes() for name, array in network.arrays.items()}


def data_for(trainer, rng, n=30):
    program = trainer.network.build(trainer.network.input_shape).program
    return rng.normal(size=(n, *program.input_shape)), rng.normal(size=(n, program.n_out))


# -- the formulas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), (6, 5)], ids=str)
def test_running_statistics(engine, dtype, rng, shape):
    """After every step the share ``momentum`` of the batch: its mean, and its variance with n - 1."""
    trainer = new_trainer(shape, [bp.BatchNorm(momentum=0.3)], engine, dtype, batch_size=7)
    X = rng.normal(2, 3, size=(20, *shape)).astype("f4")
    trainer.fit(X, np.zeros((20, *shape)), epochs=2, shuffle=False)
    mean, variance = np.zeros(5), np.ones(5)
    for begin in [0, 7, 14] * 2:
        rows = X[begin : begin + 7].reshape(-1, 5).astype(float)
        mean = 0.7 * mean + 0.3 * rows.mean(axis=0)
        variance = 0.7 * variance + 0.3 * rows.var(axis=0, ddof=1)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(trainer.network.statistics["0.mean"], mean, rtol=tolerance)
    np.testing.assert_allclose(trainer.network.statistics["0.variance"], variance, rtol=tolerance)


def test_a_batch_of_one_vector(engine, dtype, rng):
    """Has no variance: y is the shift, only the running mean follows; an image has several pixels."""
    for shape, most in (((3,), 0), ((1, 1, 3), 0), ((2, 1, 3), 1)):
        trainer = new_trainer(shape, [bp.BatchNorm(), bp.Flatten(), D(2)], engine, dtype, batch_size=2)
        net, X = trainer.network, rng.normal(size=(3, *shape))
        net.parameters["0.shift"] = [1, 2, 3]
        if not most:
            expected = net.parameters["2.bias"] + [1, 2, 3] @ net.parameters["2.weight"]
            loss, gradients = trainer.loss_and_gradients(X[:1], np.zeros((1, 2)))
            assert loss == pytest.approx(0.5 * (expected**2).sum(), rel=1e-5)
            assert not gradients["0.scale"].any()
            assert not trainer.input_gradient(X[:1], np.zeros((1, 2))).any()
        trainer.fit(X, np.zeros((3, 2)), epochs=1, sample_weight=[0, 0, 1], shuffle=False)  # a step of the last row
        assert (net.statistics["0.variance"] != 1).any() == most
        assert net.statistics["0.mean"].all()


@pytest.mark.parametrize("shape, refused", [((3,), True), ((1, 3), True), ((1, 1, 3), True), ((2, 1, 3), False)])
def test_no_fit_to_batches_of_one_vector(backend, rng, shape, refused):
    """They would teach a BatchNorm nothing but its shift; the last batch may be one."""
    X, y = rng.normal(size=(3, *shape)), np.zeros((3, 2))
    for batch_size, n, validation in ((1, 3, None), (2, 1, None), ("full", 1, None), (2, 3, None), (2, 2, 0.5)):
        net = bp.Network([bp.BatchNorm(), bp.Flatten(), D(2)])
        trainer = bp.Trainer(net, loss="squared_error", batch_size=batch_size, backend=backend)
        if refused and (batch_size, n) != (2, 3):
            with pytest.raises(ValueError, match="BatchNorm on batches of one row .*batch_size=2 .*LayerNorm"):
                trainer.fit(X[:n], y[:n], epochs=1, validation=validation)
            assert net.program is None
        else:
            trainer.fit(X[:n], y[:n], epochs=1, validation=validation)


def test_only_training_moves_statistics(engine, dtype, rng):
    for shape, layers in KINDS.values():
        trainer = new_trainer(shape, layers, engine, dtype)
        X, y = data_for(trainer, rng)
        trainer.fit(X, y, epochs=1)
        before = whole(trainer.network)
        trainer.predict(X)
        trainer.evaluate(X, y)
        trainer.loss_and_gradients(X, y)
        trainer.input_gradient(X, y)
        bp.check_gradients(trainer.network, "squared_error", X, y, entries=1, directions=0, backend=engine)
        assert whole(trainer.network) == before


def test_a_step_of_no_weight_moves_nothing(engine, dtype, rng):
    """Rows without weight are in no loss, and a batch of them alone is no step."""
    trainer = new_trainer(4, NORMED, engine, dtype, batch_size=5)
    X, y = data_for(trainer, rng, 10)
    trainer.fit(X, y, epochs=1, sample_weight=[1.0] * 5 + [0.0] * 5, shuffle=False)
    expected = new_trainer(4, NORMED, engine, dtype, batch_size=5)
    expected.fit(X[:5], y[:5], epochs=1, shuffle=False)
    assert whole(trainer.network) == whole(expected.network)


# -- standardization ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), (6, 5)], ids=str)
def test_standardize_learns_once(engine, dtype, rng, shape):
    """From the rows of the first fit, in double precision; a column that never changes becomes 0."""
    X = rng.normal(1000, 2, size=(40, *shape)).astype("f4")
    X[..., 2] = 7.1
    net = bp.Network([bp.Standardize(), bp.Flatten(), D(2)], dtype=dtype, seed=0)
    trainer = bp.Trainer(net, loss="squared_error", seed=1, backend=engine)
    trainer.fit(X, np.zeros((40, 2)), epochs=1)
    flat, kept = X.reshape(-1, 5).astype(float), whole(net)
    np.testing.assert_allclose(net.statistics["0.mean"], flat.mean(axis=0), rtol=1e-6)
    deviation = flat.std(axis=0)
    deviation[2] = 1
    np.testing.assert_allclose(net.statistics["0.deviation"], deviation, rtol=1e-6)
    outputs = net.activations(X)[1]
    assert abs(outputs[..., 2]).max() < 1e-6 and abs(outputs.reshape(-1, 5).std(axis=0)[:2] - 1).max() < 1e-3

    trainer.fit(2 * X, np.zeros((40, 2)), epochs=1)
    bp.Trainer(net, loss="squared_error", backend=engine).fit(3 * X, np.zeros((40, 2)), epochs=1)
    for name in ("0.mean", "0.deviation"):
        assert net.statistics[name].tobytes() == kept[name]


def test_standardize_sees_no_row_held_out(backend, rng):
    X, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    net = bp.Network([bp.Standardize(), D(1)], dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="squared_error", seed=1, backend=backend)
    from bpfast.data import hold_out

    training, held = hold_out(50, 0.3, 1)
    X[held] += 100
    trainer.fit(X, y, epochs=1, validation=0.3)
    np.testing.assert_allclose(net.statistics["0.mean"], X[training].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.statistics["0.deviation"], X[training].std(axis=0), rtol=1e-12)


def test_what_standardize_is_told_stays(backend, rng):
    """Statistics written by hand, and marked as known, are not learned again; a tiny deviation is no constant."""
    X = np.stack([1e-30 * rng.normal(size=30), 1e8 + rng.normal(size=30)], axis=1)
    net = bp.Network([bp.Standardize(), D(1)], input_shape=2, dtype="float64", seed=0)
    bp.Trainer(net.copy().redraw(1), loss="squared_error", backend=backend).fit(X, X[:, 0], epochs=1)
    outputs = bp.Network([bp.Standardize(), D(1)], input_shape=2, dtype="float64", seed=0)
    bp.Trainer(outputs, loss="squared_error", backend=backend).fit(X, X[:, 0], epochs=1)
    np.testing.assert_allclose(outputs.activations(X)[1].std(axis=0), 1, rtol=1e-6)
    net.statistics["0.mean"], net.statistics["0.deviation"], net.statistics["0.known"] = [1, 2], [3, 4], [1]
    bp.Trainer(net, loss="squared_error", backend=backend).fit(X, X[:, 0], epochs=1)
    assert net.statistics["0.mean"].tolist() == [1, 2] and net.statistics["0.deviation"].tolist() == [3, 4]


# -- statistics go where the parameters go ----------------------------------------------------------------------


@each_kind
def test_the_mapping(rng, shape, layers):
    net = bp.Network(layers, input_shape=shape, seed=0)
    c = net.statistics["1.mean"].size
    assert {name: array.shape for name, array in net.statistics.items()} == {"1.mean": (c,), "1.variance": (c,)}
    assert repr(net.statistics) == f"Statistics(1.mean: ({c},), 1.variance: ({c},))"
    assert not net.statistics["1.mean"].any() and (net.statistics["1.variance"] == 1).all()
    same = net.copy()
    assert same == net
    same.statistics["1.mean"] = np.arange(c)
    assert same != net and net.statistics["1.mean"][-1] == 0 and same.statistics["1.mean"][-1] == c - 1
    X = rng.normal(size=(3, *net.input_shape))
    assert (same.predict(X) != net.predict(X)).any()
    for copied in (same.copy(), copy.deepcopy(same), pickle.loads(pickle.dumps(same))):
        assert copied == same and copied is not same
        np.testing.assert_array_equal(copied.predict(X), same.predict(X))
    for wrong, message in (("9.mean", "no statistic '9.mean'; there are: 1.mean, 1.variance"),):
        with pytest.raises(KeyError, match=message):
            net.statistics[wrong] = 0
    with pytest.raises(ValueError, match="statistic '1.mean' has shape"):
        net.statistics["1.mean"] = np.zeros(c + 1)
    assert same.redraw(0) == net
    with pytest.raises(ValueError, match="statistics"):
        _ = bp.Network(layers).statistics


@each_kind
def test_early_stopping_takes_them_back(backend, rng, shape, layers):
    """The network of the best epoch has the statistics of that epoch too."""
    trainer, twin = (new_trainer(shape, layers, backend) for _ in range(2))
    X, y = data_for(trainer, rng)
    seen = []

    class Best(bp.Callback):
        def epoch(self, trainer, figures):
            seen.append(whole(trainer.network))
            figures["val_loss"] = [3, 1, 2, 4][len(seen) - 1]

    trainer.fit(X, y, epochs=4, validation=(X, y), callbacks=[Best(), bp.EarlyStopping(patience=2)])
    twin.fit(X, y, epochs=2)
    assert len(seen) == 4 and seen[1] == whole(twin.network)
    assert whole(trainer.network) == seen[1]


@each_kind
def test_restarts_keep_those_of_the_best(backend, rng, shape, layers):
    trainer = new_trainer(shape, [bp.Standardize(), *layers], backend)
    X, y = data_for(trainer, rng)
    seen = []

    class Ends(bp.Callback):
        def end(self, trainer):
            seen.append((trainer.evaluate(X, y)["loss"], whole(trainer.network)))

    trainer.fit(X, y, epochs=2, restarts=8, callbacks=Ends())
    losses = [loss for loss, _ in seen]
    assert len(seen) == 8 and min(losses) < losses[-1]
    assert whole(trainer.network) == seen[int(np.argmin(losses))][1]


@each_kind
def test_divergence_takes_them_back(engine, dtype, rng, shape, layers):
    trainer, twin = (new_trainer(shape, layers, engine, dtype) for _ in range(2))
    X, y = data_for(trainer, rng)
    for one in (trainer, twin):
        one.fit(X, y, epochs=2)
        one.optimizer = bp.SGD(1e30)
    with pytest.raises(bp.DivergenceError):
        trainer.fit(X, y, epochs=30)
    if trainer.history.n_epochs > 2:
        twin.fit(X, y, epochs=trainer.history.n_epochs - 2)
    assert whole(trainer.network) == whole(twin.network)


@each_kind
@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupt_leaves_them_together(engine, dtype, rng, monkeypatch, shape, layers, count):
    """Parameters, statistics and the draws of noise after Ctrl-C are those of the same step."""
    trainer, twin = (new_trainer(shape, layers, engine, dtype, batch_size="full") for _ in range(2))
    X, y = data_for(trainer, rng)
    calls = iter(range(count, -1, -1))

    def interrupt(*_):
        if next(calls) == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)  # return after a few steps
        patch.setattr("bpfast.progress.Progress.rows_done", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, y, epochs=100_000)
    steps = trainer._state.steps
    assert steps >= 1
    twin.fit(X, y, epochs=steps)
    assert whole(trainer.network) == whole(twin.network)
    for one in (trainer, twin):
        one.fit(X, y, epochs=1, shuffle=False)
    assert whole(trainer.network) == whole(twin.network)


@each_kind
def test_callbacks_may_write_them(engine, rng, shape, layers):
    """The fit goes on from the statistics that a callback leaves."""
    trainer = new_trainer(shape, layers, engine)
    X, y = data_for(trainer, rng)
    found = []

    def reset(trainer, figures):
        found.append(trainer.network.statistics["1.mean"].copy())
        trainer.network.statistics["1.mean"] = 1e6 * np.ones_like(found[-1])

    trainer.fit(X, y, epochs=2, callbacks=reset)
    assert abs(found[0]).max() < 10 and 1e4 < found[1].min() < 1e6
    assert (trainer.network.statistics["1.mean"] == 1e6).all()


def test_statistics_that_are_not_finite(engine, rng):
    trainer = new_trainer(4, NORMED, engine)
    X, y = data_for(trainer, rng)
    trainer.network.statistics["1.variance"] = np.nan * np.ones(5)
    with pytest.raises(ValueError, match=r"statistic '1\.variance' must be finite, but .*\[0\] is nan"):
        trainer.fit(X, y, epochs=1)


def test_read_only_statistics(engine, rng):
    trainer = new_trainer(4, NORMED, engine)
    X, y = data_for(trainer, rng)
    trainer.network.statistics["1.mean"].flags.writeable = False
    with pytest.raises(ValueError, match=r"statistic '1\.mean' is read-only"):
        trainer.fit(X, y, epochs=1)


@pytest.mark.parametrize("layer", [bp.BatchNorm(), bp.Dropout(), bp.AlphaDropout(), bp.Residual(bp.BatchNorm())],
                         ids=repr)
def test_lbfgs_refuses_a_loss_that_moves(backend, rng, layer):
    trainer = new_trainer(4, [D(3), layer, D(2)], backend, optimizer=bp.LBFGS())
    with pytest.raises(ValueError, match="LBFGS.*no Dropout, AlphaDropout or BatchNorm.*LayerNorm may stay"):
        trainer.fit(*data_for(trainer, rng), epochs=1)


@pytest.mark.parametrize("first", [bp.LayerNorm(), bp.Standardize(), bp.Conv2D(2)], ids=repr)
def test_lbfgs_takes_the_others(backend, rng, first):
    trainer = new_trainer((3, 4, 2), [first, bp.Flatten(), D(2)], backend, optimizer=bp.LBFGS())
    X, y = data_for(trainer, rng)
    losses = trainer.fit(X, y, epochs=5)["loss"]
    assert losses[-1] < losses[0]
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(losses[-1])


def test_a_network_without_parameters(backend, rng):
    """Only its statistics can be learned; it is summed up, copied and predicts all the same."""
    net = bp.Network([bp.BatchNorm(affine=False)], input_shape=3, dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="squared_error", backend=backend)
    X = rng.normal(5, 2, size=(64, 3))
    trainer.fit(X, np.zeros((64, 3)), epochs=30)
    assert abs(trainer.predict(X).mean(axis=0)).max() < 0.3
    assert net.copy() == net and net.to_vector().shape == (0,)
    net.from_vector(np.zeros(0))
    assert "total" in net.summary()
