"""Every row of the tables of formulas, on 20 000 elements, in each backend that runs it.

From arrays to arrays: what a backend copies and allocates on the way counts.  Where nothing is to be computed, as in
"linear" and the adjoint of "step", both hand the array on.
"""

import numpy as np

from bpfast import backends
from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES

from .common import DTYPES, need
from .workloads import SEED

SHAPE = (25, 800)
BACKENDS = ["native", "numpy"]  # numba compiles every row for a second; its steps are timed in step.py
REALS = (-np.inf, np.inf)


class Row:
    """What the benchmarks of all tables have in common: ``setup`` makes ``self.run``, and runs it once."""

    def setup(self, name, backend, dtype):
        need(backend)
        op = self.table[name]
        if not backends.runs(backend, op):
            raise NotImplementedError(f"{backend} does not run {name}")
        self.rng, self.dtype = np.random.default_rng(SEED), dtype
        self.run = self.runner(op, backends.kernels(backend, dtype))
        self.run()

    def normal(self):
        return self.rng.standard_normal(SHAPE, self.dtype)


class Forward(Row):
    table = ACTIVATIONS
    params = ([*table], BACKENDS, DTYPES)
    param_names = ("activation", "backend", "dtype")

    def runner(self, op, kernels):
        x = self.normal()
        return lambda: kernels.activation_forward(op, x)

    def time_forward(self, name, backend, dtype):
        self.run()


class Adjoint(Row):
    table = ACTIVATIONS
    params = ([*table], BACKENDS, DTYPES)
    param_names = ("activation", "backend", "dtype")

    def runner(self, op, kernels):
        dy, x = self.normal(), self.normal()
        y = kernels.activation_forward(op, x)
        return lambda: kernels.activation_adjoint(op, dy, x, y)

    def time_adjoint(self, name, backend, dtype):
        self.run()


class Loss(Row):
    """The value of every row and the gradient together, as a step of training needs them."""

    table = LOSSES
    params = ([*table], BACKENDS, DTYPES)
    param_names = ("loss", "backend", "dtype")

    def runner(self, op, kernels):
        batch, n_out = SHAPE
        t = np.arange(batch) % n_out if op.labels else self.normal()
        y = self.normal()
        if op.domain != REALS:  # probabilities and rates
            y = 1 / (1 + np.exp(-y))
        mean = np.full(batch, 1 / batch)
        return lambda: kernels.loss(op, y, t, mean)

    def time_loss(self, name, backend, dtype):
        self.run()


class Update(Row):
    table = UPDATES
    params = ([*table], BACKENDS, DTYPES)
    param_names = ("update", "backend", "dtype")

    def runner(self, op, kernels):
        g, w, slots = self.normal(), self.normal(), [np.zeros(SHAPE, self.dtype) for _ in op.slots]
        coefficients = op.coefficients(1, 1e-3, *op.values)
        return lambda: kernels.update(op, g, w, slots, coefficients)

    def time_update(self, name, backend, dtype):
        self.run()
