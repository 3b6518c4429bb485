"""Schedules: the learning rate as training goes on, a function of the progress in epochs, 0 at the first step."""

from abc import abstractmethod
from itertools import repeat

import numpy as np

from .data import check_fields, check_integer, check_real
from .description import Description
from .metrics import check_mode, direction

INTERVALS = {  # of the fields of these names
    "rate": "[0, inf)",
    "peak": "[0, inf)",
    "every": "(0, inf)",
    "epochs": "(0, inf)",
    "period": "(0, inf)",
    "multiplier": "[1, 1e6]",
    "factor": "(0, 1]",
    "power": "[0, inf)",
    "start": "[0, 1]",
    "rise": "(0, 1)",
    "divisor": "[1, inf)",
    "final_divisor": "[1, inf)",
    "min_delta": "[0, inf)",
}

ROUNDING = 1e-9  # of an epoch: what is nearer to a boundary is there


class Schedule(Description):
    """What a learning rate that changes is to an optimizer: ``Adam(CosineDecay(1e-3, epochs=30))``.

    Epochs are those of a trainer's whole history: a schedule that is given to one that has learned begins within.

    ``metric`` names the quantity of the history that the rates follow, or is None.
    """

    __slots__ = ()
    formula = source = ""
    metric = None

    @abstractmethod
    def rates(self, progress):
        """-> learning rates (n,) float64, for n steps at this progress (n,) in epochs, from 0 on."""

    def scales(self, values):
        """Yield what the rates of each epoch are multiplied by: the first, then one after each value of ``metric``."""
        return repeat(1.0)


class ConstantRate(Schedule):
    """The same rate for ever; to be warmed up, ``WarmUp(ConstantRate(1e-3), epochs=5)``."""

    __slots__ = ("rate",)
    formula = "rate"

    def __init__(self, rate):
        self._set(**check_fields(self, INTERVALS, rate=rate))

    def rates(self, progress):
        return np.full(len(progress), self.rate)


class StepDecay(Schedule):
    """rate factor^k after k times ``every`` epochs."""

    __slots__ = ("rate", "every", "factor")
    formula = "rate factor^floor(t / every)"

    def __init__(self, rate, every, factor=0.1):
        self._set(**check_fields(self, INTERVALS, rate=rate, every=every, factor=factor))

    def rates(self, progress):
        return self.rate * self.factor ** np.floor(progress / self.every + ROUNDING)


class ExponentialDecay(Schedule):
    """rate factor^t after t epochs, a little smaller with every step."""

    __slots__ = ("rate", "factor")
    formula = "rate factor^t"

    def __init__(self, rate, factor):
        self._set(**check_fields(self, INTERVALS, rate=rate, factor=factor))

    def rates(self, progress):
        return self.rate * self.factor**progress


class InverseScaling(Schedule):
    """rate / (1 + t)^power after t epochs.   Source: Robbins & Monro 1951, whose conditions hold for 1/2 < power <= 1.

    scikit-learn's "invscaling" is the same with t counted in rows.
    """

    __slots__ = ("rate", "power")
    formula, source = "rate / (1 + t)^power", "Robbins & Monro 1951"

    def __init__(self, rate, power=0.5):
        self._set(**check_fields(self, INTERVALS, rate=rate, power=power))

    def rates(self, progress):
        return self.rate / (1 + progress) ** self.power


class PolynomialDecay(Schedule):
    """minimum + (rate - minimum) (1 - t / epochs)^power after t epochs, minimum from then on; a line with power 1."""

    __slots__ = ("rate", "epochs", "power", "minimum")
    formula = "minimum + (rate - minimum) (1 - t / epochs)^power"

    def __init__(self, rate, epochs, power=1.0, minimum=0.0):
        self._set(**check_fields(self, INTERVALS, rate=rate, epochs=epochs, power=power))
        self._set(minimum=_check_minimum(self, minimum))

    def rates(self, progress):
        left = 1 - np.minimum(progress / self.epochs, 1)
        return self.minimum + (self.rate - self.minimum) * np.where(left > 0, left**self.power, 0)


class CosineDecay(Schedule):
    """Half a cosine from rate to minimum in some epochs, minimum from then on.

    minimum + (rate - minimum) (1 + cos(pi t / epochs)) / 2 after t epochs.
    Source: Loshchilov & Hutter 2017, eq. 5.
    """

    __slots__ = ("rate", "epochs", "minimum")
    formula, source = "minimum + (rate - minimum) (1 + cos(pi t / epochs)) / 2", "Loshchilov & Hutter 2017, eq. 5"

    def __init__(self, rate, epochs, minimum=0.0):
        self._set(**check_fields(self, INTERVALS, rate=rate, epochs=epochs))
        self._set(minimum=_check_minimum(self, minimum))

    def rates(self, progress):
        return _cosine(self.rate, self.minimum, np.minimum(progress / self.epochs, 1))


class CosineRestarts(Schedule):
    """CosineDecay again and again; each period is ``multiplier`` times as long as the one before.

    Source: Loshchilov & Hutter 2017 (SGDR), eq. 5 and section 3.
    """

    __slots__ = ("rate", "period", "multiplier", "minimum")
    formula, source = "CosineDecay again and again, periods times multiplier", "Loshchilov & Hutter 2017, 3"

    def __init__(self, rate, period, multiplier=1.0, minimum=0.0):
        self._set(**check_fields(self, INTERVALS, rate=rate, period=period, multiplier=multiplier))
        self._set(minimum=_check_minimum(self, minimum))

    def rates(self, progress):
        return _cosine(self.rate, self.minimum, self._share(progress / self.period))

    def _share(self, t):
        """The share of its period that has passed at t, counted in first periods."""
        m = self.multiplier
        if m == 1:
            return np.maximum(t - np.floor(t + ROUNDING), 0)
        number = 2 + int(np.log1p(t.max(initial=0) * (m - 1)) / np.log(m))
        begins = (m ** np.arange(number) - 1) / (m - 1)
        period = np.searchsorted(begins, t + ROUNDING, side="right") - 1
        return np.maximum(t - begins[period], 0) / m**period


