"""The texts of the rows on scalars of one dtype, compiled, for the loops that call them."""

import math
from functools import cache, wraps
from types import FunctionType

import numba
from numba.extending import intrinsic

from ...ops.special import log_least
from . import scalars
from .emit import Emitted
from .locks import COMPILING

OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}  # a division by zero is no exception; a * b + c may fuse
inline = numba.njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # for what compiled code alone calls


def compiled_once(compile):
    """Keeps what a function compiles for its arguments; one thread compiles, and none that finds it waits."""
    kept = {}

    @wraps(compile)
    def found(*arguments):
        if arguments not in kept:
            with COMPILING:
                if arguments not in kept:
                    kept[arguments] = compile(*arguments)
        return kept[arguments]

    return found


@inline
def _where(condition, a, b):
    if condition:
        return a
    return b


@inline
def _normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@inline
def _clip(x, low, high):
    return _where(x < low, low, _where(x > high, high, x))


def vectorizing(function):
    """A function of scalars.py for Numba, whose own calls libm for one number after the other."""

    def typed(typing, x):
        def generate(context, builder, signature, values):
            return function(Emitted(builder, values[0])).ir

        return x(x), generate

    return intrinsic(typed)


ELEMENTARY = {name: vectorizing(getattr(scalars, name)) for name in ("exp", "expm1", "log", "log1p", "tanh")}


@cache
def on_scalars(text, dtype):
    """A row's text as a function of scalars: with functions of our own, and constants of this dtype."""

    def of_dtype(value):
        return dtype.type(value) if type(value) in (int, float) else value

    scope = {name: of_dtype(value) for name, value in text.__globals__.items()}
    scope |= {**ELEMENTARY, "where": _where, "clip": _clip, "normal_cdf": _normal_cdf}
    if text is not log_least:
        scope["log_least"] = on_scalars(log_least, dtype)
    code = text.__code__.replace(co_consts=tuple(map(of_dtype, text.__code__.co_consts)))
    return inline(FunctionType(code, scope, text.__name__, text.__defaults__, text.__closure__))


@compiled_once
def ufunc(text, dtype):
    """A row's text as a ufunc for arrays of one dtype."""
    real = numba.from_dtype(dtype)
    return numba.vectorize([real(*[real] * text.__code__.co_argcount)])(on_scalars(text, dtype).py_func)
