"""What looks on while a Trainer fits, and may end it: a rule that stops, or anything of the user's."""

import math
import time

from . import metrics
from .data import check_flag, check_integer, check_real
from .description import Description


class Callback:
    """What a fit calls as it goes; a subclass overrides what it needs.

    A plain function ``f(trainer, figures)`` is taken as ``epoch``.

    In ``begin``, ``epoch`` and ``end`` the trainer is whole: it may predict, evaluate, be pickled and stopped, its
    network saved or changed, and its optimizer replaced by one of the same kind with another rate.
    What a callback raises ends the fit, with the parameters as of the last finished batch.
    """

    __slots__ = ()
    looks_at_rows = False  # the trainer keeps some of them for it, as ``kept_rows``

    def prepare(self, names):
        """-> the callback that one fit uses; one that remembers something makes another, so that fits share nothing.

        ``names`` are those of the figures that every epoch will have.  What is raised here comes before any work.
        """
        return self

    def begin(self, trainer):
        """Before the first epoch; with restarts, before that of each.  ``return True`` ends the fit, as below."""

    def epoch(self, trainer, figures):
        """After an epoch; ``figures`` maps "loss", "val_loss" and so on to numbers.  ``return True`` ends the fit.

        With restarts it ends this one of them alone; ``trainer.stop()`` ends them all.
        """

    def tick(self, trainer):
        """Within an epoch, each time that compiled code returns, at least every 50 ms; for ``trainer.stop()`` alone."""

    def end(self, trainer):
        """After the last epoch, unless an error or Ctrl-C ended the fit."""


class Epoch(Callback):
    """A plain function, called after each epoch."""

    def __init__(self, function):
        self.epoch = function


class EarlyStopping(Callback, Description):
    """End a fit when a figure has not improved for some epochs.   Source: Prechelt 1998.

    Parameters
    ----------
    metric : str
        The name of a figure: "val_loss", "val_accuracy", "loss", ...
    patience : int
        So many epochs in a row without a better one end the fit.
    min_delta : float
        What is better by no more than this is not better.
    mode : "auto", "min" or "max"
        Which way is better; "auto" knows it of losses and of the metrics of bpfast.
    restore_best : bool
        Give the network the parameters of the best epoch when the fit returns, whatever ended it.  An error or
        Ctrl-C leaves those of the last finished batch.  What the optimizer remembers is that of the last step.
    """

    __slots__ = ("metric", "patience", "min_delta", "mode", "restore_best")

    def __init__(self, metric="val_loss", patience=10, min_delta=0.0, mode="auto", restore_best=True):
        metrics.check_mode("EarlyStopping", mode)
        self._set(
            metric=_name("EarlyStopping", metric),
            patience=check_integer(patience, "EarlyStopping: patience"),
            min_delta=check_real(min_delta, "EarlyStopping: min_delta", "[0, inf)"),
            mode=mode,
            restore_best=check_flag(restore_best, "EarlyStopping: restore_best"),
        )

    def prepare(self, names):
        metrics.check_measured(type(self).__name__, self.metric, names)
        return Patience(self, metrics.direction("EarlyStopping", self.metric, self.mode))


class Patience(Callback):
    """An EarlyStopping at work in one fit."""

    def __init__(self, rule, sign):
        self._rule, self._sign = rule, sign

    def begin(self, trainer):
        self._best, self._waited, self._best_arrays = math.inf, 0, None

    def epoch(self, trainer, figures):
        value = self._sign * figures[self._rule.metric]
        self._waited += 1
        if value < self._best - self._rule.min_delta:
            self._best, self._waited = value, 0
            if self._rule.restore_best:
                self._best_arrays = trainer.network.snapshot()
        return self._waited >= self._rule.patience

    def end(self, trainer):
        if self._best_arrays is not None:
            trainer.network.restore(self._best_arrays)


class StopBelow(Callback, Description):
    """End a fit, and its restarts, after an epoch in which a figure is below a threshold."""

    __slots__ = ("threshold", "metric")

    def __init__(self, threshold, metric="loss"):
        self._set(
            threshold=check_real(threshold, "StopBelow: threshold", "(-inf, inf)"), metric=_name("StopBelow", metric)
        )

    def prepare(self, names):
        metrics.check_measured(type(self).__name__, self.metric, names)
        return self

    def epoch(self, trainer, figures):
        if figures[self.metric] < self.threshold:
            trainer.stop()


class TimeLimit(Callback, Description):
    """End a fit, and its restarts, after some seconds, within about 50 ms.

    What was learned is kept; an epoch that was not finished is not in the history.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds):
        self._set(seconds=check_real(seconds, "TimeLimit: seconds", "[0, inf)"))

    def prepare(self, names):
        return Deadline(time.monotonic() + self.seconds)


class Deadline(Callback):
    """A TimeLimit at work in one fit."""

    def __init__(self, time_of_end):
        self._end = time_of_end

    def tick(self, trainer):
        if time.monotonic() >= self._end:
            trainer.stop()


def prepare_callbacks(given, names):
    """-> list of the callbacks of one fit, from a callback or function, or a sequence of them."""
    if isinstance(given, Callback) or callable(given):
        given = (given,)
    callbacks = []
    for callback in given or ():
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise TypeError(
                f"callbacks must be objects such as EarlyStopping() or functions f(trainer, figures), got {callback!r}"
            )
        callback = callback if isinstance(callback, Callback) else Epoch(callback)
        callbacks.append(callback.prepare(names))
    return callbacks


def _name(owner, name):
    if not isinstance(name, str):
        raise ValueError(f'{owner}: metric must be the name of a figure such as "val_loss", got {name!r}')
    return name
