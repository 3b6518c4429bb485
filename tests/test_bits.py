"""The same bits: for the CPU levels with fused multiply-add, for a row alone and in a batch, for any pause."""

import hashlib
import pickle

import numpy as np
import pytest
from checks import digest
from engines import SAME_BITS, kernels_of
from samples import outputs_for, targets_for

import bpfast as bp
from bpfast import optimizers
from bpfast.ops import ACTIVATIONS, LOSSES

N_OUT = (1, 10, 17, 1000)
OPTIMIZERS = {"sgd": bp.SGD(0.01), "adam": bp.Adam(0.01)}
EVERY_OPTIMIZER = {
    **{name: kind() for name, kind in optimizers.OPTIMIZERS.items()},
    "rmsprop with momentum": bp.RMSProp(momentum=0.5),
    "rmsprop centered": bp.RMSProp(centered=True, epsilon=1e-3),
    "on a schedule": bp.Nadam(bp.WarmUp(bp.CosineRestarts(0.01, 3, 2), 1.5)),
    "on a plateau": bp.Momentum(bp.ReduceOnPlateau(0.1, 0.5, patience=0, metric="loss", min_delta=0.1)),
}

needs_two_levels = pytest.mark.skipif(len(SAME_BITS) < 2, reason="v3 and v4 do not both run here")
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
every_optimizer = pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER.values(), ids=EVERY_OPTIMIZER)


def layers(activation, n_out):
    """Widths below, at and above multiples of a vector, a residual, and an output layer for the loss."""
    around = "tanh" if activation == "exponential" else activation  # one exponential upon the other overflows
    hidden = [bp.Dense(19, around), bp.Residual(bp.Dense(16, activation), bp.Dense(19)), bp.Dense(7, around)]
    return [*hidden, bp.Dense(n_out, "linear" if n_out == 1 else "softmax")]


def training_data(n_out, rng, n=150, n_in=13):
    X = rng.normal(size=(n, n_in))
    return X, rng.normal(size=n) if n_out == 1 else rng.integers(n_out, size=n)


def new_trainer(layers, dtype, *, backend="native", **settings):
    net = bp.Network(layers, input_shape=13, dtype=dtype, seed=5)
    loss = "squared_error" if layers[-1].units == 1 else "cross_entropy"
    return bp.Trainer(net, loss=loss, seed=6, backend=backend, **settings)


