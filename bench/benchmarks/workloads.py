"""The five workloads, nets and the data they learn; and nets of other layers.

bpfast is imported where it is used: who measures the start of another library must not load it first.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

ROWS = 8192  # of every data set: a whole number of batches in every workload
SEED = 0


class Workload(NamedTuple):
    """A net of relu layers, then a softmax with cross-entropy, or one linear output with squared error."""

    widths: tuple
    batch: int
    target: float  # how many times as fast as NumpyStep one native step is to be, in float32

    @property
    def loss(self):
        return "squared_error" if self.widths[-1] == 1 else "cross_entropy"

    @property
    def steps(self):
        """Steps per epoch."""
        return ROWS // self.batch

    @property
    def flops(self):
        """Of one step: x W, x^T delta, and delta W^T in all layers but the first."""
        products = [2 * self.batch * n_in * n_out for n_in, n_out in pairwise(self.widths)]
        return 3 * sum(products) - products[0]

    def data(self, dtype, rows=ROWS):
        """-> X (rows, n_in) of normal deviates, y: normal deviates (rows, 1) or labels (rows,)."""
        return draw((rows, self.widths[0]), self.widths[-1], self.loss, dtype)

    def views(self, vector):
        """-> weights, biases: lists of views into a vector ordered as ``Network.to_vector`` orders it."""
        weights, biases, begin = [], [], 0
        for n_in, n_out in pairwise(self.widths):
            middle, end = begin + n_in * n_out, begin + (n_in + 1) * n_out
            weights.append(vector[begin:middle].reshape(n_in, n_out))
            biases.append(vector[middle:end])
            begin = end
        return weights, biases

    def network(self, dtype, activation="relu"):
        import bpfast as bp

        n_in, *hidden, n_out = self.widths
        last = bp.Dense(n_out, "linear" if self.loss == "squared_error" else "softmax")
        layers = [*(bp.Dense(n, activation) for n in hidden), last]
        return bp.Network(layers, input_shape=n_in, dtype=dtype, seed=SEED)

    def trainer(self, backend, dtype, activation="relu", **options):
        return new_trainer(self, self.network(dtype, activation), backend, options)


class Deep(NamedTuple):
    """A net of any layers, images perhaps its inputs; a softmax with cross-entropy, or else squared error."""

    layers: tuple
    input_shape: tuple
    batch: int
    rows: int

    @property
    def loss(self):
        return "cross_entropy" if self.network("float32").program.last_activation.rowwise else "squared_error"

    def data(self, dtype):
        """-> X (rows, *input_shape), y, as of a Workload."""
        return draw((self.rows, *self.input_shape), self.network(dtype).program.n_out, self.loss, dtype)

    def network(self, dtype):
        import bpfast as bp

        return bp.Network(self.layers, input_shape=self.input_shape, dtype=dtype, seed=SEED)

    def trainer(self, backend, dtype, **options):
        return new_trainer(self, self.network(dtype), backend, options)


def draw(shape, n_out, loss, dtype):
    """-> X of this shape, y that suits the loss."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal(shape, dtype)
    if loss == "squared_error":
        return X, rng.standard_normal((len(X), n_out), dtype)
    return X, rng.integers(0, n_out, len(X))


def new_trainer(workload, network, backend, options):
    """-> Trainer; without other options Adam at a rate of 1e-3."""
    import bpfast as bp

    settings = {"optimizer": bp.Adam(1e-3), "batch_size": workload.batch, "seed": SEED, "backend": backend} | options
    return bp.Trainer(network, loss=workload.loss, **settings)


WORKLOADS = {
    "tiny": Workload((13, 50, 1), 32, 10),
    "small": Workload((64, 128, 64, 10), 64, 3),
    "deep": Workload((64, *[64] * 20, 10), 64, 3),
    "medium": Workload((784, 256, 128, 10), 128, 1.5),
    "large": Workload((784, 1024, 1024, 10), 256, 1.2),
}
