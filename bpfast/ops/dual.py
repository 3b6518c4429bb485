"""Rules of differentiation, one table, for functions of numbers that a user writes.

SLOPES     name: the partial derivatives of y = name(*x), one for each argument, from (*x, y)
COMPOSED   name: the function, made of others; its derivative follows from theirs
ALIASES    other names of these in math, numpy and scipy.special

A Dual is a number and its derivative: ``Dual(x, 1)`` through a function gives ``Dual(f(x), f'(x))``.  The numbers are
of any class with operators; ``functions`` of the class says what exp, log, ... of them are.  Of Python's numbers
these are NumPy's, so that nothing raises: 1 / 0 is inf, log -1 is nan.  The Numba backend's are its scalars.py.
"""

import math
import operator
from types import SimpleNamespace

import numpy as np

from .rewire import rewired

__all__ = ["FUNCTIONS", "AddedComparisons", "Dual", "is_gate", "on_arrays", "on_columns", "on_numbers", "slope_of",
           "slope_on_arrays", "tried"]

TWO_PER_ROOT_PI = 2 / math.sqrt(math.pi)
OPERATORS = "add", "sub", "mul", "truediv", "floordiv", "mod", "pow"
COMPARISONS = "lt", "le", "gt", "ge", "eq", "ne"


def _power_slope(a, b, y):
    """d(a**b)/da; 0 for b = 0, where a**(b - 1) may be infinite."""
    if isinstance(b, int | float) and not isinstance(b, np.generic):  # known while compiling
        return b * pow(a, b - 1) if b else 0.0
    return where(b == 0, 0.0, b * pow(a, b - 1))


# fmt: off
SLOPES = {
    "add":      (lambda a, b, y: 1,               lambda a, b, y: 1),
    "sub":      (lambda a, b, y: 1,               lambda a, b, y: -1),
    "mul":      (lambda a, b, y: b,               lambda a, b, y: a),
    "truediv":  (lambda a, b, y: 1 / b,           lambda a, b, y: -y * (1 / b)),
    "pow":      (_power_slope,                    lambda a, b, y: where((a == 0) | (y == math.inf), 0.0, y * log(a))),
    "neg":      (lambda x, y: -1,),
    "abs":      (lambda x, y: sign(x),),
    "floor":    (lambda x, y: 0,),
    "ceil":     (lambda x, y: 0,),
    "exp":      (lambda x, y: where(y == math.inf, 0.0, y),),  # beyond overflow 0, so that 1 / (1 + exp(-x)) has 0, not nan
    "expm1":    (lambda x, y: where(y == math.inf, 0.0, y + 1),),
    "log":      (lambda x, y: 1 / x,),
    "log1p":    (lambda x, y: 1 / (1 + x),),
    "sqrt":     (lambda x, y: 0.5 / y,),
    "sin":      (lambda x, y: cos(x),),
    "cos":      (lambda x, y: -sin(x),),
    "tanh":     (lambda x, y: 1 - y * y,),
    "erf":      (lambda x, y: TWO_PER_ROOT_PI * exp(-x * x),),
    "sigmoid":  (lambda x, y: y * (1 - y),),
}
COMPOSED = {
    "floordiv":   lambda a, b: floor(a / b),
    "mod":        lambda a, b: a - floor(a / b) * b,
    "max":        lambda a, b: where(b > a, b, a),  # Python's
    "min":        lambda a, b: where(b < a, b, a),
    "maximum":    lambda a, b: where((a > b) | (a != a), a, b),  # NumPy's: NaN from either side
    "minimum":    lambda a, b: where((a < b) | (a != a), a, b),
    "clip":       lambda x, low, high: minimum(maximum(x, low), high),
    "sign":       lambda x: where(x > 0, 1, where(x < 0, -1, 0 * x)),
    "heaviside":  lambda x, at_zero: where(x > 0, 1, where(x < 0, 0, where(x == 0, at_zero, x))),
    "copysign":   lambda a, b: where(b < 0, -abs(a), abs(a)),
    "square":     lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "sinh":       lambda x: (expm1(x) - expm1(-x)) * 0.5,
    "cosh":       lambda x: (exp(x) + exp(-x)) * 0.5,
    "tan":        lambda x: sin(x) / cos(x),
    "log2":       lambda x: log(x) * (1 / math.log(2)),
    "log10":      lambda x: log(x) * (1 / math.log(10)),
    "logaddexp":  lambda a, b: maximum(a, b) + log1p(exp(-abs(a - b))),
    "hypot":      lambda a, b: sqrt(a * a + b * b),
    "isnan":      lambda x: x != x,
    "isinf":      lambda x: abs(x) == math.inf,
    "isfinite":   lambda x: abs(x) < math.inf,
}
# fmt: on
ALIASES = {"absolute": "abs", "fabs": "abs", "power": "pow", "expit": "sigmoid", "negative": "neg", "subtract": "sub", "multiply": "mul", "divide": "truediv", "true_divide": "truediv"}


