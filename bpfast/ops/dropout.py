"""Dropout: which units are kept, and what the layer makes of those and of the others.   The twin is dropout.h.

The draw.  Row i of a batch has n units, numbered j = 0 .. n-1 in C order; a step is one batch of the training.
    blocks     each row has ceil(n / 4) blocks of four words: unit j of row i is word j % 4 of block i ceil(n / 4) + j // 4
    cipher     of a block: Philox4x32-10 (random.py) of the counter
               (block, DROPOUT | number << 8, step & 0xffffffff, step >> 32), 32 bits each, under the key
               (seed & 0xffffffff, seed >> 32); the layer is number 0 .. 2**24-1 of those that drop, step and seed < 2**64
    kept       where word >= round(rate * 2**32), a tie to even: an integer of 33 bits, since a rate just below 1 gives 2**32
So a row's mask is the same whichever rows are drawn with it, in every backend and for any number of threads.

The layer.  y = a x + b of a unit that is kept, and y = c, a constant, of one that is dropped; a, b, c depend on the rate
alone, 0 <= rate < 1, and on the kind of dropout.  They are computed in double precision and rounded to the dtype of x.

x, dy           (batch, ...)  f4|f8   dy = dE/dy                                IN
mask            like x        bool    True where a unit is kept                 IN
factor, addend  like x        like x  y = factor x + addend                     IN
"""

from math import prod, sqrt

from numpy import where

from .activations import SELU_ALPHA, SELU_SCALE
from .random import DROPOUT, words


def dropout_mask(seed, number, step, shape, rate):
    """-> mask, bool of this shape (batch, ...)."""
    rows, units = shape[0], prod(shape[1:])
    blocks = -(-units // 4)  # of a row
    drawn = words(rows * blocks * 4, seed, DROPOUT | number << 8, step).reshape(rows, blocks * 4)
    return (drawn[:, :units] >= round(rate * 2**32)).reshape(shape)


def dropout_constants(rate):
    """-> a, b, c of y = x / (1 - rate), or 0: the mean stays.   Source: Srivastava et al. 2014, section 10."""
    return 1 / (1 - rate), 0.0, 0.0


def alpha_dropout_constants(rate):
    """-> a, b, c of y = a x + b, or a d + b, with d the least output of selu: mean 0 and variance 1 stay.

    a = (q + d^2 q (1 - q))^(-1/2), b = -a (1 - q) d, q = 1 - rate.   Source: Klambauer et al. 2017, section 2.
    """
    q, d = 1 - rate, -SELU_SCALE * SELU_ALPHA
    a = 1 / sqrt(q + d * d * q * (1 - q))
    b = -a * (1 - q) * d
    return a, b, a * d + b


def dropout_factors(mask, constants, dtype):
    """-> factor, addend: a and b where a unit is kept, 0 and c where it is dropped; constants = (a, b, c)."""
    a, b, c = constants
    return where(mask, a, 0).astype(dtype), where(mask, b, c).astype(dtype)


def dropout_forward(x, factor, addend):
    """-> y = factor x + addend."""
    return x * factor + addend


def dropout_backward(dy, factor):
    """-> dx = factor dy."""
    return dy * factor
