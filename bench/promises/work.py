"""What is trained."""

import hashlib
from functools import cache
from typing import NamedTuple

import numpy as np

import bpfast as bp


class Work(NamedTuple):
    """A net of relu layers, then a softmax with cross-entropy, or one linear output with squared error.

    Before them may stand other layers, on rows of a shape that has the first width's numbers.
    """

    widths: tuple
    batch: int | str
    rows: int
    optimizer: object = bp.Adam()
    clip: object = None
    front: tuple = ()
    shape: tuple | None = None

    def data(self):
        """-> X (rows, *shape) of random numbers, y (rows,): labels or such numbers."""
        X, y = draw(self.rows, self.widths[0], self.widths[-1])
        return X.reshape(-1, *(self.shape or X.shape[1:])), y

    def trainer(self, n_threads):
        n_in, *hidden, n_out = self.widths
        last, loss = (bp.Dense(n_out, "softmax"), "cross_entropy") if n_out > 1 else (bp.Dense(1), "squared_error")
        layers = [*self.front, *(bp.Dense(n, "relu") for n in hidden), last]
        net = bp.Network(layers, input_shape=self.shape or n_in, seed=0)
        return bp.Trainer(net, loss=loss, optimizer=self.optimizer, clip=self.clip, batch_size=self.batch, seed=0,
                          n_threads=n_threads)

    def fitted(self, n_threads=1, epochs=2):
        """-> a Trainer that has trained for some epochs."""
        trainer = self.trainer(n_threads)
        trainer.fit(*self.data(), epochs=epochs)
        return trainer


@cache
def draw(n, n_in, n_out):
    rng = np.random.default_rng(0)
    X = rng.random((n, n_in), "float32")
    return X, rng.integers(0, n_out, n) if n_out > 1 else rng.random(n, "float32")


def digest(trainer):
    """SHA-256 of the weights."""
    return hashlib.sha256(trainer.network.to_vector()).hexdigest()


TINY = Work((13, 50, 1), 32, 2048)
SMALL = Work((64, 128, 64, 10), 256, 2048)  # enough rows in a batch to be shared by two threads
MEDIUM = Work((784, 256, 128, 10), 128, 2048)
LARGE = Work((784, 1024, 1024, 10), 256, 2048)
HUGE = Work((1024, 4096, 1024, 1), 64, 128)
FULL = Work((64, 64, 1), "full", 1_000_000)
