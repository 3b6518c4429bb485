"""Optimizers, a row each: the scalars of step t, and the rule that every parameter follows.

g      (any shape) f4|f8    dE/dw                                     IN
w      like g               parameter                                 IN -> OUT
slots  like g               what the rule remembers, zero at first    IN -> OUT

Scalars are computed in double, once a step; the rule runs in the dtype of w.
Constants and places of epsilon are those of PyTorch, where it has the optimizer.
Row for row the twin of updates.h.
"""

from math import ceil

from numpy import absolute, arange, cumprod, maximum, minimum, sign, sqrt, where

from .table import UPDATES, Update, fill


def momentum(g, w, v, momentum, rate):
    """v adds up the gradients, older ones weigh less."""
    v = momentum * v + g
    return w - rate * v, v


def nesterov(g, w, v, momentum, rate):
    """The step looks ahead along v."""
    v = momentum * v + g
    return w - rate * (g + momentum * v), v


def adagrad(g, w, v, rate, epsilon):
    """v is the sum of all g^2."""
    v = v + g * g
    return w - rate * g / (sqrt(v) + epsilon), v


def rmsprop(g, w, v, rho, rest, rate, epsilon):
    """v is the moving average of g^2."""
    v = rho * v + rest * (g * g)
    return w - rate * g / (sqrt(v) + epsilon), v


def rmsprop_momentum(g, w, v, b, rho, rest, rate, epsilon, momentum):
    """b adds up the scaled gradients."""
    v = rho * v + rest * (g * g)
    b = momentum * b + g / (sqrt(v) + epsilon)
    return w - rate * b, v, b


def rmsprop_centered(g, w, v, b, m, rho, rest, rate, epsilon, momentum):
    """v - m^2 is the variance of g, which rounding may leave below zero."""
    v = rho * v + rest * (g * g)
    m = rho * m + rest * g
    b = momentum * b + g / (sqrt(maximum(v - m * m, 0)) + epsilon)
    return w - rate * b, v, b, m


def adadelta(g, w, v, d, rho, rest, rate, epsilon):
    """v and d are moving averages of g^2 and of the squared steps."""
    v = rho * v + rest * (g * g)
    step = sqrt(d + epsilon) / sqrt(v + epsilon) * g
    d = rho * d + rest * (step * step)
    return w - rate * step, v, d


def power(beta, t):
    """beta^t, 0 <= beta < 1.  From e^-600 on it stays: 1 - beta^t is 1, and NumPy is slow where numbers underflow."""
    return beta ** minimum(t, 600 / (1 - beta))


def adam_coefficients(t, learning_rate, beta1, beta2, epsilon):
    """The bias corrections folded into the rate and epsilon (section 2 of the source, last paragraph)."""
    correction = sqrt(1 - power(beta2, t))
    return beta1, 1 - beta1, beta2, 1 - beta2, learning_rate * correction / (1 - power(beta1, t)), epsilon * correction


def adam(g, w, m, v, beta1, rest1, beta2, rest2, rate, epsilon):
    """m and v are moving averages of g and g^2."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    return w - rate * m / (sqrt(v) + epsilon), m, v


def adamax(g, w, m, u, beta1, rest1, beta2, rate, epsilon):
    """u is the largest |g|, forgotten slowly."""
    m = beta1 * m + rest1 * g
    u = maximum(beta2 * u, absolute(g) + epsilon)
    return w - rate * m / u, m, u


def nadam_coefficients(t, learning_rate, beta1, beta2, epsilon, momentum_decay):
    """The momentum mu of a step grows towards beta1; 1 - the product of all mu takes the place of 1 - beta1^t."""

    def mu(t):
        return beta1 * (1 - 0.5 * power(0.96, t * momentum_decay))

    steps = minimum(t, ceil(40 / (1 - beta1))).astype(int)  # the product of more is below exp(-40), nothing beside 1
    product = cumprod(mu(arange(1, steps.max() + 1)))[steps - 1]
    correction = sqrt(1 - power(beta2, t))
    rate = learning_rate * correction
    return (beta1, 1 - beta1, beta2, 1 - beta2, rate * (1 - mu(t)) / (1 - product),
            rate * mu(t + 1) / (1 - product * mu(t + 1)), epsilon * correction)


def nadam(g, w, m, v, beta1, rest1, beta2, rest2, rate_g, rate_m, epsilon):
    """Adam's step, with the momentum of the step to come."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    return w - (rate_g * g + rate_m * m) / (sqrt(v) + epsilon), m, v