class WarmUp(Schedule):
    """A line from ``start`` times a schedule's first rate to all of it in some epochs, then the schedule.

    The schedule begins where the line ends: ``WarmUp(CosineDecay(1e-3, epochs=25), epochs=5)`` takes 30 epochs.
    Source: Goyal et al. 2017, section 2.2.
    """

    __slots__ = ("schedule", "epochs", "start")
    formula, source = "first rate (start + (1 - start) t / epochs), then the schedule", "Goyal et al. 2017, section 2.2"

    def __init__(self, schedule, epochs, start=0.0):
        if not isinstance(schedule, Schedule):
            raise TypeError(f"WarmUp: schedule must be a schedule, such as ConstantRate(1e-3), got {schedule!r}")
        self._set(schedule=schedule, **check_fields(self, INTERVALS, epochs=epochs, start=start))

    @property
    def metric(self):
        """What the schedule within follows."""
        return self.schedule.metric

    def rates(self, progress):
        share = np.minimum(progress / self.epochs, 1)
        return (self.start + (1 - self.start) * share) * self.schedule.rates(np.maximum(progress - self.epochs, 0))

    def scales(self, values):
        return self.schedule.scales(values)


class OneCycle(Schedule):
    """Half a cosine up from peak / divisor to peak, and one down to peak / (divisor final_divisor), in some epochs.

    The way up takes the share ``rise`` of them.   Source: Smith & Topin 2018, with cosines for their lines.
    """

    __slots__ = ("peak", "epochs", "rise", "divisor", "final_divisor")
    formula, source = "half a cosine up to peak, one down", "Smith & Topin 2018"

    def __init__(self, peak, epochs, rise=0.3, divisor=25.0, final_divisor=1e4):
        self._set(**check_fields(
            self, INTERVALS, peak=peak, epochs=epochs, rise=rise, divisor=divisor, final_divisor=final_divisor
        ))  # fmt: skip

    def rates(self, progress):
        first = self.peak / self.divisor
        share = np.minimum(progress / self.epochs, 1)
        up = _cosine(first, self.peak, share / self.rise)
        down = _cosine(self.peak, first / self.final_divisor, (share - self.rise) / (1 - self.rise))
        return np.where(share < self.rise, up, down)


class ReduceOnPlateau(Schedule):
    """rate, multiplied by ``factor`` whenever more than ``patience`` epochs in a row have not improved a metric.

    An epoch improves where its ``metric``, a name in the history, beats the best so far by more than ``min_delta``;
    ``mode`` says whether "min" or "max" is best; "auto" knows it of losses and of the metrics of bpfast.
    After a reduction ``cooldown`` epochs are not counted.
    The rate never falls below ``minimum``.  An epoch without the metric changes nothing.
    """

    __slots__ = ("rate", "factor", "patience", "metric", "mode", "min_delta", "cooldown", "minimum")
    formula = "rate factor^k after k plateaus of a metric"

    def __init__(self, rate, factor=0.1, patience=10, metric="val_loss", mode="auto", min_delta=0.0, cooldown=0,
                 minimum=0.0):  # fmt: skip
        if not isinstance(metric, str):
            raise ValueError(f"ReduceOnPlateau: metric must be a name such as 'val_loss', got {metric!r}")
        check_mode("ReduceOnPlateau", mode)
        direction("ReduceOnPlateau", metric, mode)
        self._set(
            patience=check_integer(patience, "ReduceOnPlateau: patience", 0),
            cooldown=check_integer(cooldown, "ReduceOnPlateau: cooldown", 0),
            metric=metric, mode=mode, **check_fields(self, INTERVALS, rate=rate, factor=factor, min_delta=min_delta),
        )  # fmt: skip
        self._set(minimum=_check_minimum(self, minimum))

    def rates(self, progress):
        return np.full(len(progress), self.rate)

    def scales(self, values):
        sign = direction("ReduceOnPlateau", self.metric, self.mode)
        scale, lowest = 1.0, self.minimum / self.rate if self.rate else 0.0
        best, waited, resting = np.inf, 0, 0
        yield scale
        for value in values:
            if not np.isnan(value):
                better = sign * value < best - self.min_delta
                best = sign * value if better else best
                waited = 0 if better or resting else waited + 1
                resting = max(resting - 1, 0)
                if waited > self.patience:
                    scale, waited, resting = max(scale * self.factor, lowest), 0, self.cooldown
            yield scale


def _cosine(first, last, share):
    """Half a cosine from first, where share is 0, to last, where it is 1."""
    return last + (first - last) * (0.5 + 0.5 * np.cos(np.pi * share))


def _check_minimum(schedule, minimum):
    return check_real(minimum, f"{type(schedule).__name__}: minimum", f"[0, {schedule.rate!r}]")


SCHEDULES = {
    kind.__name__: kind
    for kind in (ConstantRate, StepDecay, ExponentialDecay, InverseScaling, PolynomialDecay, CosineDecay,
                 CosineRestarts, WarmUp, OneCycle, ReduceOnPlateau)
}
