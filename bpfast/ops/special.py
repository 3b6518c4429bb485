"""Special functions that NumPy lacks, and one of the losses."""

from math import erfc, sqrt

from numpy import log, vectorize, where

LEAST = 1e-12  # below it, losses continue a logarithm by its tangent

_normal_cdf = vectorize(lambda x: 0.5 * erfc(-x * sqrt(0.5)), otypes="d")


def normal_cdf(x):
    """Phi(x) = erfc(-x / sqrt 2) / 2, the normal distribution function, in the dtype of x."""
    return _normal_cdf(x).astype(x.dtype)


def log_least(x):
    """log x, and below LEAST its tangent there: finite at 0, with the derivative 1 / max(x, LEAST)."""
    return log(where(x < LEAST, LEAST, x)) + where(x < LEAST, x / LEAST - 1, 0)
