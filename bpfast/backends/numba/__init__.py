"""The same Python texts, compiled by Numba into loops; products stay with NumPy's BLAS."""

import math
from functools import cache
from types import FunctionType

import numba

from ...ops.table import Activation, Update
from .. import numpy as reference


def runs(op):
    return True


def _elementwise(op):
    return isinstance(op, Update) or (isinstance(op, Activation) and not op.rowwise)


@numba.njit
def _where(condition, a, b):
    if condition:
        return a
    return b


@numba.njit
def _normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@cache
def _loop(function, output=None):
    """A row's text as a ufunc; ``output`` picks one of the values where the text returns several."""
    on_scalars = {**function.__globals__, "where": _where, "normal_cdf": _normal_cdf}
    element = FunctionType(function.__code__, on_scalars)
    if output is not None:
        arguments = ", ".join(function.__code__.co_varnames[: function.__code__.co_argcount])
        scope = {"rule": numba.njit(element)}
        exec(f"def element({arguments}): return rule({arguments})[{output}]", scope)
        element = scope["element"]
    return numba.vectorize(element)


class Kernels(reference.Kernels):
    """Elementwise rows compiled; rowwise rows and losses run as their texts stand."""

    def compiled(self, op, function):
        if not _elementwise(op):
            return function
        if isinstance(op, Update):
            loops = [_loop(function, output) for output in range(1 + len(op.slots))]
            return lambda *arguments: tuple(loop(*map(self.cast, arguments)) for loop in loops)
        return lambda *arguments: _loop(function)(*map(self.cast, arguments))


class Plan(reference.Plan):
    """The reference with these kernels."""

    Kernels = Kernels
