"""A fit that is stopped, interrupted, looked at, pickled, or that diverges: what is left is whole."""

import copy
import gc
import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from checks import digest
from samples import small_trainer

import bpfast as bp
from bpfast import backends
from bpfast.backends.numba.locks import COMPILING


@pytest.fixture(autouse=True)
def no_garbage_collection():
    """Python loses what a signal handler raises within a callback of the collector, and hypothesis has one."""
    gc.disable()
    yield
    gc.enable()


class WhileFitting:
    """Calls ``act`` in another thread when some epochs are finished, and ends a fit that goes on all the same."""

    def __init__(self, trainer, act):
        self._trainer, self._act = trainer, act
        self._begun, self._over = trainer.history.n_epochs, threading.Event()
        self._thread = threading.Thread(target=self._wait)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _wait(self):
        while self._trainer.history.n_epochs < self._begun + 3:
            if self._over.wait(0.001):
                return
        try:
            self._act()
        finally:  # also after an error
            if not self._over.wait(60):
                self._trainer.stop()


FOREVER = 10**8


def interrupt(trainer, rows):
    """Fit until Ctrl-C comes from the keyboard."""
    with WhileFitting(trainer, lambda: os.kill(os.getpid(), signal.SIGINT)), pytest.raises(KeyboardInterrupt):
        trainer.fit(*rows, epochs=FOREVER)


def test_interrupt(engine, dtype, rows):
    """Ctrl-C raises KeyboardInterrupt; network, moments and history are finite, and a fit may go on."""
    trainer = small_trainer(engine, dtype=dtype)
    interrupt(trainer, rows)
    finished = trainer.history.n_epochs
    assert finished >= 3
    assert np.isfinite(trainer.network.to_vector()).all() and np.isfinite(trainer.history["loss"]).all()

    twin = pickle.loads(pickle.dumps(trainer))
    for t in (trainer, twin):
        t.fit(*rows, epochs=2)
        assert t.history.n_epochs == finished + 2
    assert digest(trainer.network) == digest(twin.network)
    interrupt(trainer, rows)  # as often as one likes


def test_interrupt_within_a_large_batch(engine, rng, monkeypatch):
    """A batch that is run in blocks is undone or finished, never half done."""
    X, y = rng.normal(size=(2600, 6)), rng.integers(2, size=2600)
    outcomes = set()
    for finished in (0, 1):
        trainer = small_trainer(engine, batch_size=2600)
        if finished:
            trainer.fit(X, y, epochs=1)
        outcomes.add(digest(trainer.network.build(6)))
    monkeypatch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)  # return after every block
    trainer = small_trainer(engine, batch_size=2600)
    monkeypatch.setattr("bpfast.progress.Progress.rows_done", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=1)
    assert digest(trainer.network) in outcomes


PACKAGE = os.path.dirname(bp.__file__)


def interrupt_at(count, modules):
    """A trace function that interrupts at the count-th line of these modules of bpfast, of all without any.

    Not while parameters are copied out: an interrupt there is the second one, or comes after the fit.
    """
    files = tuple(os.path.join(PACKAGE, f"{module}.py") for module in modules) or PACKAGE

    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.startswith(files) or frame.f_code.co_name == "store":
            return None
        if event == "line":
            count -= 1
            if count == 0:
                raise KeyboardInterrupt
        return trace

    return trace


def interrupt_everywhere(make, fit, outcome, *modules):
    """Interrupt a fit at each of its lines in turn; -> what ``outcome`` makes of the trainer after each, in order."""
    found, interrupted = [], True
    while interrupted:
        trainer, interrupted = make(), False
        with np.errstate():  # a trace function, unlike a signal, can come between a with block and its end
            sys.settrace(interrupt_at(len(found) + 1, modules))
            try:
                fit(trainer)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                sys.settrace(None)
                while COMPILING._is_owned():  # for the same reason
                    COMPILING.release()
        found.append(outcome(trainer))
    return found


class Watcher(bp.Callback):
    """Has a line at every moment, and ends nothing."""

    def epoch(self, trainer, figures):
        trainer.predict([[0.0] * 6])

    def tick(self, trainer):
        return None


@pytest.mark.parametrize("callbacks, modules", [
    ((), ()), ([Watcher(), bp.EarlyStopping("loss")], ("trainer", "callbacks")),
], ids=["alone", "watched"])
def test_interrupt_at_every_line(backend, rows, callbacks, modules):
    """Wherever it comes, what is left is as of a finished batch: the network, the moments, and the trainer's lock."""
    X, y = rows[0][:24], rows[1][:24]
    trainer = small_trainer(backend, batch_size=8)
    trainer.fit(X, y, epochs=1, shuffle=False)
    saved = pickle.dumps(trainer)

    def outcome(trainer):
        trainer.fit(X, y, epochs=1, shuffle=False)
        return digest(trainer.network)

    outcomes = {}
    for batches in range(4):
        trainer = pickle.loads(saved)
        if batches:
            trainer.fit(X[: 8 * batches], y[: 8 * batches], epochs=1, shuffle=False)
        outcomes[outcome(trainer)] = batches

    found = interrupt_everywhere(
        lambda: pickle.loads(saved), lambda trainer: trainer.fit(X, y, epochs=1, shuffle=False, callbacks=callbacks),
        outcome, *modules)
    assert len(found) > 50 and set(found) <= set(outcomes)
    assert {outcomes[each] for each in found} >= {0, 3}


