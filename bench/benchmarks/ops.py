"""Every row of the tables of formulas on 20 000 elements: how many times as fast native is as the row itself, in NumPy.

From arrays to arrays: what either copies and allocates on the way counts.  Where nothing is to be computed, as in
"linear" and the adjoint of "step", both hand the array on.
"""

from time import perf_counter

import numpy as np

from bpfast import backends
from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES

from .common import DTYPES, need
from .workloads import SEED

SHAPE = (25, 800)
ROUNDS = 100
REALS = (-np.inf, np.inf)


class Row:
    """What the benchmarks of all tables have in common: ``runner(op, kernels)`` gives the call that is timed."""

    param_names = ("row", "dtype")

    def setup(self, name, dtype):
        need("native")
        self.dtype, self.runs = dtype, []
        for backend in ("native", "numpy"):
            self.rng = np.random.default_rng(SEED)
            self.runs.append(self.runner(self.table[name], backends.kernels(backend, dtype)))

    def normal(self):
        return self.rng.standard_normal(SHAPE, self.dtype)

    def times_as_fast(self, name, dtype):
        """The fastest of many rounds, in which they take turns."""
        fastest = [np.inf, np.inf]
        for _ in range(ROUNDS):
            for i, run in enumerate(self.runs):
                begin = perf_counter()
                run()
                fastest[i] = min(fastest[i], perf_counter() - begin)
        return fastest[1] / fastest[0]

    times_as_fast.unit = "times as fast"


class Forward(Row):
    table, params = ACTIVATIONS, ([*ACTIVATIONS], DTYPES)
    track_forward = Row.times_as_fast

    def runner(self, op, kernels):
        x = self.normal()
        return lambda: kernels.activation_forward(op, x)


class Adjoint(Row):
    table, params = ACTIVATIONS, ([*ACTIVATIONS], DTYPES)
    track_adjoint = Row.times_as_fast

    def runner(self, op, kernels):
        dy, x = self.normal(), self.normal()
        y = kernels.activation_forward(op, x)
        return lambda: kernels.activation_adjoint(op, dy, x, y)


class Loss(Row):
    """The value of every row and the gradient together, as a step of training needs them."""

    table, params = LOSSES, ([*LOSSES], DTYPES)
    track_loss = Row.times_as_fast

    def runner(self, op, kernels):
        batch, n_out = SHAPE
        t = np.arange(batch) % n_out if op.labels else self.normal()
        y = self.normal()
        if op.domain != REALS:  # probabilities and rates
            y = 1 / (1 + np.exp(-y))
        mean = np.full(batch, 1 / batch)
        return lambda: kernels.loss(op, y, t, mean)


class Update(Row):
    table, params = UPDATES, ([*UPDATES], DTYPES)
    track_update = Row.times_as_fast

    def runner(self, op, kernels):
        g, w, slots = self.normal(), self.normal(), [np.zeros(SHAPE, self.dtype) for _ in op.slots]
        coefficients = op.coefficients(1, 1e-3, *op.values)
        return lambda: kernels.update(op, g, w, slots, coefficients)