class Dual:
    """A number and its derivative."""

    __slots__ = ("slope", "value")
    __hash__ = None
    __array_ufunc__ = None  # np.float64 * Dual is left to Dual
    functions = SimpleNamespace(
        **{name: getattr(np, name) for name in SLOPES if hasattr(np, name)},
        truediv=np.divide, sub=np.subtract, mul=np.multiply, neg=np.negative,
        erf=lambda x: np.result_type(x).type(math.erf(x)), sigmoid=lambda x: 1 / (1 + np.exp(-x)),
        where=lambda condition, a, b: np.where(condition, a, b) if np.ndim(condition) else a if condition else b,
    )

    def __init__(self, value, slope):
        self.value, self.slope = value, slope

    def __repr__(self):
        return f"Dual({self.value}, {self.slope})"

    def __neg__(self):
        return apply("neg", self)

    def __pos__(self):
        return self

    def __abs__(self):
        return apply("abs", self)

    def __bool__(self):
        return bool(self.value)


def parts(number):
    """-> value, slope; the slope of what is no Dual is None."""
    return (number.value, number.slope) if isinstance(number, Dual) else (number, None)


def family(numbers):
    """The class of a dual among numbers, and the functions of their values."""
    dual = next((type(number) for number in numbers if isinstance(number, Dual)), None)
    return dual, next((number.functions for number in numbers if hasattr(number, "functions")), Dual.functions)


def apply(name, *numbers):
    """name(*numbers), a Dual if one of them is."""
    if name in COMPOSED:
        return COMPOSED[name](*numbers)
    dual, functions = family(numbers)
    values, slopes = zip(*map(parts, numbers))
    y = getattr(functions, name)(*values)
    if dual is None:
        return y
    slope = None
    for partial, of_argument in zip(SLOPES[name], slopes):
        if of_argument is not None:
            factor = partial(*values, y)
            if isinstance(factor, int) and factor in (1, -1):  # what multiplies nothing costs nothing
                term = of_argument if factor > 0 else -of_argument
            else:
                term = factor * of_argument
            slope = term if slope is None else slope + term
    return dual(y, slope)


def where(condition, a, b):
    """a if condition else b, for numbers of which one may be a Dual, without a branch."""
    dual, functions = family((a, b, condition))
    if dual is None:
        return functions.where(condition, a, b)
    (a, a_slope), (b, b_slope) = parts(a), parts(b)
    a_slope, b_slope = (0.0 if slope is None else slope for slope in (a_slope, b_slope))
    return dual(functions.where(condition, a, b), functions.where(condition, a_slope, b_slope))


def _named(name):
    def function(*numbers):
        return apply(name, *numbers)

    function.__name__ = function.__qualname__ = name
    return function


FUNCTIONS = {name: _named(name) for name in (*SLOPES, *COMPOSED)} | {"where": where}
FUNCTIONS |= {alias: FUNCTIONS[name] for alias, name in ALIASES.items()}
# The texts above mean these, not Python's.
(add, sub, mul, truediv, pow, neg, abs, floor, ceil, exp, expm1, log, log1p, sqrt, sin, cos, tanh, erf,
 sigmoid) = (FUNCTIONS[name] for name in SLOPES)
(floordiv, mod, max, min, maximum, minimum, clip, sign, heaviside, copysign, square, reciprocal, sinh, cosh, tan, log2,
 log10, logaddexp, hypot, isnan, isinf, isfinite) = (FUNCTIONS[name] for name in COMPOSED)


class AddedComparisons(TypeError):
    """NumPy has True + True = True and no True - True; Python and compiled code have 2 and 0."""

    def __init__(self):
        super().__init__("comparisons are added, subtracted or negated as if they were numbers: write 1.0 * (a > b)")


class _Truth(int):
    """What a comparison of Duals gives."""

    def _refuse(self, other=True):
        if isinstance(other, bool | np.bool_ | _Truth):
            raise AddedComparisons
        return NotImplemented

    __neg__ = __add__ = __sub__ = _refuse


def _compared(name, a, b):
    made = getattr(operator, name)(a, b)
    return _Truth(made) if isinstance(made, bool | np.bool_) else made


for _name in OPERATORS:
    setattr(Dual, f"__{_name}__", lambda a, b, name=_name: apply(name, a, b))
    setattr(Dual, f"__r{_name}__", lambda b, a, name=_name: apply(name, a, b))
for _name in COMPARISONS:  # by their values alone
    setattr(Dual, f"__{_name}__", lambda a, b, name=_name: _compared(name, a.value, parts(b)[0]))


