"""Softmax and cross-entropy over rows, alone and in one pass.   Source: Bridle 1990; Bishop 2006, eq. 4.108.

x, z    (batch, n) f4|f8    logits                           IN
dy      (batch, n) like x   dE/dy                            IN
t       (batch,) intp       labels 0 <= t < n                IN

The row maximum is subtracted first, so nothing overflows; NaN in, NaN out.  The twin is softmax.h.
"""

from numpy import arange, exp, log


def softmax(x):
    """-> y (batch, n) = exp(x_i) / sum_j exp(x_j)."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_adjoint(dy, x, y):
    """-> dx (batch, n) = y * (dy - sum_j dy_j y_j)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def cross_entropy(z, t):
    """-> (batch,) = -log softmax(z)_t = log sum_j exp(z_j) - z_t, in nats."""
    z = z - z.max(axis=-1, keepdims=True)
    return log(exp(z).sum(axis=-1)) - z[arange(len(z)), t]


def cross_entropy_gradient(z, t):
    """-> dz (batch, n) = softmax(z) - onehot(t)."""
    dz = softmax(z)
    dz[arange(len(z)), t] -= 1
    return dz
