"""Ctrl-C ends whatever goes on at once, and leaves what a number of finished batches leave."""

import gc
import os
import signal
import time

import numpy as np
from promise import Broken, child, promise, receive
from work import FULL, MEDIUM, SMALL, Work

import bpfast as bp

FOREVER = 10**8


def fit(trainer, X, y, **settings):
    trainer.fit(X, y, epochs=FOREVER, shuffle=False, **settings)


def again_and_again(call):
    def calls(trainer, X, y):
        while True:
            call(trainer, X, y)

    return calls


CALLS = {
    "fit": (SMALL, fit),
    "fit, 10^6 x 64 in one batch": (FULL, fit),
    "fit, 10^6 x 1 in one weighted batch": (
        Work((1, 1), "full", 1_000_000), lambda trainer, X, y: fit(trainer, X, y, sample_weight=np.ones(len(X)))),
    "fit, L-BFGS": (Work((64, 64, 1), "full", 100_000, bp.LBFGS()), fit),
    "predict": (FULL, again_and_again(lambda trainer, X, y: trainer.predict(X))),
    "evaluate": (FULL, again_and_again(lambda trainer, X, y: trainer.evaluate(X, y))),
    "check_gradients": (MEDIUM, again_and_again(
        lambda trainer, X, y: bp.check_gradients(trainer.network, trainer.loss, X[:32], y[:32]))),
}


@promise("Ctrl-C to KeyboardInterrupt, the network as of a finished batch", 100, "ms", repeats=20, quick=2, cases=CALLS)
def ctrl_c(n_threads, repeats, case):
    """-> the longest time, of signals at random moments."""
    rng, longest = np.random.default_rng(), 0
    with child("spawn", wait_for_ctrl_c, case, n_threads, repeats) as (process, pipe):
        for _ in range(repeats):
            receive(pipe)
            time.sleep(rng.uniform(0, 0.3))
            sent = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            caught, wrong = receive(pipe)
            if wrong:
                raise Broken(wrong)
            longest = max(longest, 1e3 * (caught - sent))
    return longest


def wait_for_ctrl_c(pipe, case, n_threads, repeats):
    """Send "begun", call until Ctrl-C, send when it was caught and what is wrong with what it left; so many times."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    gc.disable()  # Python loses what is raised within a callback of the collector
    work, call = CALLS[case]
    X, y = work.data()
    for _ in range(repeats):
        trainer = work.trainer(n_threads)
        try:
            pipe.send("begun")
            call(trainer, X, y)
        except KeyboardInterrupt:
            caught = time.monotonic()
        pipe.send((caught, what_is_wrong(trainer, work.trainer(n_threads), X, y)))
        gc.collect()


def what_is_wrong(trainer, twin, X, y):
    """The network must be as that of a twin after the epochs of the history, and none or some batches of the next."""
    epochs, found = trainer.history.n_epochs, trainer.network.to_vector()
    if not np.isfinite(found).all():
        return "the network is not finite"
    if epochs:
        twin.fit(X, y, epochs=epochs, shuffle=False)
        if not np.array_equal(trainer.history["loss"], twin.history["loss"]):
            return "the history is not that of an undisturbed fit"
    step = len(X) if trainer.batch_size == "full" else trainer.batch_size
    for begin in range(0, len(X), step):
        if np.array_equal(found, twin.network.to_vector()):
            return None
        twin.fit(X[begin : begin + step], y[begin : begin + step], epochs=1, shuffle=False)
    return None if np.array_equal(found, twin.network.to_vector()) else f"no batch after {epochs} epochs leaves this"
