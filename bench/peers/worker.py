"""What the process of a peer is asked to do.

A task is a file: the pickled workload, X, y, the layers to begin with.  A peer that cannot do it raises Unavailable.
"""

import functools
import gc
import pickle
import pkgutil
from time import perf_counter, sleep

import numpy as np

from ..benchmarks.workloads import ROWS
from . import PEERS, process

TOLERANCE = 0.02  # of the first loss: orders differ; half of the rows or of the rate is seen, save in the deep net

_peer = None


class Unavailable(Exception):
    """Says why a peer does not do the work."""


def explained(do):
    """The function, with one kind of exception, which every process can read."""

    @functools.wraps(do)
    def tried(*arguments):
        try:
            return do(*arguments)
        except ModuleNotFoundError as error:
            raise Unavailable(f"{error.name}: not installed") from None
        except Unavailable:
            raise
        except Exception as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    return tried


def make(name, task, threads):
    """Take up a task; -> the workload, X, y."""
    global _peer
    _peer = None  # its memory is free before that of the next is taken
    with task.open("rb") as file:
        workload, X, y, layers = pickle.load(file)
    _peer = pkgutil.resolve_name(f"{__package__}.{PEERS[name]}")(workload, X, y, layers, threads)
    return workload, X, y


def train(epochs):
    """-> seconds."""
    rng = np.random.default_rng(0)
    _peer.ready(np.stack([rng.permutation(ROWS) for _ in range(epochs)]).astype(np.int32))
    begin = perf_counter()
    _peer.train()
    return perf_counter() - begin


@explained
def prepare(name, task, threads, expected):
    """Warm up for an epoch, and see that the loss falls as it should: expected is (before, after)."""
    workload, X, y = make(name, task, threads)
    train(1)
    before, after = expected
    loss = loss_of(workload, _peer.layers(), X, y)
    if not abs(loss - after) <= TOLERANCE * before:
        raise Unavailable(f"learns otherwise: the loss goes from {before:.4g} to {loss:.4g}, not to {after:.4g}")


def loss_of(workload, layers, X, y):
    """The loss of these layers over all rows, by bpfast."""
    trainer = workload.trainer("auto", "float32")
    trainer.network.from_vector(np.concatenate([part.ravel() for layer in layers for part in layer]))
    return trainer.evaluate(X, y)["loss"]


@explained
def turn(epochs):
    """-> seconds per epoch."""
    gc.collect()
    sleep(process.PAUSE)
    return train(epochs) / epochs


@explained
def first_fit(name, task, threads):
    """-> version of the library, seconds from the process's beginning to the end of an epoch, peak memory in bytes."""
    make(name, task, threads)
    train(1)
    return _peer.version, perf_counter() - process.begun, process.peak_memory()
