"""Optimizers: a learning rate and a row of ops/updates.py with its hyperparameters."""

from types import FunctionType

import numpy as np

from .data import check_fields, check_flag
from .description import Description
from .ops import UPDATES
from .schedules import ConstantRate, Schedule

INTERVALS = {  # of the fields of these names
    "learning_rate": "[0, inf)",
    "momentum": "[0, 1)",
    "rho": "[0, 1)",
    "beta1": "[0, 1)",
    "beta2": "[0, 1)",
    "epsilon": "[0, inf)",
    "momentum_decay": "[0, inf)",
    "weight_decay": "[0, inf)",
    "eta_minus": "(0, 1)",
    "eta_plus": "(1, inf)",
    "delta_min": "[1e-30, inf)",  # zero says that a step width has not begun, and float32 flushes below 1e-38
    "delta_max": "[1e-30, inf)",
}


class Optimizer(Description):
    """What an optimizer is to a Trainer: an update and the scalars of every step.

    ``learning_rate`` is a number or a Schedule.  ``full_batch``: made for batches of all rows.
    """

    __slots__ = ()
    rule = ""  # the name of the row
    written: dict = {}  # name -> one that a user wrote
    full_batch = False

    def _take(self, learning_rate, **numbers):
        """Check the fields and set them, the learning rate first."""
        if not isinstance(learning_rate, Schedule):
            numbers["learning_rate"] = learning_rate
        self._set(**{"learning_rate": learning_rate, **check_fields(self, INTERVALS, **numbers)})

    @property
    def update(self):
        """The row of ops/updates.py with this optimizer's hyperparameters."""
        row = UPDATES[self.rule]
        return row(**{name: getattr(self, name) for name in row.hyper})

    @property
    def schedule(self):
        """The learning rate as a Schedule."""
        return self.learning_rate if isinstance(self.learning_rate, Schedule) else ConstantRate(self.learning_rate)

    def coefficients(self, first_step, n_steps, steps_per_epoch=1, first_epoch=0, scale=1.0):
        """-> (n_steps, 1 + k) float64: the learning rate, multiplied by ``scale``, and the update's scalars.

        A row per step from ``first_step`` on, counted from 1, which begins the epoch ``first_epoch``, counted from 0.
        """
        epochs, steps = np.divmod(np.arange(n_steps), steps_per_epoch)
        rates = scale * self.schedule.rates(first_epoch + epochs + steps / steps_per_epoch)
        return self.coefficients_at(first_step + np.arange(float(n_steps)), rates)

    def coefficients_at(self, t, rates):
        """-> (len(t), 1 + k) float64, as above, of steps t at these learning rates."""
        update = self.update
        columns = (rates, *update.coefficients(t, rates, *update.values))
        table = np.empty((len(t), len(columns)))
        for i, column in enumerate(columns):
            table[:, i] = column
        return table

    @staticmethod
    def get(given):
        """The optimizer meant by a name or an optimizer."""
        if isinstance(given, Optimizer):
            return given
        known = {**OPTIMIZERS, **Optimizer.written}
        for name in (given, given.lower()) if isinstance(given, str) else ():
            if name in known:
                return known[name]()
        written = isinstance(given, FunctionType)
        hint = "decorate your rule with @bpfast.optimizer" if written else "pass an object, such as LBFGS()"
        raise ValueError(f"unknown optimizer {given!r}; choose one of: {', '.join(known)}, or {hint}")


class SGD(Optimizer):
    """Gradient descent, w <- w - learning_rate g.   Source: Robbins & Monro 1951."""

    __slots__ = ("learning_rate",)
    rule = "sgd"

    def __init__(self, learning_rate=1e-2):
        self._take(learning_rate)


class Momentum(Optimizer):
    """v <- momentum v + g, w <- w - learning_rate v.   Source: Polyak 1964."""

    __slots__ = ("learning_rate", "momentum")
    rule = "momentum"

    def __init__(self, learning_rate=1e-2, momentum=0.9):
        self._take(learning_rate, momentum=momentum)


class Nesterov(Optimizer):
    """v <- momentum v + g, w <- w - learning_rate (g + momentum v).

    Source: Nesterov 1983; in this form Sutskever et al. 2013.
    """

    __slots__ = ("learning_rate", "momentum")
    rule = "nesterov"

    def __init__(self, learning_rate=1e-2, momentum=0.9):
        self._take(learning_rate, momentum=momentum)


class AdaGrad(Optimizer):
    """v <- v + g^2, w <- w - learning_rate g / (sqrt(v) + epsilon).

    Source: Duchi, Hazan & Singer 2011, figure 1, diagonal.
    """

    __slots__ = ("learning_rate", "epsilon")
    rule = "adagrad"

    def __init__(self, learning_rate=1e-2, epsilon=1e-10):
        self._take(learning_rate, epsilon=epsilon)


