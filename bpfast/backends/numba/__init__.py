"""The same Python texts, compiled by Numba into loops; products stay with NumPy's BLAS."""

import math
from functools import cache
from types import FunctionType

import numba

from ...ops.special import log_least
from ...ops.table import Update
from ..numpy import Plan as NumpyPlan


def runs(op):
    return True


def _elementwise(op):
    return isinstance(op, Update) or not op.rowwise


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


@cache
def _loop(function, output=None):
    """A row's text as a ufunc; ``output`` picks one of the values where the text returns several."""
    element = FunctionType(function.__code__, {**function.__globals__, **ON_SCALARS})
    if output is not None:
        arguments = ", ".join(function.__code__.co_varnames[: function.__code__.co_argcount])
        scope = {"rule": numba.njit(element)}
        exec(f"def element({arguments}): return rule({arguments})[{output}]", scope)
        element = scope["element"]
    return numba.vectorize(element)


class Plan(NumpyPlan):
    """The reference with every elementwise row compiled; rowwise rows run as their texts stand."""

    def compiled(self, op, function):
        if not _elementwise(op):
            return function
        if isinstance(op, Update):
            loops = [_loop(function, output) for output in range(1 + len(op.slots))]
            return lambda *arguments: tuple(loop(*map(self._same_dtype, arguments)) for loop in loops)
        return lambda *arguments: _loop(function)(*map(self._same_dtype, arguments))
