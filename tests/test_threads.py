"""Teams: the same bits for any number of threads, and none that is left behind, awaited or in the way."""

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from checks import digest
from engines import NATIVE_LEVELS, SAME_BITS
from test_bits import EVERY_OPTIMIZER, N_OUT, layers, new_trainer, training_data

import bpfast as bp
from bpfast import config
from bpfast.ops import ACTIVATIONS

pytestmark = pytest.mark.skipif(not NATIVE_LEVELS, reason="the native backend is not built, as BPFAST_PURE=1 says")

THREADS = (1, 2, 3, 4)
RESTRAINTS = {
    "none": {},
    "clip": {"clip": bp.ClipGlobalNorm(0.1)},
    "clip of each": {"clip": bp.ClipNorm(0.1)},
    "bounded": {"regularizer": [bp.L1(1e-3), bp.MaxNorm(0.7)], "clip": bp.ClipValue(0.01)},
}


@pytest.fixture(autouse=True)
def every_step_is_shared(monkeypatch):
    """However small it is, and by units wherever a layer has enough of them."""
    monkeypatch.setattr("bpfast.backends.native.engine.FLOPS_PER_THREAD", 1e-9)
    monkeypatch.setattr("bpfast.backends.native.engine.FLOPS_TO_SHARE_UNITS", 0)