def _number(x):
    if isinstance(x, tuple | list):
        return tuple(map(_number, x))
    value = parts(x)[0]
    if isinstance(value, complex | np.complexfloating):
        raise TypeError(f"the complex number {value} is no real one")
    return float(value)


def _narrowed(number):
    """What float32 arithmetic holds of a number that constants have widened."""
    if isinstance(number, Dual):
        return Dual(_narrowed(number.value), _narrowed(number.slope))
    return np.float32(number) if isinstance(number, np.float64) else number


def _in_float32(function):
    return lambda *numbers: _narrowed(function(*map(_narrowed, numbers)))


FUNCTIONS_OF = {np.float64: FUNCTIONS,
                np.float32: {name: _in_float32(function) for name, function in FUNCTIONS.items()}}


def on_numbers(function, kind=np.float64, errors="ignore"):
    """A user's function, for plain numbers, by the rules of compiled code: nothing raises, 1 / 0 is inf.

    ``kind`` is the type in which it computes; with errors="raise", FloatingPointError tells where nan or inf come from.
    -> a function of floats that returns a float, or a tuple of floats.
    """
    return _of_floats(rewired(function, FUNCTIONS_OF[kind]), kind, errors)


def slope_of(function, kind=np.float64, errors="ignore"):
    """-> the derivative of a user's function with respect to its first argument, likewise."""
    return _of_floats(_sloped(function, FUNCTIONS_OF[kind]), kind, errors)


def tried(function):
    """-> a user's function, likewise, which raises AddedComparisons where it takes truths for numbers."""
    return _of_floats(rewired(function, FUNCTIONS), lambda x: Dual(np.float64(x), None), "ignore")


def _of_floats(copy, kind, errors):
    def on_floats(*arguments):
        with np.errstate(all=errors, under="ignore"):
            return _number(copy(*map(kind, arguments)))

    return on_floats


def on_arrays(function):
    """-> a user's function of numbers as one of arrays, element by element, in double precision at least."""
    return _of_arrays(rewired(function, FUNCTIONS), on_numbers(function))


def slope_on_arrays(function):
    """-> its derivative with respect to the first argument, likewise."""
    return _of_arrays(_sloped(function), slope_of(function))


def on_columns(function, columns):
    """A function of numbers that returns a tuple, for arrays of one length, or numbers; -> tuple of such arrays."""
    with np.errstate(all="ignore"):
        try:
            return tuple(rewired(function, FUNCTIONS)(*map(np.asarray, columns)))
        except (TypeError, ValueError):  # a branch, which arrays cannot take
            rows = np.broadcast(*columns)
            made = np.array([on_numbers(function)(*row) for row in rows])
            return tuple(made.T.reshape(-1, *rows.shape))


def is_gate(function):
    """Whether a function of one number returns positive ones as they are, and for the others one that is not positive.

    Then y tells its slope: 1 where y > 0, else 0, as relu's (at 0, too, where there may be two).  It is proven by numbers
    whose signs alone are known; False where that does not prove it.
    """
    copy, positive, negative = rewired(function, FUNCTIONS), _Sign(1), _Sign(-1)
    try:
        floor = copy(negative)
        return (copy(positive) is positive and isinstance(floor, int | float) and floor <= 0
                and on_numbers(function)(0.0) <= 0)
    except (TypeError, ValueError, AttributeError):  # it does more with them than comparing
        return False


class _Sign:
    """A finite number of which the sign is known, 1 or -1: what does not follow from that is a TypeError."""

    __hash__ = None
    __array_ufunc__ = None

    def __init__(self, sign):
        self.sign = sign

    def __gt__(self, other):
        if other is self:
            return False
        if not isinstance(other, int | float) or other * self.sign > 0:
            raise TypeError(f"it is not known whether a number with the sign {self.sign} is above {other}")
        return self.sign > 0

    def __lt__(self, other):
        return other is not self and not self > other

    def __ge__(self, other):
        return not self < other

    def __le__(self, other):
        return not self > other

    def __eq__(self, other):
        return self >= other and self <= other


def _sloped(function, functions=FUNCTIONS):
    copy = rewired(function, functions)

    def slope(x, *others):
        found = parts(copy(Dual(x, np.ones_like(x)), *others))[1]
        return np.zeros_like(x) if found is None else found

    return slope


def _of_arrays(whole, single):
    """``whole`` on arrays at once where it can: it branches nowhere; else ``single`` on each number."""
    one_by_one = np.vectorize(single, otypes="d")

    def of_arrays(x, *others):
        wide = [np.asarray(array, np.promote_types(np.asarray(array).dtype, "d")) for array in (x, *others)]
        with np.errstate(all="ignore"):
            try:
                made = np.broadcast_to(whole(*wide), np.broadcast_shapes(*(array.shape for array in wide)))
            except (TypeError, ValueError):
                made = one_by_one(*wide)
        return made.astype(np.asarray(x).dtype)

    return of_arrays
