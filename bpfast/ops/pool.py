"""Pooling over windows of an image, and the adjoints.   The twin is pool.h.

Source: Zhou & Chellappa 1988 (largest); LeCun et al. 1998 (mean).

x        (batch, height, width, channels)  f4|f8   images                             IN
dy       (batch, h_out, w_out, channels)   like x  dE/dy                              IN
winner   like dy                           int32   the number of the tap that y is    IN
shape    (batch, height, width, channels)  int     that of x                          IN

Size, stride, padding and taps: see conv.py.  Every window must see a pixel of the image.
"""

from itertools import repeat

from numpy import inf, int32, isnan, ones, stack, take_along_axis, where

from .conv import taps, taps_adjoint


def max_pool_forward(x, size, stride, padding):
    """-> y, the largest entry in each window, and winner, the number of its tap.

    Of equal entries the first wins, padding never; NaN wins; complex numbers are compared by their real parts.
    """
    entries = stack([*taps(x, size, stride, padding)])
    seen = stack([*_seen(x.shape, bool, size, stride, padding)])
    largest = where(seen, entries.real, -inf).max(axis=0)
    winner = (seen & ((entries.real == largest) | isnan(entries.real))).argmax(axis=0)
    return take_along_axis(entries, winner[None], axis=0)[0], winner.astype(int32)


def max_pool_backward(dy, winner, shape, size, stride, padding):
    """-> dx, like x: dy at the entries that won, 0 elsewhere; what wins in several windows has the sum."""
    dtaps = (where(winner == k, dy, 0) for k in range(size[0] * size[1]))
    return taps_adjoint(dtaps, shape, dy.dtype, size, stride, padding)


def avg_pool_forward(x, size, stride, padding):
    """-> y, the mean of the entries in each window that are not padding."""
    return sum(taps(x, size, stride, padding)) / sum(_seen(x.shape, x.real.dtype, size, stride, padding))


def avg_pool_backward(dy, shape, size, stride, padding):
    """-> dx, like x: to every entry of a window the same share of dy; padding has none."""
    share = dy / sum(_seen(shape, dy.real.dtype, size, stride, padding))
    return taps_adjoint(repeat(share), shape, dy.dtype, size, stride, padding)


def _seen(shape, dtype, size, stride, padding):
    """-> for every tap (1, h_out, w_out, 1): 1 where it sees a pixel of the image, 0 where it sees padding."""
    return taps(ones((1, *shape[1:3], 1), dtype), size, stride, padding)
