"""Normalisation of units by their statistics, and the adjoints.   The twin is norms.h.

x         (batch, ..., c)  f4|f8   rows, or images with channels last                    IN
dy        like x                   dE/dy                                                 IN
scale     (c,)             like x  or 1, where there is no scale                         IN
shift     (c,)             like x  or 0, where there is no shift                         IN
mean      (c,)             like x                                                        IN
variance  (c,)             like x  biased: the mean square of the deviations             IN
eps       float >= 0               keeps the root of the variance from zero              IN

A unit of batch normalisation is a channel, with statistics over all axes but the last; layer normalisation has
statistics over the last axis alone, for every row or pixel its own.
"""

from numpy import promote_types, ravel, sqrt


def batch_norm_forward(x, scale, shift, eps):
    """-> y = scale (x - mean) / sqrt(variance + eps) + shift, mean, variance.   Source: Ioffe & Szegedy 2015, alg. 1."""
    mean, variance = map(ravel, _statistics(x, _all_but_last(x)))
    return normalize(x, scale, shift, mean, variance, eps), mean, variance


def batch_norm_backward(dy, x, scale, mean, variance, eps):
    """-> dx, dscale, dshift (both (c,)), where mean and variance are those of x."""
    return _backward(dy, x, scale, mean, variance, eps, _all_but_last(x))


def normalize(x, scale, shift, mean, variance, eps):
    """-> y as above, with any statistics that broadcast against x."""
    return scale * ((x - mean) / sqrt(variance + eps)) + shift


def normalize_backward(dy, x, scale, mean, variance, eps):
    """-> dx, dscale, dshift (both (c,)), where mean and variance are constants."""
    rows = _all_but_last(x)
    dscale = (dy * normalize(x, 1, 0, mean, variance, eps)).sum(axis=rows)
    return dy * scale / sqrt(variance + eps), dscale, dy.sum(axis=rows)


def batch_norm_learn(mean, variance, new_mean, new_variance, n, momentum):
    """-> the running mean and variance after a batch of n values a channel; a single value has no variance."""
    mean = (1 - momentum) * mean + momentum * new_mean
    if n > 1:
        variance = (1 - momentum) * variance + momentum * (n / (n - 1) * new_variance)
    return mean, variance


def layer_norm_forward(x, scale, shift, eps):
    """-> y, as above with the statistics of each row or pixel.   Source: Ba, Kiros & Hinton 2016, eq. 3 and 4."""
    return normalize(x, scale, shift, *_statistics(x, -1), eps)


def layer_norm_backward(dy, x, scale, eps):
    """-> dx, dscale, dshift (both (c,))."""
    return _backward(dy, x, scale, *_statistics(x, -1), eps, -1)


def standardize_forward(x, mean, deviation):
    """-> y = (x - mean) / deviation, both (c,) constants."""
    return (x - mean) / deviation


def standardize_backward(dy, deviation):
    """-> dx = dy / deviation."""
    return dy / deviation


def _all_but_last(x):
    return tuple(range(x.ndim - 1))


def _statistics(x, axis):
    """-> mean, variance over the axis, which is kept with length 1; added up in double precision."""
    mean = _mean(x, axis)
    return mean, _mean((x - mean) * (x - mean), axis)


def _mean(x, axis):
    return x.mean(axis=axis, keepdims=True, dtype=promote_types(x.dtype, "f8")).astype(x.dtype)


def _backward(dy, x, scale, mean, variance, eps, axis):
    """-> dx, dscale, dshift, where mean and variance are those of x over the axis: they move with x."""
    dx, dscale, dshift = normalize_backward(dy, x, scale, mean, variance, eps)
    n = normalize(x, 1, 0, mean, variance, eps)
    return dx - _mean(dx, axis) - n * _mean(dx * n, axis), dscale, dshift