class RMSProp(Optimizer):
    """w <- w - learning_rate b, b <- momentum b + g / (sqrt(v) + epsilon), v the moving average of g^2 with rate rho.

    ``centered`` takes the variance of g, v - m^2, in the place of v; m is the moving average of g.  Where g hardly
    changes the variance is near 0 and steps are long, so give a larger epsilon.
    Source: Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, eqs. 38-41.
    """

    __slots__ = ("learning_rate", "rho", "momentum", "centered", "epsilon")

    def __init__(self, learning_rate=1e-2, rho=0.99, momentum=0.0, centered=False, epsilon=1e-8):
        self._take(learning_rate, rho=rho, momentum=momentum, epsilon=epsilon)
        self._set(centered=check_flag(centered, "RMSProp: centered"))

    @property
    def rule(self):
        """The name of the row: one of three."""
        if self.centered:
            return "rmsprop_centered"
        return "rmsprop_momentum" if self.momentum else "rmsprop"


class Adadelta(Optimizer):
    """w <- w - learning_rate s, s = g sqrt(d + epsilon) / sqrt(v + epsilon).   Source: Zeiler 2012, algorithm 1.

    v and d are moving averages of g^2 and s^2 with rate rho, d of the steps before.
    """

    __slots__ = ("learning_rate", "rho", "epsilon")
    rule = "adadelta"

    def __init__(self, learning_rate=1.0, rho=0.9, epsilon=1e-6):
        self._take(learning_rate, rho=rho, epsilon=epsilon)


class Adam(Optimizer):
    """w <- w - learning_rate m^ / (sqrt(v^) + epsilon).   Source: Kingma & Ba 2015, algorithm 1.

    m and v are moving averages of g and g^2 with rates beta1 and beta2, m^ and v^ the same without bias.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon")
    rule = "adam"

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self._take(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class Adamax(Optimizer):
    """w <- w - learning_rate m^ / u, u <- max(beta2 u, |g| + epsilon).   Source: Kingma & Ba 2015, algorithm 2.

    m^ is the moving average of g with rate beta1, without bias.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon")
    rule = "adamax"

    def __init__(self, learning_rate=2e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self._take(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class Nadam(Optimizer):
    """Adam whose step uses the momentum of the step to come.   Source: Dozat 2016, algorithm 2.

    w <- w - learning_rate ((1 - mu_t) g / (1 - p_t) + mu_(t+1) m / (1 - p_(t+1))) / (sqrt(v^) + epsilon) with
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and p_t = mu_1 mu_2 ... mu_t.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon", "momentum_decay")
    rule = "nadam"

    def __init__(self, learning_rate=2e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, momentum_decay=4e-3):
        self._take(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, momentum_decay=momentum_decay)


class AMSGrad(Optimizer):
    """Adam with the largest v so far in the place of v.   Source: Reddi, Kale & Kumar 2018, algorithm 2.

    The biases of m and v are corrected as Adam does.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon")
    rule = "amsgrad"

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self._take(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class AdamW(Optimizer):
    """Adam after w <- (1 - learning_rate weight_decay) w.   Source: Loshchilov & Hutter 2019, algorithm 2.

    Biases decay too, as in PyTorch; ``Adam()`` with ``regularizer=WeightDecay(rate)`` leaves them alone.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
    rule = "adamw"

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01):
        self._take(learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)


class Lion(Optimizer):
    """w <- w - learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay w), m <- beta2 m + (1 - beta2) g.

    Source: Chen et al. 2023, algorithm 2.
    """

    __slots__ = ("learning_rate", "beta1", "beta2", "weight_decay")
    rule = "lion"

    def __init__(self, learning_rate=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.0):
        self._take(learning_rate, beta1=beta1, beta2=beta2, weight_decay=weight_decay)


class Rprop(Optimizer):
    """w <- w - delta sign(g), for full batches: give the Trainer ``batch_size="full"``.

    Every parameter has its step width delta, at first learning_rate: times eta_plus while g keeps its sign, times
    eta_minus where it changed, and then w rests for a step; between delta_min and delta_max.
    Source: Riedmiller & Braun 1993; this is iRprop- of Igel & Huesken 2000.
    """

    __slots__ = ("learning_rate", "eta_minus", "eta_plus", "delta_min", "delta_max")
    rule = "rprop"
    full_batch = True

    def __init__(self, learning_rate=1e-2, eta_minus=0.5, eta_plus=1.2, delta_min=1e-6, delta_max=50.0):
        if isinstance(learning_rate, Schedule):
            raise ValueError(f"Rprop: learning_rate is where step widths begin, so a number, got {learning_rate!r}")
        self._take(learning_rate, eta_minus=eta_minus, eta_plus=eta_plus, delta_min=delta_min, delta_max=delta_max)
        if self.delta_min > self.delta_max:
            raise ValueError(f"Rprop: delta_min must be at most delta_max, got {delta_min!r} and {delta_max!r}")


OPTIMIZERS = {
    kind.__name__.lower(): kind
    for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adadelta, Adam, Adamax, Nadam, AMSGrad, AdamW, Lion, Rprop)
}
