"""Softmax and cross-entropy over rows, alone and in one pass.   Source: Bridle 1990; Bishop 2006, eq. 4.108.

x, z    (batch, n) f4|f8    logits                           IN
y       (batch, n) like x   probabilities, softmax(x)        IN
dy      (batch, n) like x   dE/dy                            IN
t       (batch,) intp       labels 0 <= t < n                IN
q       (batch, n) like x   what is aimed at: (1 - smoothing) onehot(t) + smoothing / n; Szegedy et al. 2016, section 7

The row maximum is subtracted first, so nothing overflows; NaN in, NaN out.  The twin is softmax.h.
"""

from numpy import arange, exp, full, log, where

from .special import LEAST, log_least


def softmax(x):
    """-> y (batch, n) = exp(x_i) / sum_j exp(x_j)."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_adjoint(dy, x, y):
    """-> dx (batch, n) = y * (dy - sum_j dy_j y_j)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def cross_entropy(y, t, smoothing):
    """-> (batch,) = -sum_j q_j log y_j, in nats; y < LEAST: see losses.py."""
    return -(_smoothed(y, t, smoothing) * log_least(y)).sum(axis=-1)


def cross_entropy_gradient(y, t, smoothing):
    """-> dy (batch, n) = -q / y."""
    return -_smoothed(y, t, smoothing) / where(y < LEAST, LEAST, y)


def softmax_cross_entropy(z, t, smoothing):
    """-> (batch,) = -sum_j q_j log softmax(z)_j = log sum_j exp(z_j) - sum_j q_j z_j, in nats."""
    z = z - z.max(axis=-1, keepdims=True)
    target = z[arange(len(z)), t]
    if smoothing:
        target = (1 - smoothing) * target + smoothing * z.mean(axis=-1)
    return log(exp(z).sum(axis=-1)) - target


def softmax_cross_entropy_gradient(z, t, smoothing):
    """-> dz (batch, n) = softmax(z) - q."""
    return softmax(z) - _smoothed(z, t, smoothing)


def _smoothed(y, t, smoothing):
    """-> q (batch, n) = (1 - smoothing) onehot(t) + smoothing / n, in the dtype of y."""
    q = full(y.shape, smoothing / y.shape[-1], y.real.dtype)
    q[arange(len(y)), t] += 1 - smoothing
    return q