def test_interrupt_at_every_line_of_lbfgs(rows):
    """What is left is as of a finished iteration."""
    X, y = rows[0][:24], rows[1][:24]
    trainer = small_trainer("numpy", optimizer=bp.LBFGS())
    trainer.network.build(6)
    saved, outcomes = pickle.dumps(trainer), [digest(trainer.network)]
    trainer.fit(X, y, epochs=2, callbacks=lambda t, f: outcomes.append(digest(t.network)))
    found = interrupt_everywhere(lambda: pickle.loads(saved), lambda trainer: trainer.fit(X, y, epochs=2),
                                 lambda trainer: (digest(trainer.network), trainer.fit(X, y, epochs=1))[0],
                                 "lbfgs", "trainer")
    assert len(found) > 50 and set(found) == set(outcomes)


def test_interrupt_at_every_line_of_restarts(rows):
    """What is left is the best restart that ended, or what there was before; another fit goes on."""
    X, y = rows[0][:16], rows[1][:16]
    trainer = small_trainer("numpy", batch_size=8)
    trainer.network.build(6)
    saved, outcomes = pickle.dumps(trainer), [digest(trainer.network)]
    for restarts in (1, 2):
        trainer = pickle.loads(saved)
        trainer.fit(X, y, epochs=1, restarts=restarts, shuffle=False)
        outcomes.append(digest(trainer.network))
    found = interrupt_everywhere(lambda: pickle.loads(saved),
                                 lambda trainer: trainer.fit(X, y, epochs=1, restarts=2, shuffle=False),
                                 lambda trainer: (digest(trainer.network), trainer.fit(X, y, epochs=1))[0],
                                 "restarts", "trainer", "network")
    assert len(found) > 100 and len(set(outcomes)) == 3 and set(found) == set(outcomes)


def test_stop_from_another_thread(engine, rows):
    """The fit returns its history of finished epochs, and another one goes on."""
    trainer = small_trainer(engine)
    with WhileFitting(trainer, trainer.stop):
        history = trainer.fit(*rows, epochs=FOREVER)
    assert history is trainer.history and history.n_epochs >= 3
    finished = history.n_epochs
    trainer.stop()  # without a fit to end, this means nothing
    trainer.fit(*rows, epochs=2)
    assert history.n_epochs == finished + 2


def test_two_threads_in_one_trainer(engine, rows):
    """The second fit is refused; the first goes on, and its result is that of an undisturbed one."""
    trainer, errors = small_trainer(engine), []

    def intrude():
        try:
            trainer.fit(*rows, epochs=1)
        except RuntimeError as error:
            errors.append(str(error))
        trainer.stop()

    with WhileFitting(trainer, intrude):
        trainer.fit(*rows, epochs=FOREVER)
    assert len(errors) == 1 and "another thread" in errors[0]
    assert np.isfinite(trainer.network.to_vector()).all()


def test_looking_on_while_fitting(engine, rows):
    """predict, evaluate and loss_and_gradients from another thread disturb nothing."""
    watched, alone = small_trainer(engine), small_trainer(engine)
    seen = []

    def look():
        seen.append((watched.predict(rows[0]), watched.evaluate(*rows), watched.loss_and_gradients(*rows)))
        watched.stop()

    with WhileFitting(watched, look):
        finished = watched.fit(*rows, epochs=FOREVER).n_epochs
    alone.fit(*rows, epochs=finished)
    np.testing.assert_array_equal(watched.history["loss"], alone.history["loss"])
    assert len(seen) == 1 and np.isfinite(seen[0][0]).all()


def test_pickle(engine, rows):
    """A trainer that has not begun, and one that has, go on as they would have."""
    for epochs in (0, 2):
        trainer = small_trainer(engine)
        if epochs:
            trainer.fit(*rows, epochs=epochs)
        for make in (lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy,
                     lambda t: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(t))))):
            twin = make(trainer)
            twin.fit(*rows, epochs=2)
            expected = small_trainer(engine)
            expected.fit(*rows, epochs=epochs + 2)
            assert digest(twin.network) == digest(expected.network)
            assert twin.history.n_epochs == epochs + 2
        assert trainer.history.n_epochs == epochs


