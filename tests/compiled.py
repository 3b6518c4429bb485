"""Calls of compiled C functions on arrays, through ctypes; and what they should give."""

import ctypes

import numpy as np

from bpfast.ops.dual import on_numbers, slope_of

POINTER, SIZE = ctypes.c_void_p, ctypes.c_ssize_t
FORWARD = ctypes.CFUNCTYPE(None, POINTER, POINTER, SIZE, SIZE, SIZE, POINTER)
FORWARD_SLOPE = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, SIZE, SIZE, SIZE, POINTER)
LOSS = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, POINTER, POINTER, SIZE, SIZE, SIZE, POINTER)
UPDATE = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, SIZE, POINTER)


def _at(array):
    return None if array is None else array.ctypes.data


def _doubles(numbers):
    return np.array([*numbers, 0.0])


def forward(compiled, y, x, n, hyper=()):
    """Rows of n numbers, as far apart as those of the arrays."""
    hyper = _doubles(hyper)
    FORWARD(compiled.forward)(_at(y), _at(x), len(x), n, x.shape[1], _at(hyper))


def forward_slope(compiled, y, slope, x, n, hyper=()):
    hyper = _doubles(hyper)
    FORWARD_SLOPE(compiled.forward_slope)(_at(y), _at(slope), _at(x), len(x), n, x.shape[1], _at(hyper))


def loss(compiled, dy, y, t, mean, n, hyper=()):
    """-> values."""
    values, hyper = np.full(len(y), np.nan), _doubles(hyper)
    LOSS(compiled.run)(_at(values), _at(dy), _at(y), _at(t), _at(mean), len(y), n, y.shape[1], _at(hyper))
    return values


def update(compiled, w, slots, g, coefficients=()):
    coefficients = np.array([*coefficients, 0.0], w.dtype)
    places = (POINTER * max(len(slots), 1))(*map(_at, slots))
    UPDATE(compiled.run)(_at(w), ctypes.cast(places, POINTER), _at(g), w.size, _at(coefficients))


def values(compiled, x):
    """f(x) of an array of any length."""
    rows = np.zeros((1, -(-x.size // 16) * 16), x.dtype)
    rows[0, : x.size] = x
    y = np.empty_like(rows)
    forward(compiled, y, rows, rows.shape[1])
    return y[0, : x.size]


def slopes(compiled, x):
    """f'(x) of an array of any length."""
    rows = np.zeros((1, -(-x.size // 16) * 16), x.dtype)
    rows[0, : x.size] = x
    y, slope = np.empty_like(rows), np.empty_like(rows)
    forward_slope(compiled, y, slope, rows, rows.shape[1])
    return slope[0, : x.size]


def value_and_slope(function, *arguments, argument=0):
    """-> f(*arguments), df/dx with respect to the argument of this number, by dual numbers in Python."""
    def turned(x, *others):
        return function(*others[:argument], x, *others[argument:])

    others = [*arguments]
    x = others.pop(argument)
    return on_numbers(function)(*arguments), slope_of(turned if argument else function)(x, *others)