def amsgrad(g, w, m, v, u, beta1, rest1, beta2, rest2, rate, epsilon):
    """u is the largest v so far."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    u = maximum(u, v)
    return w - rate * m / (sqrt(u) + epsilon), m, v, u


def adamw(g, w, m, v, beta1, rest1, beta2, rest2, rate, epsilon, keep):
    """Adam, and a share of w itself is taken away."""
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    return keep * w - rate * m / (sqrt(v) + epsilon), m, v


def lion(g, w, m, beta1, rest1, beta2, rest2, rate, keep):
    """The step is a sign; it weighs g more than the average that is kept."""
    step = sign(beta1 * m + rest1 * g)
    return keep * w - rate * step, beta2 * m + rest2 * g


def rprop(g, w, delta, previous, delta_0, eta_minus, eta_plus, delta_min, delta_max):
    """Each parameter has its step width delta, 0 before it begins; where g changed its sign w rests for a step."""
    turn = g * previous
    delta = where(delta == 0, delta_0, delta) * where(turn > 0, eta_plus, where(turn < 0, eta_minus, 1.0))
    delta = minimum(maximum(delta, delta_min), delta_max)
    previous = where(turn < 0, 0.0, g)
    return w - sign(previous) * delta, delta, previous


MOMENTS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

# fmt: off
fill(UPDATES, (
    Update("sgd", {}, (),
           lambda t, learning_rate: (learning_rate,),
           lambda g, w, rate: (w - rate * g,),
           "w - lr g", "Robbins & Monro 1951"),
    Update("momentum", {"momentum": 0.9}, ("v",),
           lambda t, learning_rate, momentum: (momentum, learning_rate), momentum,
           "w - lr v, v = momentum v + g", "Polyak 1964"),
    Update("nesterov", {"momentum": 0.9}, ("v",),
           lambda t, learning_rate, momentum: (momentum, learning_rate), nesterov,
           "w - lr (g + momentum v)", "Nesterov 1983; Sutskever et al. 2013"),
    Update("adagrad", {"epsilon": 1e-10}, ("v",),
           lambda t, learning_rate, epsilon: (learning_rate, epsilon), adagrad,
           "w - lr g / (sqrt(sum g^2) + epsilon)", "Duchi, Hazan & Singer 2011, figure 1"),
    Update("rmsprop", {"rho": 0.99, "epsilon": 1e-8}, ("v",),
           lambda t, learning_rate, rho, epsilon: (rho, 1 - rho, learning_rate, epsilon), rmsprop,
           "w - lr g / (sqrt(v) + epsilon)", "Tieleman & Hinton 2012, lecture 6.5"),
    Update("rmsprop_momentum", {"rho": 0.99, "epsilon": 1e-8, "momentum": 0.9}, ("v", "b"),
           lambda t, learning_rate, rho, epsilon, momentum: (rho, 1 - rho, learning_rate, epsilon, momentum), rmsprop_momentum,
           "w - lr b, b = momentum b + g / (sqrt(v) + epsilon)", "Tieleman & Hinton 2012, lecture 6.5"),
    Update("rmsprop_centered", {"rho": 0.99, "epsilon": 1e-8, "momentum": 0.0}, ("v", "b", "m"),
           lambda t, learning_rate, rho, epsilon, momentum: (rho, 1 - rho, learning_rate, epsilon, momentum), rmsprop_centered,
           "w - lr b, b = momentum b + g / (sqrt(v - m^2) + epsilon)", "Graves 2013, eqs. 38-41"),
    Update("adadelta", {"rho": 0.9, "epsilon": 1e-6}, ("v", "d"),
           lambda t, learning_rate, rho, epsilon: (rho, 1 - rho, learning_rate, epsilon), adadelta,
           "w - lr g sqrt(d + epsilon) / sqrt(v + epsilon)", "Zeiler 2012, algorithm 1"),
    Update("adam", MOMENTS, ("m", "v"),
           adam_coefficients, adam,
           "w - lr m^ / (sqrt(v^) + epsilon)", "Kingma & Ba 2015, algorithm 1"),
    Update("adamax", MOMENTS, ("m", "u"),
           lambda t, learning_rate, beta1, beta2, epsilon: (beta1, 1 - beta1, beta2, learning_rate / (1 - power(beta1, t)), epsilon), adamax,
           "w - lr m^ / u, u = max(beta2 u, |g| + epsilon)", "Kingma & Ba 2015, algorithm 2"),
    Update("nadam", {**MOMENTS, "momentum_decay": 4e-3}, ("m", "v"),
           nadam_coefficients, nadam,
           "Adam with m^ looking one step ahead", "Dozat 2016, algorithm 2"),
    Update("amsgrad", MOMENTS, ("m", "v", "u"),
           adam_coefficients, amsgrad,
           "Adam with the largest v so far", "Reddi, Kale & Kumar 2018, algorithm 2"),
    Update("adamw", {**MOMENTS, "weight_decay": 0.01}, ("m", "v"),
           lambda t, learning_rate, beta1, beta2, epsilon, weight_decay: (*adam_coefficients(t, learning_rate, beta1, beta2, epsilon), 1 - learning_rate * weight_decay), adamw,
           "Adam from (1 - lr weight_decay) w", "Loshchilov & Hutter 2019, algorithm 2"),
    Update("lion", {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}, ("m",),
           lambda t, learning_rate, beta1, beta2, weight_decay: (beta1, 1 - beta1, beta2, 1 - beta2, learning_rate, 1 - learning_rate * weight_decay), lion,
           "w - lr (sign(beta1 m + (1 - beta1) g) + weight_decay w)", "Chen et al. 2023, algorithm 2"),
    Update("rprop", {"eta_minus": 0.5, "eta_plus": 1.2, "delta_min": 1e-6, "delta_max": 50.0}, ("delta", "previous"),
           lambda t, learning_rate, *hyper: (learning_rate, *hyper), rprop,
           "w - delta sign(g), delta grows or shrinks as g keeps its sign", "Igel & Huesken 2000, iRprop-"),
))