def tasks():
    """Threads of this process, also those that Python does not know of: a set of names."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


def begun_since(before):
    """How many threads there are that were not: those that others had may end at any time."""
    return len(tasks() - before)


def digests(monkeypatch, fit, levels=SAME_BITS):
    """What ``fit(n_threads)`` gives for every number of threads at these CPU levels."""
    found = {}
    for level in levels:
        monkeypatch.setenv("BPFAST_CPU", level)
        for n_threads in THREADS:
            found[level, n_threads] = fit(n_threads)
    return found


@pytest.mark.parametrize("n_out", N_OUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_number_gives_the_same_bits(monkeypatch, rng, activation, n_out, dtype):
    """3 epochs, batches that threads share evenly, unevenly and, of one row, not at all; the losses too."""
    X, y = training_data(n_out, rng)
    weight = rng.uniform(0, 2, len(X))

    def fit(n_threads):
        found = []
        for batch_size in (1, 7, 64):
            n = 20 if batch_size == 1 else len(X)
            trainer = new_trainer(layers(activation, n_out), dtype, optimizer=bp.Adam(0.01), batch_size=batch_size,
                                  n_threads=n_threads)
            history = trainer.fit(X[:n], y[:n], epochs=3, sample_weight=weight[:n])
            found += [digest(trainer.network), history["loss"].tolist()]
        return found

    found = digests(monkeypatch, fit)
    assert all(each == found[SAME_BITS[0], 1] for each in found.values())


@pytest.mark.parametrize("activation", ["relu", "gelu", "softmax"])
def test_wide_layers(monkeypatch, rng, activation, dtype):
    """Of several panels, whole and not: cut by units, but not where an activation is of whole rows."""
    X, y = training_data(10, rng)
    wide = [bp.Dense(256, activation), bp.Residual(bp.Dense(130, activation), bp.Dense(256, "tanh")),
            bp.Dense(192, activation), bp.Dense(10, "softmax")]

    def fit(n_threads):
        trainer = new_trainer(wide, dtype, batch_size=40, n_threads=n_threads)
        return digest(trainer.network), trainer.fit(X, y, epochs=3)["loss"].tolist(), digest(trainer.network)

    found = digests(monkeypatch, fit)
    assert all(each == found[SAME_BITS[0], 1] for each in found.values())


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER.values(), ids=EVERY_OPTIMIZER)
@pytest.mark.parametrize("restraint", RESTRAINTS.values(), ids=RESTRAINTS)
@pytest.mark.filterwarnings("ignore:Rprop compares")
def test_for_every_optimizer(monkeypatch, rng, optimizer, restraint, dtype):
    """With and without clipping; batches of one block and of two."""
    X, y = training_data(10, rng, n=1100)

    def fit(n_threads):
        found = []
        for batch_size in (100, 1100):
            trainer = new_trainer(layers("tanh", 10), dtype, optimizer=optimizer, batch_size=batch_size,
                                  n_threads=n_threads, **restraint)
            trainer.fit(X, y, epochs=3)
            found.append(digest(trainer.network))
        return found

    found = digests(monkeypatch, fit)
    assert all(each == found[SAME_BITS[0], 1] for each in found.values())


@pytest.mark.parametrize("n_threads", [5, 16, 31, 32, 33, 1000])
def test_more_threads_than_work(rng, n_threads):
    """A team has at most 32 threads; blocks without rows or parameters do nothing."""
    X, y = training_data(3, rng)
    alone, many = (new_trainer(layers("relu", 3), "float32", batch_size=50, n_threads=n) for n in (1, n_threads))
    for trainer in (alone, many):
        trainer.fit(X, y, epochs=2)
    assert digest(alone.network) == digest(many.network)


def test_a_team_ends_with_its_fit(rng, monkeypatch):
    """Also where the fit ends in an error; while it runs it has the threads that were asked for."""
    X, y = training_data(3, rng)
    before, within = tasks(), []
    trainer = new_trainer(layers("relu", 3), "float32", n_threads=4)
    trainer.fit(X, y, epochs=2, callbacks=lambda *_: within.append(begun_since(before)))
    assert within == [3, 3] and begun_since(before) == 0
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, y, epochs=2, callbacks=lambda *_: 1 / 0)
    assert begun_since(before) == 0


def test_a_small_step_is_not_shared(rng, monkeypatch):
    monkeypatch.undo()  # every_step_is_shared
    X, y = training_data(3, rng)
    before, within = tasks(), []
    trainer = new_trainer(layers("relu", 3), "float32", n_threads=4)
    trainer.fit(X, y, callbacks=lambda *_: within.append(begun_since(before)))
    assert set(within) == {0}


def test_callbacks_use_the_trainer(rng):
    """They predict, evaluate, save and go on from other parameters while the team waits."""
    X, y = training_data(3, rng)

    def look(trainer, _):
        trainer.predict(X)
        trainer.evaluate(X, y)
        pickle.dumps(trainer)
        trainer.network.from_vector(0.5 * trainer.network.to_vector())

    trainers = [new_trainer(layers("relu", 3), "float32", n_threads=n) for n in (1, 3)]
    for trainer in trainers:
        trainer.fit(X, y, epochs=4, callbacks=look)
    assert digest(trainers[0].network) == digest(trainers[1].network)


def test_two_teams_at_once(rng):
    """Each as if it were alone."""
    X, y = training_data(3, rng)
    expected = new_trainer(layers("relu", 3), "float32", n_threads=1)
    expected.fit(X, y, epochs=50)
    trainers = [new_trainer(layers("relu", 3), "float32", n_threads=2) for _ in range(4)]
    threads = [threading.Thread(target=trainer.fit, args=(X, y), kwargs={"epochs": 50}) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {digest(trainer.network) for trainer in trainers} == {digest(expected.network)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_within_a_fit(rng):
    """The child, which has none of the team's threads, ends the fit alone, to the same bits."""
    X, y = training_data(3, rng)
    trainer = new_trainer(layers("relu", 3), "float32", n_threads=3)
    children, (reader, writer) = [], os.pipe()

    def fork(*_):
        if not children:
            children.append(os.fork())

    trainer.fit(X, y, epochs=6, callbacks=fork)
    found = digest(trainer.network).encode()
    if children == [0]:
        os.write(writer, found)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 100) == found
    os.close(reader)
    os.waitpid(children[0], 0)


def test_by_default_fits_share_the_cores(monkeypatch):
    """The first takes all that it has work for, others what is left, at least one; what is asked for is given."""
    monkeypatch.setattr("bpfast.config.n_threads", lambda: 4)
    cores, found = config.Cores(), []

    def take(wanted):
        (n, most), *others = wanted
        with cores.take(n, most) as taken:
            found.append(taken)
            if others:
                thread = threading.Thread(target=take, args=(others,))
                thread.start()
                thread.join()

    take([(None, 3), (None, 8), (None, 8), (5, 8)])
    assert found == [3, 1, 1, 5]
    with cores.take(None, 8) as taken:
        assert taken == 4


@pytest.mark.parametrize("n_threads", [0, -1, 2.5, "2", np.nan, True])
def test_what_is_no_number_of_threads(n_threads):
    with pytest.raises((TypeError, ValueError), match="n_threads"):
        new_trainer(layers("relu", 3), "float32", n_threads=n_threads)
