"""The same Python texts, compiled by Numba into loops; products stay with NumPy's BLAS."""

import math
from functools import cache
from types import FunctionType

import numba
import numpy as np

from ...ops.special import log_least
from ...ops.table import Update
from .. import numpy as reference


def runs(op):
    return True


@numba.njit
def _where(condition, a, b):
    if condition:
        return a
    return b


@numba.njit
def _normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


_log_least = numba.njit(FunctionType(log_least.__code__, {**log_least.__globals__, "where": _where}))
ON_SCALARS = {"where": _where, "normal_cdf": _normal_cdf, "log_least": _log_least}


def _on_scalars(function):
    """A row's text with the functions that Numba lacks."""
    return FunctionType(function.__code__, {**function.__globals__, **ON_SCALARS})


@cache
def _loop(function, dtype):
    """A row's text as a ufunc for arrays of one dtype: one for both would run float32 in a loop made for float64."""
    return numba.vectorize(_on_scalars(function))


@cache
def _update_loop(rule, n_arrays):
    """The text of an update as one loop over w and its slots: loop(g, *arrays, *coefficients, *new arrays)."""
    names = list(rule.__code__.co_varnames[: rule.__code__.co_argcount])
    old, new = names[: 1 + n_arrays], [f"new_{name}" for name in names[1 : 1 + n_arrays]]
    read = ", ".join([*(f"{name}[i]" for name in old), *names[1 + n_arrays :]])
    written = " ".join(f"{name}[i]," for name in new)
    scope = {"rule": numba.njit(_on_scalars(rule))}
    exec(f"def loop({', '.join(names + new)}):\n    for i in range(g.size): {written} = rule({read})", scope)
    return numba.njit(scope["loop"])


class Kernels(reference.Kernels):
    """Elementwise rows compiled; rowwise rows, and what users wrote, run as their texts stand."""

    def compiled(self, op, function):
        if op.function is not None:
            return function
        if isinstance(op, Update):
            n_arrays = 1 + len(op.slots)
            loop = _update_loop(function, n_arrays)
            return lambda g, *others: self._updated(loop, g, others[:n_arrays], others[n_arrays:])
        if not op.rowwise:
            return lambda *arguments: _loop(function, self.dtype)(*map(self.cast, arguments))
        return function

    def _updated(self, loop, g, arrays, scalars):
        """-> what the loop makes of w and the slots."""
        flat = [self.cast(array).ravel() for array in (g, *arrays)]
        new = [np.empty_like(array) for array in flat[1:]]
        loop(*flat, *map(self.dtype.type, scalars), *new)
        return tuple(array.reshape(np.shape(g)) for array in new)


class Plan(reference.Plan):
    """The reference with these kernels."""

    Kernels = Kernels
