"""The optimizers as their papers write them, step by step: what the rows of ops/updates.py are compared with.

Each takes the gradients (steps, n), the parameters w (n,), the learning rate and the row's hyperparameters, and
yields the parameters after every step.  Epsilon stands where PyTorch has it.
"""

import numpy as np

from bpfast.ops import UPDATES

RATE = 0.05
STEPS = 20


def sgd(gradients, w, rate):
    for g in gradients:
        w = w - rate * g
        yield w


def momentum(gradients, w, rate, mu):
    v = np.zeros_like(w)
    for g in gradients:
        v = mu * v + g
        w = w - rate * v
        yield w


def nesterov(gradients, w, rate, mu):
    """Sutskever et al. 2013 look from theta + mu velocity, which is w here: theta itself is not kept."""
    theta, velocity = w, np.zeros_like(w)
    for g in gradients:
        velocity = mu * velocity - rate * g
        theta = theta + velocity
        yield theta + mu * velocity


def adagrad(gradients, w, rate, epsilon):
    for t in range(len(gradients)):
        w = w - rate * gradients[t] / (np.sqrt((gradients[: t + 1] ** 2).sum(axis=0)) + epsilon)
        yield w


def rmsprop(gradients, w, rate, rho, epsilon):
    for step in _scaled(gradients, rho, epsilon, 0.0, centered=False):
        w = w - rate * step
        yield w


def rmsprop_momentum(gradients, w, rate, rho, epsilon, mu):
    for step in _scaled(gradients, rho, epsilon, mu, centered=False):
        w = w - rate * step
        yield w


def rmsprop_centered(gradients, w, rate, rho, epsilon, mu):
    for step in _scaled(gradients, rho, epsilon, mu, centered=True):
        w = w - rate * step
        yield w


def _scaled(gradients, rho, epsilon, mu, centered):
    """Averages as sums with weights (1 - rho) rho^age."""
    step = 0.0
    for t, g in enumerate(gradients):
        weights = (1 - rho) * rho ** np.arange(t, -1, -1.0)
        variance = weights @ gradients[: t + 1] ** 2 - centered * (weights @ gradients[: t + 1]) ** 2
        step = mu * step + g / (np.sqrt(variance) + epsilon)
        yield step


def adadelta(gradients, w, rate, rho, epsilon):
    def rms(average):
        return np.sqrt(average + epsilon)

    of_g = of_step = np.zeros_like(w)
    for g in gradients:
        of_g = rho * of_g + (1 - rho) * g**2
        step = -rms(of_step) / rms(of_g) * g
        of_step = rho * of_step + (1 - rho) * step**2
        w = w + rate * step
        yield w


def _adam(gradients, w, rate, beta1, beta2, epsilon, weight_decay=0.0, amsgrad=False):
    """The text of algorithm 1, which keeps the corrections of m and v apart."""
    m = v = largest = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        w = w - rate * weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        m_hat, v_hat = m / (1 - beta1**t), (largest if amsgrad else v) / (1 - beta2**t)
        w = w - rate * m_hat / (np.sqrt(v_hat) + epsilon)
        yield w


def adam(gradients, w, rate, beta1, beta2, epsilon):
    return _adam(gradients, w, rate, beta1, beta2, epsilon)


def amsgrad(gradients, w, rate, beta1, beta2, epsilon):
    return _adam(gradients, w, rate, beta1, beta2, epsilon, amsgrad=True)


def adamw(gradients, w, rate, beta1, beta2, epsilon, weight_decay):
    return _adam(gradients, w, rate, beta1, beta2, epsilon, weight_decay)


def adamax(gradients, w, rate, beta1, beta2, epsilon):
    """u is the largest of beta2^age (|g| + epsilon)."""
    m = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        ages = np.arange(t - 1, -1, -1.0)[:, None]
        u = (beta2**ages * (np.abs(gradients[:t]) + epsilon)).max(axis=0)
        w = w - rate / (1 - beta1**t) * m / u
        yield w


def nadam(gradients, w, rate, beta1, beta2, epsilon, momentum_decay):
    mu = [beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)) for t in range(len(gradients) + 2)]
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        g_hat, m_hat = g / (1 - np.prod(mu[1 : t + 1])), m / (1 - np.prod(mu[1 : t + 2]))
        v_hat = v / (1 - beta2**t)
        w = w - rate * ((1 - mu[t]) * g_hat + mu[t + 1] * m_hat) / (np.sqrt(v_hat) + epsilon)
        yield w


def lion(gradients, w, rate, beta1, beta2, weight_decay):
    m = np.zeros_like(w)
    for g in gradients:
        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
        w = w - rate * (np.sign(c) + weight_decay * w)
        yield w


def rprop(gradients, w, rate, eta_minus, eta_plus, delta_min, delta_max):
    w, before, deltas = w.copy(), [0.0] * len(w), [min(max(rate, delta_min), delta_max)] * len(w)
    for gradient in gradients:
        for i, g in enumerate(gradient):
            if g * before[i] > 0:
                deltas[i] = min(deltas[i] * eta_plus, delta_max)
            elif g * before[i] < 0:
                deltas[i] = max(deltas[i] * eta_minus, delta_min)
                g = 0.0
            w[i] -= np.sign(g) * deltas[i]
            before[i] = g
        yield w.copy()


OTHERS = {  # hyperparameters that are not the table's, each of which shows within STEPS steps
    "momentum": {"momentum": 0.7},
    "nesterov": {"momentum": 0.7},
    "adagrad": {"epsilon": 0.1},
    "rmsprop": {"rho": 0.8, "epsilon": 0.1},
    "rmsprop_momentum": {"rho": 0.8, "epsilon": 0.1, "momentum": 0.6},
    "rmsprop_centered": {"rho": 0.8, "epsilon": 0.1, "momentum": 0.6},
    "adadelta": {"rho": 0.7, "epsilon": 1e-2},
    "adam": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-2},
    "adamax": {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2},
    "nadam": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-2, "momentum_decay": 0.1},
    "amsgrad": {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2},
    "adamw": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-2, "weight_decay": 0.3},
    "lion": {"beta1": 0.7, "beta2": 0.9, "weight_decay": 0.3},
    "rprop": {"eta_minus": 0.4, "eta_plus": 1.3, "delta_min": 0.02, "delta_max": 0.08},
}
ROWS = [*UPDATES.values(), *(UPDATES[name](**hyper) for name, hyper in OTHERS.items())]
OF_PYTORCH = [op for op in ROWS if op.name != "lion"]


def name_of(op):
    """Of a row with its hyperparameters."""
    return "-".join(map(str, (op.name, *op.values)))


def starting_point(rng, n=12):
    """-> gradients (STEPS, n) that shrink as if something were learned, w (n,)."""
    return rng.normal(size=(STEPS, n)) * np.linspace(1, 0.2, STEPS)[:, None] + 0.3, rng.normal(size=n)