def test_the_backends_pass_on_each_others_pickles(backend, rows):
    """A trainer pickled on one backend goes on on another: the moments have no layout of their own."""
    for other in backends.BACKENDS:
        if not backends.missing(other):
            trainer, expected = small_trainer(backend), small_trainer(backend)
            trainer.fit(*rows, epochs=2)
            trainer = pickle.loads(pickle.dumps(trainer))
            trainer.backend = other
            trainer.fit(*rows, epochs=2)
            expected.fit(*rows, epochs=4)
            np.testing.assert_allclose(trainer.network.to_vector(), expected.network.to_vector(), rtol=1e-9, atol=1e-11)


# -- divergence ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_divergence(engine, dtype, rng):
    """The network, the moments and the history go back to the last finite epoch; the message says where and why."""
    X, y = 30 * rng.normal(size=(40, 3)), rng.normal(size=40)

    def trainer():
        net = bp.Network([bp.Dense(4), bp.Dense(1, name="last")], input_shape=3, dtype=dtype, seed=0)
        return bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1.3e-4), batch_size=40, backend=engine)

    diverging, replica = trainer(), trainer()
    diverging.network.parameters["0.weight"][0, 0] = 40
    replica.network.parameters["0.weight"][0, 0] = 40
    with pytest.raises(bp.DivergenceError) as caught:
        diverging.fit(X, y, epochs=10_000, shuffle=False)
    finished = diverging.history.n_epochs
    assert 1 <= finished < 10_000
    assert np.isfinite(diverging.history["loss"]).all()
    replica.fit(X, y, epochs=finished, shuffle=False)
    assert digest(diverging.network) == digest(replica.network)
    message = str(caught.value)
    for part in (f"epoch {finished + 1}", f"{finished} finished", "learning rate", "0.00013", "scaled"):
        assert part in message
    assert "parameter" in message or "layer" in message or "loss" in message
    assert isinstance(caught.value, ArithmeticError)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("optimizer", [bp.SGD(1e38), bp.Adam(1e38)], ids=["sgd", "adam"])
def test_divergence_at_once(engine, rows, optimizer):
    """Nothing is kept of the first epoch, and a second attempt finds the same."""
    trainer = small_trainer(engine, dtype="float32", optimizer=optimizer)
    start = digest(trainer.network.build(6))
    messages = []
    for _ in range(2):
        with pytest.raises(bp.DivergenceError) as caught:
            trainer.fit(*rows, epochs=5, shuffle=False)
        assert digest(trainer.network) == start and trainer.history.n_epochs == 0
        messages.append(str(caught.value).partition(": ")[2])
    assert messages[0] == messages[1]


@pytest.mark.filterwarnings("error")
def test_divergence_in_the_last_step(engine):
    """A finite loss whose step makes a parameter infinite is a divergence of that epoch."""
    net = bp.Network([bp.Dense(1)], input_shape=1, dtype="float32")
    net.parameters["0.weight"] = [[1e15]]
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1e30), backend=engine)
    with pytest.raises(bp.DivergenceError, match=r"parameter '0\.weight'"):
        trainer.fit([[1.0]], [0.0], epochs=1)
    assert net.parameters["0.weight"] == np.float32(1e15)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss, last", [("cross_entropy", "softmax"), ("squared_error", "linear")])
def test_a_loss_that_is_not_finite(engine, loss, last):
    """Finite parameters, infinite outputs: every call says so in its own way, and none by a warning."""
    net = bp.Network([bp.Dense(4), bp.Dense(3, last)], input_shape=2, seed=0)
    net.parameters["0.weight"], net.parameters["1.weight"] = np.full((2, 4), 1e20), np.full((4, 3), 1e30)
    trainer, before = bp.Trainer(net, loss=loss, backend=engine), digest(net)
    X, y = np.ones((5, 2)), np.zeros(5, int) if last == "softmax" else np.zeros((5, 3))
    assert not np.isfinite(trainer.predict(X)).any()
    assert not np.isfinite(trainer.evaluate(X, y)["loss"])
    value, gradients = trainer.loss_and_gradients(X, y)
    assert not np.isfinite(value) and not np.isfinite(gradients["1.bias"]).all()
    with pytest.raises(bp.DivergenceError, match="in the output of layer '1'"):
        trainer.fit(X, y, epochs=2)
    assert digest(net) == before and trainer.history.n_epochs == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite(engine, rows, value):
    """Refused before any work, with the place."""
    trainer = small_trainer(engine)
    trainer.network.build(6).parameters["0.weight"][2, 3] = value
    for call in (lambda: trainer.fit(*rows), lambda: trainer.loss_and_gradients(*rows)):
        with pytest.raises(ValueError, match=r"parameter '0.weight'\[2, 3\] is (nan|inf)"):
            call()
