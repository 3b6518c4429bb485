"""The same bits of the layers beyond dense: for any level, any number of threads, any pause, a row alone."""

import pickle

import numpy as np
import pytest
from engines import SAME_BITS
from samples import python
from test_bits import needs_two_levels
from test_layers import NETS, check_bits, every_net, everything, new_trainer, rows_for
from test_threads import digests, every_step_is_shared  # noqa: F401  (a team however small a step is)

import bpfast as bp

native_only = pytest.mark.skipif(not SAME_BITS, reason="the native backend does not run here, or not at v3")
LARGE = ["sequences", "images come out", "norms of vectors", "dropout of images"]


def whole(trainer):
    """All that a trainer has learned, bit for bit."""
    return {name: array.tobytes() for name, array in trainer.network.arrays.items()}


@native_only
@every_net
def test_any_number_of_threads(monkeypatch, rng, shape, layers, dtype):
    """At v3 and v4, in batches that threads share evenly and unevenly, with weights."""
    X, y, weight = rows_for(new_trainer(shape, layers), rng, 45)

    def fit(n_threads):
        found = []
        for batch_size in (7, 45):
            trainer = new_trainer(shape, layers, "native", dtype, batch_size=batch_size, n_threads=n_threads)
            found += trainer.fit(X, y, epochs=3, sample_weight=weight)["loss"].tolist()
            found += [whole(trainer), trainer.predict(X).tobytes()]
        return found

    found = digests(monkeypatch, fit)
    assert all(each == found[SAME_BITS[0], 1] for each in found.values())


PROGRAM = """
import hashlib, numpy as np
from test_layers import NETS, new_trainer, rows_for

for dtype in ("float32", "float64"):
    for name, (shape, layers) in NETS.items():
        trainer = new_trainer(shape, layers, "native", dtype, n_threads=1)
        X, y, weight = rows_for(trainer, np.random.default_rng(0))
        trainer.fit(X, y, epochs=2, sample_weight=weight)
        arrays = [*trainer.network.arrays.values(), trainer.predict(X)]
        print(dtype, name, hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
"""


@needs_two_levels
def test_levels_agree_in_processes_of_their_own():
    first, second = (python("-c", PROGRAM, BPFAST_CPU=level).stdout.splitlines() for level in SAME_BITS)
    assert len(first) == 2 * len(NETS) and first == second


@native_only
@pytest.mark.parametrize("name", LARGE)
def test_large_batches(monkeypatch, rng, name, dtype):
    """Beyond 1024 rows, which are run in blocks where no layer mixes them; Adam."""
    shape, layers = NETS[name]
    X, y, weight = rows_for(new_trainer(shape, layers), rng, 1100)

    def fit(n_threads):
        trainer = new_trainer(shape, layers, "native", dtype, batch_size="full", n_threads=n_threads,
                              optimizer=bp.Adam(0.01))
        return trainer.fit(X, y, epochs=2, sample_weight=weight)["loss"].tolist(), whole(trainer)

    found = digests(monkeypatch, fit)
    assert all(each == found[SAME_BITS[0], 1] for each in found.values())


@every_net
def test_a_row_alone(native_engine, rng, shape, layers, dtype):
    """Predicted alone, or among few or many rows, it has the same bits."""
    trainer = new_trainer(shape, layers, native_engine, dtype)
    X, y, _ = rows_for(trainer, rng, 1050 if len(trainer.network.to_vector()) < 300 else 100)
    trainer.fit(X[:20], y[:20], epochs=1)  # statistics of its own
    together = trainer.predict(X)
    for begin, end in ((0, 1), (3, 5), (7, 22), (7, 23), (40, len(X)), (len(X) - 1, len(X))):
        np.testing.assert_array_equal(trainer.predict(X[begin:end]), together[begin:end])
    np.testing.assert_array_equal(trainer.network.predict(X[::-1])[::-1], together)


@every_net
def test_four_epochs_are_two_and_two(backend, rng, shape, layers):
    """Noise and statistics go on where they stood, also through a pickle, and whatever pauses there are."""
    X, y, _ = rows_for(new_trainer(shape, layers), rng)
    settings = {"backend": backend, "dtype": "float32", "optimizer": bp.Adam(0.01)}
    once, halves = (new_trainer(shape, layers, **settings) for _ in range(2))
    once.fit(X, y, epochs=4)
    halves.fit(X, y, epochs=2)
    for trainer in (pickle.loads(pickle.dumps(halves)), halves):
        trainer.fit(X, y, epochs=2, validation=(X, y))
        assert whole(once) == whole(trainer)
        assert once.history["loss"].tolist() == trainer.history["loss"].tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)
        paused = new_trainer(shape, layers, **settings)
        paused.fit(X, y, epochs=4)
    assert whole(once) == whole(paused)


@pytest.mark.parametrize("name", LARGE)
def test_pauses_within_a_large_batch(native_engine, monkeypatch, rng, name, dtype):
    shape, layers = NETS[name]
    X, y, _ = rows_for(new_trainer(shape, layers), rng, 1100)
    trainers = [new_trainer(shape, layers, native_engine, dtype, batch_size="full", n_threads=1) for _ in range(2)]
    expected = everything(trainers[0], X, y, epochs=1)
    monkeypatch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)
    monkeypatch.setattr("bpfast.backends.native.engine.SECONDS_BETWEEN_SIGNALS", 2e-6)
    check_bits(everything(trainers[1], X, y, epochs=1), expected)


@every_net
def test_nan_leaves_no_trace(native_engine, rng, shape, layers, dtype):
    """Buffers that have held NaN, also between the channels and around an image, compute as new ones do."""
    trainer = new_trainer(shape, layers, native_engine, dtype)
    X, y, _ = rows_for(trainer, rng)
    net, start = trainer.network, trainer.network.to_vector()
    outputs, (loss, gradients) = trainer.predict(X), trainer.loss_and_gradients(X, y)
    if start.size:
        net.from_vector(np.full_like(start, np.nan))
        assert np.isnan(trainer.predict(X)).any()
        net.from_vector(start * 1e30)  # infinite within
        trainer.predict(X)
        trainer.loss_and_gradients(X, y)
        net.from_vector(start)
    np.testing.assert_array_equal(trainer.predict(X), outputs)
    again, same = trainer.loss_and_gradients(X, y)
    assert again == loss
    check_bits(same, gradients)
