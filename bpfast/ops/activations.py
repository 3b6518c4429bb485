"""Activations, a row each: read across  name | hyper | y = f(x, h) | dx = g(dy, x, y, h).

x   (any shape) f4|f8    pre-activation, called net in the delta rule      IN
dy  like x               dE/dy                                              IN
->  like x               y, or dx = dE/dx = f'(x) * dy; NaN in, NaN out

The text of a row runs on arrays in the NumPy backend and on scalars inside a Numba loop.
Row for row the twin of activations.h.
"""

from math import inf, pi, sqrt

from numpy import exp, tanh, where

from .softmax import softmax, softmax_adjoint
from .special import normal_cdf
from .table import ACTIVATIONS, Activation, fill

INV_SQRT_2PI = 1 / sqrt(2 * pi)

# fmt: off
fill(ACTIVATIONS, (
    Activation("linear", {},
               lambda x: x,
               lambda dy, x, y: dy,
               "y", (), "x", "Widrow & Hoff 1960"),
    Activation("relu", {},
               lambda x: where(x < 0, 0, x),
               lambda dy, x, y: where(y > 0, dy, y * 0),
               "y", (0,), "max(x, 0)", "Nair & Hinton 2010", initializer="he", range=(0, inf)),
    Activation("leaky_relu", {"slope": 0.01},
               lambda x, slope: where(x < 0, slope * x, x),
               lambda dy, x, y, slope: where(x >= 0, dy, where(x < 0, slope * dy, x)),  # NaN stays NaN
               "x", (0,), "x if x >= 0 else slope * x", "Maas, Hannun & Ng 2013", initializer="he"),
    Activation("sigmoid", {},
               lambda x: 1 / (1 + exp(-x)),
               lambda dy, x, y: dy * (y * (1 - y)),
               "y", (), "1 / (1 + exp(-x))", "Rumelhart, Hinton & Williams 1986", range=(0, 1)),
    Activation("tanh", {},
               lambda x: tanh(x),
               lambda dy, x, y: dy * (1 - y * y),
               "y", (), "tanh(x)", "LeCun 1989", range=(-1, 1)),
    Activation("gelu", {},
               lambda x: x * normal_cdf(x),
               lambda dy, x, y: dy * (normal_cdf(x) + x * (INV_SQRT_2PI * exp(-0.5 * x * x))),
               "x", (), "x * Phi(x), Phi the normal distribution function", "Hendrycks & Gimpel 2016", initializer="he",
               range=(-0.17, inf)),
    Activation("softmax", {}, softmax, softmax_adjoint,
               "y", (), "exp(x_i) / sum_j exp(x_j) over a row", "Bridle 1990", rowwise=True, range=(0, 1)),
))