@needs_two_levels
@pytest.mark.parametrize("n_out", N_OUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_levels_agree(monkeypatch, rng, activation, n_out, dtype):
    """3 epochs give the same SHA-256 of all parameters, for every optimizer and for batches of 1, 7 and 64 rows."""
    X, y = training_data(n_out, rng)
    weight = rng.uniform(0.1, 2, len(X))
    digests = {}
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        found = []
        for optimizer in OPTIMIZERS.values():
            for batch_size in (1, 7, 64):
                n = 40 if batch_size == 1 else len(X)
                trainer = new_trainer(layers(activation, n_out), dtype, optimizer=optimizer, batch_size=batch_size)
                history = trainer.fit(X[:n], y[:n], epochs=3, sample_weight=weight[:n])
                found += [digest(trainer.network), history["loss"].tolist()]
                found.append(hashlib.sha256(trainer.predict(X).tobytes()).hexdigest())
                found.append(trainer.evaluate(X, y))
        digests[level] = found
    first, second = digests.values()
    assert first == second


@needs_two_levels
@pytest.mark.parametrize("loss", LOSSES)
def test_levels_agree_on_losses(rng, loss, dtype):
    """Values and deltas, for rows shorter and longer than what a kernel looks at together."""
    op = LOSSES[loss](**{name: 0.3 for name in LOSSES[loss].hyper})
    for n, n_out in ((1, 1), (700, 1), (70, 10), (9, 17), (3, 600), (2, 2000)):
        y = outputs_for(op, 3 * rng.normal(size=(n, n_out)).astype(dtype))
        t = targets_for(op, rng.integers(n_out, size=n), rng.normal(size=y.shape).astype(dtype))
        mean = rng.uniform(0.1, 1, n)
        first, second = (kernels_of(("native", level), dtype).loss(op, y, t, mean) for level in SAME_BITS)
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
@every_optimizer
@pytest.mark.filterwarnings("ignore:Rprop compares")
def test_levels_agree_on_every_optimizer(monkeypatch, rng, dtype, optimizer):
    """Its rule is fused with the gradient, or runs alone after the blocks of a large batch."""
    X, y = training_data(10, rng, n=1100)
    found = []
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        for batch_size in (100, 1100):
            trainer = new_trainer(layers("tanh", 10), dtype, optimizer=optimizer, batch_size=batch_size)
            trainer.fit(X, y, epochs=3)
            found.append(digest(trainer.network))
    assert found[:2] == found[2:]


@needs_two_levels
@pytest.mark.parametrize("widths", [(1, 1), (2, 3), (15, 16), (16, 15), (17, 31), (33, 64), (65, 100)])
def test_levels_agree_on_every_width(monkeypatch, rng, widths, dtype):
    """Widths at and beside those of vectors and panels, sigmoids, whose padding would not stay zero by itself."""
    X, y = rng.normal(size=(40, 13)), rng.normal(size=40)
    digests = set()
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        trainer = new_trainer([*(bp.Dense(width, "sigmoid") for width in widths), bp.Dense(1)], dtype)
        trainer.fit(X, y, epochs=5)
        digests.add(digest(trainer.network))
    assert len(digests) == 1


@needs_two_levels
def test_levels_agree_on_large_batches(monkeypatch, rng, dtype):
    """2500 rows in a batch are run in blocks, which go on with the same sums."""
    X, y = training_data(10, rng, n=2500)
    digests = set()
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        trainer = new_trainer(layers("tanh", 10), dtype, batch_size=2500)
        trainer.fit(X, y, epochs=3)
        digests.add(digest(trainer.network))
    assert len(digests) == 1


@pytest.mark.parametrize("n_out", N_OUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_alone(native_engine, rng, activation, n_out, dtype):
    """A row predicted alone, or among few or many rows, has the same bits."""
    X = rng.normal(size=(300, 13))
    net = bp.Network(layers(activation, n_out), input_shape=13, dtype=dtype, seed=1)
    together = net.predict(X)
    for begin, end in ((0, 1), (3, 5), (7, 22), (7, 23), (7, 24), (40, 300)):
        np.testing.assert_array_equal(net.predict(X[begin:end]), together[begin:end])
    np.testing.assert_array_equal(net.predict(X[::-1])[::-1], together)


def test_rows_beyond_a_block(native_engine, rng, dtype):
    X = rng.normal(size=(3000, 13))
    net = bp.Network(layers("gelu", 10), input_shape=13, dtype=dtype, seed=1)
    np.testing.assert_array_equal(net.predict(X)[1000:1010], net.predict(X[1000:1010]))


@each_optimizer
@pytest.mark.parametrize("n_out", [1, 10])
def test_the_same_seed(engine, rng, n_out, dtype, optimizer):
    """The same seed twice gives the same bits, another seed others."""
    X, y = training_data(n_out, rng)

    def fit(seed):
        net = bp.Network(layers("tanh", n_out), input_shape=13, dtype=dtype, seed=3)
        loss = "squared_error" if n_out == 1 else "cross_entropy"
        bp.Trainer(net, loss=loss, optimizer=optimizer, seed=seed, backend=engine).fit(X, y, epochs=3)
        return digest(net)

    assert fit(8) == fit(8) != fit(9)


@every_optimizer
@pytest.mark.filterwarnings("ignore:Rprop compares")
def test_ten_epochs_are_five_and_five(engine, rng, dtype, optimizer):
    """Shuffling, what an optimizer remembers and its rates go on where they stood, also through a pickle."""
    X, y = training_data(10, rng, n=70)
    whole, halves = (new_trainer(layers("gelu", 10), dtype, backend=engine, optimizer=optimizer) for _ in range(2))
    whole.fit(X, y, epochs=10)
    halves.fit(X, y, epochs=5)
    for trainer in (pickle.loads(pickle.dumps(halves)), halves):
        trainer.fit(X, y, epochs=5)
        assert digest(whole.network) == digest(trainer.network)
        for name in whole.history.keys() - {"seconds"}:
            np.testing.assert_array_equal(whole.history[name], trainer.history[name])


@pytest.mark.parametrize("batch_size", [7, 2500])
def test_pauses_change_nothing(engine, monkeypatch, rng, dtype, batch_size):
    """A run that returns after every block of rows, to look at signals, ends with the same bits."""
    X, y = training_data(10, rng, n=2600)
    trainers = [new_trainer(layers("relu", 10), dtype, backend=engine, batch_size=batch_size) for _ in range(2)]
    trainers[0].fit(X, y, epochs=2)
    monkeypatch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)
    trainers[1].fit(X, y, epochs=2)
    assert digest(trainers[0].network) == digest(trainers[1].network)
    np.testing.assert_array_equal(trainers[0].history["loss"], trainers[1].history["loss"])


def test_pauses_of_one_call(native_engine, monkeypatch, rng, dtype):
    """Predictions and gradients of many rows, too, look at signals now and then and go on where they were."""
    X, y = training_data(10, rng, n=5000)
    trainer = new_trainer(layers("gelu", 10), dtype)
    outputs, (loss, gradients) = trainer.predict(X), trainer.loss_and_gradients(X, y)
    monkeypatch.setattr("bpfast.backends.native.engine.SECONDS_BETWEEN_SIGNALS", 2e-6)
    np.testing.assert_array_equal(trainer.predict(X), outputs)
    again, same = trainer.loss_and_gradients(X, y)
    assert again == loss
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(same[name], gradient)


@pytest.mark.parametrize("n_out", [1, 10])
def test_nan_leaves_no_trace(engine, rng, n_out, dtype):
    """Buffers that have held NaN, also in their padding, compute as new ones do."""
    X, y = training_data(n_out, rng)
    trainer = new_trainer(layers("sigmoid", n_out), dtype, backend=engine)
    net, start = trainer.network, trainer.network.to_vector()
    outputs, (loss, gradients) = trainer.predict(X), trainer.loss_and_gradients(X, y)

    for rows in (1, 150):
        net.from_vector(np.full_like(start, np.nan))
        assert np.isnan(trainer.predict(X[:rows])).all()
        net.from_vector(start * 1e30)  # infinite within
        trainer.predict(X[:rows])
        net.from_vector(start)
        np.testing.assert_array_equal(trainer.predict(X), outputs)
        again, same = trainer.loss_and_gradients(X, y)
        assert again == loss
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(same[name], gradient)
