"""Rules of differentiation: against differences, in pure Python and compiled; how a function is copied and keyed."""

import math
import sys
from math import exp as plain_exp
from types import ModuleType

import numpy as np
import pytest
from compiled import slopes, value_and_slope, values

from bpfast.backends.numba.functions import activation
from bpfast.ops.dual import ALIASES, COMPOSED, FUNCTIONS, SLOPES, Dual, is_gate, on_numbers
from bpfast.ops.objections import KNOWN, objections
from bpfast.ops.rewire import NoKey, key_of

HALF = 0.5
SHADOWED = {"tanh": 2.0}


def tanh(x):
    """Of the user, not of math."""
    return x * SCALE + np.tanh(x)


SCALE = 3


def softplus(x):
    if x > 20:
        return x
    return math.log1p(math.exp(x))


def piecewise(x):
    if x < -1:
        return 0
    if x < 0.25:
        return -x * HALF
    return max(x, 1) + min(x, 2.0) - abs(x - 0.3)


def with_loop(x):
    total = 0.0
    for n in range(1, 4):
        total += x**n / n
    return total


def make(alpha, beta=2):
    def captured(x, gamma=0.25):
        return alpha * x**beta + gamma * softplus(-x)

    return captured


def with_where(x):
    return np.where((x > 0) & (x < 1), np.sin(x), np.clip(x, -0.5, 0.8)) + np.square(x) * np.sign(x)


# fmt: off
USERS = [
    softplus, piecewise, with_loop, with_where, tanh, make(0.5), make(2, 3),
    lambda x: x * math.tanh(math.log1p(math.exp(x))),
    lambda x: x / (1 + plain_exp(-x)),
    lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    lambda x: 1 / x,
    lambda x: 2**x + (x * x + 1) ** x + x**-2 + abs(x) ** 0.5,
    lambda x: -(+x) - 3 + (5 - x) * (x - 1) / (2 - x) + 7 / x,
    lambda x: x // 1 + x % 0.7,
    lambda x: np.maximum(x, 0.1 * x) - np.minimum(x, np.float64(0.2)),
    lambda x: math.cos(3 * x) * np.expm1(x) + np.logaddexp(x, 1.0),
    lambda x: x if x > 0 else 0.0,
    lambda x: 1.5,
    lambda x: (x > 0) * x,
    lambda x: math.pow(abs(x), 1.3) + math.copysign(1.0, x) * math.sqrt(abs(x)),
    lambda x: np.hypot(x, 2.0) + np.sinh(x) * np.cosh(x) + np.tan(x / 4) + np.log2(abs(x)) + np.log10(abs(x)),
    lambda x: np.floor(3 * x) + math.ceil(x) + np.reciprocal(x) + np.heaviside(x, 0.5),
    lambda x: x if math.isfinite(x) and not math.isnan(x) and not math.isinf(x) else 0.0,
]
# fmt: on
POINTS = np.array([-2.63, -1.13, -0.71, -0.31, -0.11, 0.13, 0.21, 0.43, 0.67, 0.93, 1.21, 1.61, 1.83, 2.3, 3.1])
KINKS = {"abs", "sign"}


def difference(function, x, h=1e-5):
    """Of fourth order, central."""
    f = on_numbers(function)
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


@pytest.mark.parametrize("function", USERS, ids=lambda f: f.__name__)
def test_slopes_are_those_of_differences(function):
    for x in map(float, POINTS):
        value, slope = value_and_slope(function, x)
        assert value == on_numbers(function)(x)
        assert math.isclose(slope, difference(function, x), rel_tol=1e-7, abs_tol=1e-7)


@pytest.mark.parametrize("function", USERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_compiled_slopes_are_those_of_python(function, dtype):
    x = POINTS.astype(dtype)
    compiled = activation(function, dtype)
    expected = [value_and_slope(function, float(number)) for number in x]
    for found, exact in zip((values(compiled, x), slopes(compiled, x)), np.transpose(expected)):
        np.testing.assert_allclose(found, exact, rtol=300 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


def arguments_of(name, x):
    """x, and what a function of more takes."""
    return {1: (x,), 2: (x, 0.77), 3: (x, 0.2, 0.9)}[
        (COMPOSED[name].__code__.co_argcount if name in COMPOSED else len(SLOPES[name]))]


@pytest.mark.parametrize("name", [name for name in (*SLOPES, *COMPOSED) if not name.startswith("is")])
def test_every_rule(name):
    """With respect to each argument; where the argument is within the function's domain."""
    function = FUNCTIONS[name]
    for x in (0.31, 0.83, 1.37, 2.9):
        arguments = arguments_of(name, x)
        for place in range(len(arguments)):
            along = [*arguments]

            def f(number, along=along, place=place):
                along[place] = number
                return function(*along)

            value, slope = value_and_slope(function, *arguments, argument=place)
            assert value == on_numbers(function)(*arguments)
            is_step = name in ("floor", "ceil", "sign", "heaviside") and place == 0
            expected = 0.0 if is_step else difference(f, arguments[place])
            assert math.isclose(slope, expected, rel_tol=1e-7, abs_tol=1e-7)


@pytest.mark.parametrize("name", [*SLOPES, *COMPOSED])
def test_every_function_is_that_of_numpy(name):
    original = {"neg": np.negative, "truediv": np.divide, "sub": np.subtract, "mul": np.multiply,
                "floordiv": np.floor_divide, "max": np.maximum, "min": np.minimum, "erf": math.erf,
                "sigmoid": lambda x: 1 / (1 + np.exp(-x))}.get(name) or getattr(np, name)
    for x in (-1.7, -0.4, 0.0, 0.31, 2.9, math.inf, -math.inf, math.nan):
        arguments = arguments_of(name, x)
        with np.errstate(all="ignore"):
            expected = original(*map(np.float64, arguments))
        if name in ("floordiv", "mod", "sinh", "cosh", "hypot", "logaddexp", "max", "min") and not math.isfinite(x):
            continue  # from the formula, not from C
        np.testing.assert_allclose(on_numbers(FUNCTIONS[name])(*arguments), expected, rtol=1e-12)


def test_aliases_are_names_of_numpy_or_scipy():
    for alias, name in ALIASES.items():
        assert FUNCTIONS[alias] is FUNCTIONS[name]
        assert hasattr(np, alias) or hasattr(math, alias) or alias == "expit"


def test_what_messages_call_known_can_be_used():
    names = KNOWN.partition(": ")[2].split(", ")
    assert {"exp", "absolute", "erf", "where"} <= set(names)
    for name in names:
        function = getattr(math, name, None) or getattr(np, name)
        assert not [*objections(eval("lambda *numbers: function(*numbers)", {"function": function}))], name


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan, 0.0, 1e300, -1e300])
def test_nothing_raises(x):
    """By Python's own rules most of these would."""
    for function in (lambda x: 1 / x, lambda x: math.exp(x), lambda x: math.log(x), lambda x: math.sqrt(x),
                     lambda x: x**2.5, lambda x: math.sin(x), lambda x: math.sqrt(2) / (x - x)):
        value_and_slope(function, x)
        assert isinstance(on_numbers(function)(x), float)


