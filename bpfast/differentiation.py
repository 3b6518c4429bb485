"""Derivatives of a function along a line, by two methods that know no formula of a gradient.

d f(t) / dt at t = 0 is
    Im f(i h) / h, h = 1e-200                     the complex step, exact to rounding (Squire & Trapp 1998), or
    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h  where f is not analytic: central differences of fourth order
                                                  (Fornberg 1988, table 1), with the best of several h.
"""

import math
from typing import NamedTuple

import numpy as np

IMAGINARY_STEP = 1e-200  # its square is zero: a real part that tells the side of a kink stays as it is
STEPS = tuple(2.0**-k for k in (7, 10, 13, 16, 19, 22))  # of differences, in units of the size
NEARBY = 1e-9  # how far aside the slope is looked at too, in the same units: at a kink it jumps
EPS = float(np.finfo(np.float64).eps)


class Slope(NamedTuple):
    """A derivative, how much its method leaves open, and the method: "complex step" or "differences"."""

    value: float
    uncertainty: float
    method: str


def slope(f, size, analytic, terms=0.0):
    """-> the Slope of f at t = 0.

    t is added to numbers as large as ``size``, and complex where f is analytic; f has the roundings of numbers as large
    as f itself, and at least of ``terms``.
    """
    if analytic:
        found = complex_step(f, size)
        if math.isfinite(found.uncertainty):
            return found
    return differences(f, size, terms)


def complex_step(f, size):
    """-> Slope; uncertain by the jump, where t = 0 is a kink."""
    at = lambda t: f(complex(t, IMAGINARY_STEP)).imag / IMAGINARY_STEP
    here, aside = at(0.0), NEARBY * size
    return Slope(here, abs(at(aside) - 2 * here + at(-aside)), "complex step")


def differences(f, size, terms=0.0):
    """-> Slope by the step whose result is nearest to that of the step before."""
    here, best, last = f(0.0), Slope(math.nan, math.inf, "differences"), math.nan
    for h in (step * size for step in STEPS):
        back2, back, on, on2 = (f(k * h) for k in (-2, -1, 1, 2))
        value = (8 * (on - back) - (on2 - back2)) / (12 * h)
        jump = 2 * (on - 2 * here + back) / h - (on2 - 2 * here + back2) / (2 * h)  # of the slope at t = 0
        rounding = 8 * EPS * max(terms, *map(abs, (here, back2, back, on, on2))) / h
        uncertainty = max(abs(value - last), abs(jump)) + rounding
        if uncertainty < best.uncertainty:
            best = Slope(value, uncertainty, "differences")
        last = value
    return best


def is_analytic(f):
    """Whether the complex step of f at 0 is its derivative, as one-sided differences tell."""
    here = f(0.0)
    try:
        there = complex(f(complex(0, IMAGINARY_STEP)))
    except (TypeError, ValueError):
        return False  # a formula of real numbers alone
    found = there.imag / IMAGINARY_STEP
    return math.isclose(there.real, here, rel_tol=1e-9) and any(
        abs((f(h) - here) / h - found) <= 1e-3 * abs(found) + 8 * EPS * abs(here) / h
        for h in (1e-5, 1e-6, 1e-7, 1e-8)
    )


def size_of(x):
    """The largest |x|, or 1 where all are zero: the unit of steps from x."""
    return float(np.abs(x).max()) or 1.0
