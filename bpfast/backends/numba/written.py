"""Kernels that call the C functions of what users wrote (functions.py), with the arguments of native/plan.h.

``settings`` begin with the bits of the C function's address, which the op's hyperparameters follow.  Matrices have no
padding, but places do: activations and updates take theirs as one row, of whose last vector the padding is a part.
"""

import numpy as np

from .run import call
from .texts import compiled_once, inline


@compiled_once
def _compiled(op, own_slope, dtype):
    return op.compiled(dtype)


def c_functions(op, dtype):
    """-> those of an op, for as long as the process lives; it may be given another derivative, which is of the key."""
    return _compiled(op, op.own_slope, dtype)


def settings_for(address, hyper=()):
    """The settings by which the kernels below call the C function at an address."""
    return (np.array(address, np.int64).view(np.float64).item(), *hyper)


@inline
def address(settings):
    """-> the C function's."""
    return settings[:1].view(np.int64)[0]


def forward(x, y, settings):
    """y = f(x), which may take the place of x."""
    call(address(settings), (y.ctypes.data, x.ctypes.data, 1, x.size, x.size, settings[1:].ctypes.data))


def forward_slope(x, y, slope, settings):
    """y = f(x), slope = f'(x), which may take the place of x."""
    call(address(settings), (y.ctypes.data, slope.ctypes.data, x.ctypes.data, 1, x.size, x.size,
                             settings[1:].ctypes.data))


def loss(y, t, delta, settings, shares):
    """Row by row, as each overwrites what the last wrote beyond its end: up to 15 numbers, of the next row."""
    for r in range(len(y)):
        share, n = shares[r], y.shape[1]
        here = shares[r:].ctypes.data
        call(address(settings), (here, delta[r].ctypes.data, y[r].ctypes.data, t[r].ctypes.data, here, 1, n, n,
                                 settings[1:].ctypes.data))
        shares[r] *= share


def update(g, w, slot0, slot1, slot2, coefficients, settings, scalars):
    """w, slots = rule(g, w, slots, scalars but the first)."""
    for k in range(1, scalars.size):
        coefficients[0, k - 1] = scalars[k]
    slots = np.array((slot0.ctypes.data, slot1.ctypes.data, slot2.ctypes.data))
    call(address(settings), (w.ctypes.data, slots.ctypes.data, g.ctypes.data, w.size, coefficients.ctypes.data))
