"""What a user may do to a Trainer between calls, and what it guards itself against."""

import io
import pickle
import sys

import numpy as np
import pytest
from checks import digest
from samples import small_trainer

import bpfast as bp


@pytest.mark.parametrize("name, value", [
    ("batch_size", 40), ("loss", "squared_error"), ("backend", "numpy"),
    ("network", bp.Network([bp.Dense(2, "softmax")])), ("optimizer", bp.SGD()),
])
def test_what_a_plan_was_made_for_stays(engine, rows, name, value):
    trainer = small_trainer(engine, optimizer=bp.Adam())
    trainer.fit(*rows, epochs=1)
    with pytest.raises(AttributeError, match=f"cannot change its {name}"):
        setattr(trainer, name, value)


def test_the_learning_rate_may_change(engine, rows):
    """Another Adam goes on with the moments of the first."""
    trainer, reference = (small_trainer(name, optimizer=bp.Adam(1e-2)) for name in (engine, "numpy"))
    for t in (trainer, reference):
        t.fit(*rows, epochs=2)
        t.optimizer = bp.Adam(1e-4)
        t.fit(*rows, epochs=2)
    np.testing.assert_allclose(trainer.network.to_vector(), reference.network.to_vector(), rtol=1e-9, atol=1e-11)


def test_read_only_parameters(engine, rows):
    """Refused, and not written to."""
    trainer = small_trainer(engine)
    weight = trainer.network.build(6).parameters["0.weight"]
    weight.flags.writeable = False
    before = weight.copy()
    with pytest.raises(ValueError, match="'0.weight' is read-only"):
        trainer.fit(*rows, epochs=1)
    np.testing.assert_array_equal(weight, before)


def test_parameters_from_foreign_memory(engine, rows):
    """A network unpickled over read-only buffers, as joblib's memory maps are, trains and leaves them alone."""
    trainer, expected = small_trainer(engine), small_trainer(engine)
    trainer.network.build(6)
    buffers = []
    data = pickle.dumps(trainer, protocol=5, buffer_callback=buffers.append)
    copies = [bytes(buffer.raw()) for buffer in buffers]
    twin = pickle.loads(data, buffers=[memoryview(copy) for copy in copies])
    for t in (twin, expected):
        t.fit(*rows, epochs=2)
    assert digest(twin.network) == digest(expected.network)
    assert copies == [bytes(buffer.raw()) for buffer in buffers]


def test_a_fit_within_a_fit(engine, rows, monkeypatch):
    trainer = small_trainer(engine)
    monkeypatch.setattr("bpfast.progress.Progress.epoch_done", lambda *_: trainer.fit(*rows, epochs=1))
    with pytest.raises(RuntimeError, match="already fitting"):
        trainer.fit(*rows, epochs=2)
    monkeypatch.undo()
    trainer.fit(*rows, epochs=1)


def test_no_pickle_of_a_trainer_at_work(engine, rows, monkeypatch):
    trainer = small_trainer(engine)
    monkeypatch.setattr("bpfast.progress.Progress.epoch_done", lambda *_: pickle.dumps(trainer))
    with pytest.raises(RuntimeError, match="fitting"):
        trainer.fit(*rows, epochs=2)


def test_numbers_beyond_the_dtype(engine, rng):
    X, y = rng.normal(size=(10, 6)), rng.integers(2, size=10)
    X[3, 1] = 1e39
    trainer = small_trainer(engine, dtype="float32")
    for call in (lambda: trainer.fit(X, y), lambda: trainer.predict(X), lambda: trainer.network.predict(X)):
        with pytest.raises(ValueError, match=r"X\[3, 1\] is 1e\+39, too large for float32"):
            call()
    small_trainer(engine, dtype="float64").predict(X)


@pytest.mark.parametrize("weight", [1e-310, 1e300])
def test_weights_of_any_scale(engine, rows, weight):
    """Only their proportions matter."""
    trainer, expected = small_trainer(engine), small_trainer(engine)
    trainer.fit(*rows, epochs=2, sample_weight=np.full(len(rows[0]), weight))
    expected.fit(*rows, epochs=2)
    np.testing.assert_allclose(trainer.network.to_vector(), expected.network.to_vector(), rtol=1e-9, atol=1e-11)


def test_nan_predicts_nothing_right(engine, rows):
    trainer = small_trainer(engine)
    trainer.network.build(6).parameters["0.weight"][...] = np.nan
    assert trainer.evaluate(rows[0], np.zeros(len(rows[0]), int))["accuracy"] == 0


def test_padding_forgets(engine):
    """Numbers that overflowed in an earlier call leave no trace in the next one."""
    net = bp.Network([bp.Dense(8), bp.Dense(1)], input_shape=3, dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="squared_error", backend=engine)
    few, many = np.ones((1, 3)), np.full((40, 3), 1e300)
    expected = trainer.predict(few)
    saved = net.to_vector()
    net.from_vector(1e300 * saved)
    trainer.predict(many)
    net.from_vector(saved)
    np.testing.assert_array_equal(trainer.predict(few), expected)


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Broken(), object()], ids=["none", "broken pipe", "no stream"])
def test_progress_that_nobody_can_see(rows, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    for verbose in (False, "auto") if type(stream) is object else (False, "auto", True):
        assert small_trainer("numpy").fit(*rows, epochs=1, verbose=verbose).n_epochs == 1
