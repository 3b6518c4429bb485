"""Activations, a row each: read across  name | hyper | y = f(x, h) | dx = g(dy, x, y, h).

x   (any shape) f4|f8    pre-activation, called net in the delta rule      IN
dy  like x               dE/dy                                              IN
->  like x               y, or dx = dE/dx = f'(x) * dy; NaN in, NaN out

The text of a row runs on arrays in the NumPy backend and on scalars inside a Numba loop.
Row for row the twin of activations.h.
"""

from math import inf, pi, sqrt

from numpy import cosh, exp, expm1, log1p, tanh, where

from .softmax import softmax, softmax_adjoint
from .special import normal_cdf
from .table import ACTIVATIONS, Activation, fill

INV_SQRT_2PI = 1 / sqrt(2 * pi)
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # mean 0 and variance 1 are a fixed point
GELU_A, GELU_B = 2 * sqrt(2 / pi), 2 * sqrt(2 / pi) * 0.044715  # 0.5 (1 + tanh u) = sigmoid(2u)


def gelu_tanh_adjoint(dy, x, y):
    """-> dx = dy * (s(u) + x u'(x) s(u) s(-u)), s = sigmoid, y = x * s(u)."""
    x = where(x < -20, -20, where(x > 20, 20, x))  # where s is 0 or 1, and u is no infinity
    u, du = x * (GELU_A + GELU_B * x * x), GELU_A + 3 * GELU_B * x * x
    return dy * ((1 + x * du / (1 + exp(u))) / (1 + exp(-u)))


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
    Activation("hard_sigmoid", {},
               lambda x: where(x < -3, 0, where(x > 3, 1, (x + 3) / 6)),
               lambda dy, x, y: where((y > 0) & (y < 1), dy / 6, y * 0),
               "y", (-3, 3), "min(max((x + 3) / 6, 0), 1)", "Howard et al. 2019, section 5.2", range=(0, 1)),
    Activation("hard_tanh", {},
               lambda x: where(x < -1, -1, where(x > 1, 1, x)),
               lambda dy, x, y: where((y > -1) & (y < 1), dy, y * 0),
               "y", (-1, 1), "min(max(x, -1), 1)", "Collobert 2004", range=(-1, 1)),
    Activation("softsign", {},
               lambda x: x / (1 + where(x < 0, -x, x)),
               lambda dy, x, y: dy / ((1 + where(x < 0, -x, x)) * (1 + where(x < 0, -x, x))),
               "x", (0,), "x / (1 + |x|)", "Bergstra, Desjardins, Lamblin & Bengio 2009", range=(-1, 1)),
    Activation("gelu", {},
               lambda x: x * normal_cdf(x),
               lambda dy, x, y: dy * (normal_cdf(x) + x * (INV_SQRT_2PI * exp(-0.5 * x * x))),
               "x", (), "x * Phi(x), Phi the normal distribution function", "Hendrycks & Gimpel 2016", initializer="he",
               range=(-0.17, inf)),
    Activation("gelu_tanh", {},
               lambda x: x / (1 + exp(-x * (GELU_A + GELU_B * x * x))),
               gelu_tanh_adjoint,
               "x", (), "0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))", "Hendrycks & Gimpel 2016", initializer="he",
               range=(-0.171, inf)),
    Activation("silu", {},
               lambda x: x / (1 + exp(-x)),
               lambda dy, x, y: dy * ((1 + x / (1 + exp(x))) / (1 + exp(-x))),
               "x", (), "x * sigmoid(x)", "Elfwing, Uchibe & Doya 2018", initializer="he", range=(-0.279, inf)),
    Activation("mish", {},
               lambda x: x * tanh(log1p(exp(x))),
               lambda dy, x, y: dy * (tanh(log1p(exp(x))) + where(x > 20, 0, x / cosh(log1p(exp(x))) ** 2 / (1 + exp(-x)))),
               "x", (), "x * tanh(log(1 + exp(x)))", "Misra 2020", initializer="he", range=(-0.309, inf)),
    Activation("softplus", {},
               lambda x: where(x < 0, 0, x) + log1p(exp(where(x < 0, x, -x))),
               lambda dy, x, y: dy / (1 + exp(-x)),
               "x", (), "log(1 + exp(x))", "Dugas, Bengio, Belisle, Nadeau & Garcia 2001", initializer="he", range=(0, inf)),
    Activation("elu", {"alpha": 1.0},
               lambda x, alpha: where(x < 0, alpha * expm1(x), x),
               lambda dy, x, y, alpha: where(x >= 0, dy, dy * (y + alpha)),
               "xy", (0,), "x if x >= 0 else alpha * (exp(x) - 1)", "Clevert, Unterthiner & Hochreiter 2016", initializer="he"),
    Activation("selu", {},
               lambda x: where(x < 0, SELU_SCALE * SELU_ALPHA * expm1(x), SELU_SCALE * x),
               lambda dy, x, y: where(y >= 0, SELU_SCALE * dy, dy * (y + SELU_SCALE * SELU_ALPHA)),
               "y", (0,), "1.0507 * elu(x, alpha=1.6733)", "Klambauer, Unterthiner, Mayr & Hochreiter 2017", initializer="lecun",
               range=(-SELU_SCALE * SELU_ALPHA, inf)),
    Activation("relu6", {},
               lambda x: where(x < 0, 0, where(x > 6, 6, x)),
               lambda dy, x, y: where((y > 0) & (y < 6), dy, y * 0),
               "y", (0, 6), "min(max(x, 0), 6)", "Krizhevsky 2010", initializer="he", range=(0, 6)),
    Activation("exponential", {},
               lambda x: exp(x),
               lambda dy, x, y: dy * y,
               "y", (), "exp(x)", "McCullagh & Nelder 1989, the inverse of the log link", range=(0, inf)),
    Activation("step", {},
               lambda x: where(x < 0, 0, where(x >= 0, 1, x)),
               lambda dy, x, y: dy,  # the perceptron's rule: the error passes as through a linear unit
               "y", (0,), "1 if x >= 0 else 0; no derivative, dx = dy", "Rosenblatt 1958", range=(0, 1), differentiable=False),
    Activation("softmax", {}, softmax, softmax_adjoint,
               "y", (), "exp(x_i) / sum_j exp(x_j) over a row", "Bridle 1990", rowwise=True,
               range=(0, 1)),
))
