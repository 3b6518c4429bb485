"""Special functions that NumPy lacks."""

from math import erfc, sqrt

from numpy import vectorize

_normal_cdf = vectorize(lambda x: 0.5 * erfc(-x * sqrt(0.5)), otypes="d")


def normal_cdf(x):
    """Phi(x) = erfc(-x / sqrt 2) / 2, the normal distribution function, in the dtype of x."""
    return _normal_cdf(x).astype(x.dtype)
