"""Figures that tell how a layer does: norms, moments, shares of units that are flat; the C twin is figures.h."""

import numpy as np

from .table import ACTIVATIONS

LINEAR, RELU6 = ACTIVATIONS["linear"], ACTIVATIONS["relu6"]
FLAT = 0.05  # of the largest slope: below it a number of a sigmoid or its kin is saturated
DEAD = 1e-3  # of the largest slope: a rectifier that stays below it for every row is dead
POSITIVE = 2e-38  # numbers from here on are no denormals
SLOPES = np.linspace(-10, 10, 2001)  # where the largest slope of an activation is looked for
SUMS = (  # of a layer in a step, means over rows and units where they are not of parameters
    "gradient_squares", "products", "last_squares",  # of this gradient g, g last, of the last one
    "weight_squares", "update_squares",
    "pre_activation", "pre_activation_squares", "activation", "activation_squares",
    "flat", "dead",
)


def is_sigmoidal(f):
    """Whether an activation is flat at both ends and steep at 0, as sigmoid, tanh and their kin are."""
    return bool(np.isfinite(f.range).all()) and not f.rowwise and f.name != RELU6.name


def least_slope(f):
    """-> the |f'| below which a number is saturated (``is_sigmoidal``) or a unit dead; 0 where f has no such place."""
    if f.rowwise or f == LINEAR or not f.differentiable:
        return 0.0
    with np.errstate(all="ignore"):
        y = f.forward(SLOPES, *f.values)
        slopes = np.abs(f.adjoint(np.ones_like(SLOPES), SLOPES, y, *f.values))
    if slopes[-1] > 2 * slopes[len(slopes) * 3 // 4]:  # it grows without end, as that of exp does
        return 0.0
    return float(slopes.max() * (FLAT if is_sigmoidal(f) else DEAD))


def powers(x):
    """-> means of x and of x^2, in float64."""
    x = x.astype(np.float64)
    return x.mean(), np.square(x).mean()


def squares(a, b=None):
    """-> sum a b, or sum a^2, in float64."""
    a = a.astype(np.float64).ravel()
    return a @ (a if b is None else b.astype(np.float64).ravel())


def flat(slope, least):
    """-> the share of slopes below the least."""
    return np.mean(np.abs(slope) < least)


def active(slope, least):
    """-> (units,), whether a slope of any row or pixel is not below the least."""
    return (np.abs(slope).reshape(-1, slope.shape[-1]) >= least).any(axis=0)


def figures(sums):
    """-> {name: figure}, arrays of the shape that each of the sums has: {name of SUMS: array}."""
    s = {name: np.asarray(array) for name, array in sums.items()}
    with np.errstate(all="ignore"):
        cosine = s["products"] / np.sqrt(s["gradient_squares"] * s["last_squares"])
        found = {
            "gradient_norm": np.sqrt(s["gradient_squares"]),
            "weight_norm": np.sqrt(s["weight_squares"]),
            "update_norm": np.sqrt(s["update_squares"]),
            "gradient_angle": np.degrees(np.arccos(np.clip(cosine, -1, 1))),
        }
        for name in ("activation", "pre_activation"):
            mean = s[name]
            found[f"{name}_mean"] = mean
            found[f"{name}_std"] = np.sqrt(np.maximum(s[f"{name}_squares"] - np.square(mean), 0))
    return {**found, "saturated": s["flat"], "dead": s["dead"]}
