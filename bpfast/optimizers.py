"""Optimizers: a learning rate and a row of ops/updates.py with its hyperparameters."""

import math
from numbers import Real

import numpy as np

from .description import Description
from .ops import UPDATES


def _number(owner, name, value, low, high=math.inf):
    """A finite float in [low, high), or an error that says what was given and expected."""
    if isinstance(value, bool) or not isinstance(value, Real) or not (low <= value < high and math.isfinite(value)):
        bounds = f"in [{low}, {high})" if high < math.inf else f"at least {low} and finite"
        raise ValueError(f"{owner}: {name} must be a number {bounds}, got {value!r}")
    return float(value)


class Optimizer(Description):
    """What an optimizer is to a Trainer: an update and the scalars of every step."""

    __slots__ = ()

    @property
    def update(self):
        """The row of ops/updates.py with this optimizer's hyperparameters."""
        raise NotImplementedError

    def coefficients(self, first_step, n_steps):
        """-> (n_steps, 1 + k) float64: the learning rate and the update's scalars for each of these steps from 1 on."""
        t = np.arange(first_step, first_step + n_steps, dtype=np.float64)
        columns = self.update.coefficients(t, self.learning_rate, *self.update.values)
        table = np.empty((n_steps, 1 + len(columns)))
        for i, column in enumerate((self.learning_rate, *columns)):
            table[:, i] = column
        return table

    @staticmethod
    def get(given):
        """The optimizer meant by a name or an optimizer."""
        if isinstance(given, Optimizer):
            return given
        if isinstance(given, str) and given.lower() in OPTIMIZERS:
            return OPTIMIZERS[given.lower()]()
        raise ValueError(f"unknown optimizer {given!r}; choose one of: {', '.join(OPTIMIZERS)}, or pass an object")


class SGD(Optimizer):
    """Gradient descent, w <- w - learning_rate g.   Source: Robbins & Monro 1951."""

    __slots__ = ("learning_rate",)

    def __init__(self, learning_rate=1e-2):
        self._set(learning_rate=_number("SGD", "learning_rate", learning_rate, 0))

    @property
    def update(self):
        return UPDATES["sgd"]


class Adam(Optimizer):
    """w <- w - learning_rate m^ / (sqrt(v^) + epsilon).   Source: Kingma & Ba 2015, algorithm 1.

    m and v are moving averages of g and g^2 with rates beta1 and beta2, m^ and v^ the same without bias.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon")

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self._set(
            learning_rate=_number("Adam", "learning_rate", learning_rate, 0),
            beta1=_number("Adam", "beta1", beta1, 0, 1),
            beta2=_number("Adam", "beta2", beta2, 0, 1),
            epsilon=_number("Adam", "epsilon", epsilon, 0),
        )

    @property
    def update(self):
        return UPDATES["adam"](beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}