def test_a_dual_is_compared_by_its_value():
    a = Dual(np.float64(1), np.float64(5))
    assert a < 2 and 2 > a and a == 1 and a != 2 and a >= 1 and bool(a) and not a > Dual(np.float64(1), np.float64(0))


def test_kinks_have_the_slope_of_the_branch_taken():
    assert value_and_slope(lambda x: x if x > 0 else 0.0, 0.0) == (0, 0)
    assert value_and_slope(lambda x: abs(x), 0.0) == (0, 0)
    assert value_and_slope(lambda x: max(x, 0), 0.0) == (0, 1)  # Python's max takes the first of equals


def test_an_update_returns_a_tuple():
    assert on_numbers(lambda g, w, v: (w - g, v * 2))(1, 2, 3) == (1.0, 6.0)


# -- keys -------------------------------------------------------------------------------------------------


def test_keys_tell_functions_apart_by_what_they_do():
    one, same = (eval("lambda x: x * c + f(x)", {"c": 1.5, "f": eval("lambda x: x + 1")}) for _ in range(2))
    assert key_of(one) == key_of(same)
    for c, text in ((1.25, "lambda x: x + 1"), (1.5, "lambda x: x + 2"), (np.float32(1.5), "lambda x: x + 1")):
        assert key_of(eval("lambda x: x * c + f(x)", {"c": c, "f": eval(text)})) != key_of(one)
    assert key_of(make(0.5)) != key_of(make(0.25)) and key_of(make(0.5)) == key_of(make(0.5))
    assert key_of(lambda x, a=1: x) != key_of(lambda x, a=2: x)
    assert key_of(lambda x: math.sin(x)) != key_of(lambda x: np.sin(x)) != key_of(lambda x: math.cos(x))
    assert key_of(lambda x: x * -0.0) != key_of(lambda x: x * 0.0)


def test_a_helper_of_a_module_belongs_to_the_key():
    module = ModuleType("helpers")
    function = eval("lambda x: helpers.f(x) + helpers.c", {"helpers": module})
    module.c, module.f = 1, eval("lambda x: x")
    before = key_of(function)
    module.f = eval("lambda x: 2 * x")
    assert key_of(function) != before
    assert value_and_slope(function, 3.0) == (7.0, 2.0)


def test_what_cannot_be_compared_has_no_key():
    array = np.ones(3)
    with pytest.raises(NoKey, match="neither a number"):
        key_of(lambda x: x * array[0])
    with pytest.raises(NoKey):
        key_of(lambda x: x * len(sys.modules))


def test_functions_that_call_each_other():
    """In Python; each is copied once."""
    scope = {}
    exec("def even(x, n):\n    return x if n == 0 else odd(2 * x, n - 1)\n"
         "def odd(x, n):\n    return even(x + 1, n - 1)", scope)
    assert value_and_slope(scope["even"], 1.0, 4) == (7.0, 4.0)
    assert key_of(scope["even"]) != key_of(scope["odd"])


@pytest.mark.parametrize("function, expected", [
    (lambda x: x if x > 0 else 0.0, True),
    (lambda x: 0 if x <= 0 else x, True),
    (lambda x: max(0, x), True),
    (lambda x: np.maximum(x, 0.0), True),
    (lambda x: np.where(x < 0, -1.0, x), True),  # y > 0 where x > 0
    (lambda x: x if x > 0 else 0.5, False),
    (lambda x: x if x > 0 else 0.01 * x, False),
    (lambda x: x if x > 1e-3 else 0.0, False),
    (lambda x: x if x > -1e-3 else 0.0, False),
    (lambda x: x if x >= 0 else math.nan, False),
    (lambda x: -x if x < 0 else 0.0, False),
    (lambda x: x if x != 0 else 0.0, False),
    (lambda x: min(max(x, 0.0), 6.0), False),
    (lambda x: x, False),
    (lambda x: 0.0, False),
    (lambda x: x * (x > 0), False),  # it is one, which takes more to prove
])
def test_gates(function, expected):
    """What is called a gate has relu's slopes."""
    assert is_gate(function) is expected
    if expected:
        for x in (-7.0, -1e-30, 1e-30, 0.3, 7.0):
            value, slope = value_and_slope(function, x)
            assert slope == (value > 0)
