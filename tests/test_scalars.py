"""Elementary functions in compiled code: ulps against functions of twice the digits, all binades, special values."""

import math

import numpy as np
import pytest
from compiled import values

from bpfast.backends.numba.functions import activation
from bpfast.ops.dual import FUNCTIONS

inf, nan = math.inf, math.nan
sigmoid = FUNCTIONS["sigmoid"]


@np.vectorize
def _erf(x):
    return math.erf(x)


# name: function, reference, the largest argument where it is promised, ulps in float32 and float64
CASES = {
    "exp": (lambda x: math.exp(x), np.exp, inf, 0.9, 0.9),
    "expm1": (lambda x: math.expm1(x), np.expm1, inf, 1.9, 2.5),
    "log": (lambda x: math.log(x), np.log, inf, 1, 1.3),
    "log1p": (lambda x: math.log1p(x), np.log1p, inf, 1.4, 1.5),
    "tanh": (lambda x: math.tanh(x), np.tanh, inf, 2.6, 2.8),
    "sigmoid": (lambda x: sigmoid(x), lambda x: 1 / (1 + np.exp(-x)), inf, 2.5, 2.5),
    "sqrt": (lambda x: math.sqrt(x), np.sqrt, inf, 0.51, 0.51),
    "sin": (lambda x: math.sin(x), np.sin, 1e5, 1.6, 1.6),
    "cos": (lambda x: math.cos(x), np.cos, 1e5, 1.6, 1.6),
    "erf": (lambda x: math.erf(x), lambda x: _erf(x.astype("f8")), inf, 2.3, 2.1),
}
SPECIAL = {  # at -inf, -0, 0, inf
    "exp": (0, 1, 1, inf), "expm1": (-1, -0.0, 0, inf), "log": (nan, -inf, -inf, inf), "log1p": (nan, 0, 0, inf),
    "tanh": (-1, -0.0, 0, 1), "sigmoid": (0, 0.5, 0.5, 1), "sqrt": (nan, -0.0, 0, inf),
    "sin": (nan, 0, 0, nan), "cos": (nan, 1, 1, nan), "erf": (-1, -0.0, 0, 1),
}


def samples(dtype, limit, rng):
    """Numbers of both signs from every binade, and more from where functions bend."""
    information = np.finfo(dtype)
    exponents = np.arange(information.minexp, information.maxexp)
    many = np.ldexp(rng.uniform(1, 2, (40, exponents.size)), exponents).ravel()
    x = np.concatenate([many, rng.uniform(0, 2, 50000), rng.uniform(0, 100, 50000), rng.uniform(0, 750, 20000)])
    if limit < inf:
        multiples = np.arange(1, int(limit * 2 / np.pi)) * (np.pi / 2)  # zeros of sin and cos
        x = np.concatenate([x, rng.uniform(0, limit, 50000), multiples])
    x = np.concatenate([x, -x]).astype(dtype)
    return x[np.abs(x) <= limit] if limit < inf else x


def ulps(y, exact, dtype):
    """Errors in units of the last place of the exact results; those that overflow or are denormal left out."""
    information = np.finfo(dtype)
    size = np.abs(exact)
    kept = np.isfinite(exact) & (size < information.max) & (size > 4 * information.tiny)
    _, exponents = np.frexp(size[kept])
    last_place = np.ldexp(exact.dtype.type(1), exponents - information.nmant - 1)
    return np.abs(y[kept].astype(exact.dtype) - exact[kept]) / last_place


def reference(function, x):
    wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(all="ignore"):
        return function(wide)


needs_digits = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["f4", pytest.param("f8", marks=needs_digits)])
def test_error(name, dtype, rng):
    function, exact, limit, *most = CASES[name]
    x = samples(np.dtype(dtype), limit, rng)
    expected = reference(exact, x)
    y = values(activation(function, dtype), x)
    assert y.dtype == x.dtype
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert ulps(y, expected, np.dtype(dtype)).max() <= most[dtype == "f8"]
    overflows = np.abs(expected) > 1.001 * float(np.finfo(dtype).max)
    assert np.all(np.isinf(y[overflows]))
    small = np.abs(expected) < np.finfo(dtype).tiny
    assert np.all(np.abs(y[small]) <= np.finfo(dtype).tiny)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_values(name, dtype):
    x = np.array([-inf, -0.0, 0.0, inf, nan], dtype)
    expected = np.array([*SPECIAL[name], nan], dtype)
    y = values(activation(CASES[name][0], dtype), x)
    assert np.array_equal(y, expected, equal_nan=True)
    assert np.array_equal(np.signbit(y[1:3]), np.signbit(expected[1:3])) or name in ("sin", "log1p")  # +0 at -0


@pytest.mark.parametrize("exponent", [2.5, -0.3, 1 / 3, 6, 7, -3, 11, 0.5, -0.5, 40.25])
@pytest.mark.parametrize("dtype", ["f4", pytest.param("f8", marks=needs_digits)])
def test_error_of_powers(dtype, exponent, rng):
    x = samples(np.dtype(dtype), inf, rng)
    x = np.abs(x) if exponent % 1 else x
    y = values(activation(eval(f"lambda a: a ** {exponent!r}"), dtype), x)
    rounded = np.dtype(dtype).type(exponent)
    expected = reference(lambda x: x ** x.dtype.type(rounded), x)
    assert ulps(y, expected, np.dtype(dtype)).max() <= (4 if exponent in (6, -3) else 1.4)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_values_of_powers(dtype):
    """Those of C, of variable exponents."""
    from compiled import update as run

    from bpfast.backends.numba.functions import update

    pairs = [(a, b) for a in (-inf, -2, -1, -0.5, -0.0, 0.0, 0.5, 1, 2, inf, nan)
             for b in (-inf, -3, -2, -0.5, -0.0, 0.0, 0.5, 2, 3, inf, nan)]
    a, b = (np.resize(np.array(column, dtype), 128) for column in zip(*pairs))
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    run(update(lambda g, w: g**w, dtype, 0, 0), b, (), a)
    np.testing.assert_allclose(b, expected, rtol=4 * np.finfo(dtype).eps)
    assert np.array_equal(np.signbit(b[expected == 0]), np.signbit(expected[expected == 0]))
