"""Optimizers, a row each: the scalars of step t, and the rule that every parameter follows.

g      (any shape) f4|f8    dE/dw                                     IN
w      like g               parameter                                 IN -> OUT
slots  like g               what the rule remembers, zero at first    IN -> OUT

Scalars are computed in double, once a step; the rule runs in the dtype of w.
Row for row the twin of updates.h.
"""

from numpy import sqrt

from .table import UPDATES, Update, fill


def adam_coefficients(t, learning_rate, beta1, beta2, epsilon):
    """The bias corrections folded into the rate and epsilon (section 2 of the source, last paragraph)."""
    correction = sqrt(1 - beta2**t)
    return beta1, 1 - beta1, beta2, 1 - beta2, learning_rate * correction / (1 - beta1**t), epsilon * correction


def adam(g, w, m, v, beta1, rest1, beta2, rest2, rate, epsilon):
    """m and v are moving averages of g and g^2."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    return w - rate * m / (sqrt(v) + epsilon), m, v


# fmt: off
fill(UPDATES, (
    Update("sgd", {}, (),
           lambda t, learning_rate: (learning_rate,),
           lambda g, w, rate: (w - rate * g,),
           "w - lr g", "Robbins & Monro 1951"),
    Update("adam", {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}, ("m", "v"),
           adam_coefficients, adam,
           "w - lr m^ / (sqrt(v^) + epsilon)", "Kingma & Ba 2015, algorithm 1"),
))
