"""Metrics: how good predictions are.  Unlike a loss, a metric needs no derivative.

y_true         (n,) int | (n, k) bool    classes 0, 1, ..., of each row or of each of its k labels
               (n, k) f4|f8              numbers
y_pred         like y_true               the class -1 is never right: an output was NaN
sample_weight  (n,) f8 | None            of each row
->             float

accuracy, balanced_accuracy, f1 (macro) and r2 are scikit-learn's ..._score, the others bear its names.
In formulas t is y_true and y is y_pred.
"""

import inspect
from numbers import Real
from typing import NamedTuple

import numpy as np

from .backends.base import native_dtype

# -- of classes ----------------------------------------------------------------------------------------


def accuracy(y_true, y_pred, sample_weight=None):
    """The share of right classes; of rows with k labels, the mean over the labels."""
    right = (y_true == y_pred).reshape(len(y_true), -1).mean(axis=1)
    return np.average(right, weights=sample_weight)


def balanced_accuracy(y_true, y_pred, sample_weight=None):
    """The mean over the classes of the share of their rows that were found.   Source: Brodersen et al. 2010."""
    true, _, right = _counts(y_true, y_pred, sample_weight)
    there = true > 0
    return np.mean(right[there] / true[there])


def f1(y_true, y_pred, sample_weight=None):
    """The mean over the classes of 2 P R / (P + R), P precision, R recall (macro F1).   Source: van Rijsbergen 1979."""
    true, predicted, right = _counts(y_true, y_pred, sample_weight)
    there = true + predicted > 0
    return np.mean(2 * right[there] / (true + predicted)[there])


def _counts(y_true, y_pred, sample_weight):
    """-> the weight of the rows of each class, of the rows taken for it, and of those rightly taken for it."""
    weight = np.ones(len(y_true)) if sample_weight is None else sample_weight
    y_true, y_pred = y_true.astype(np.intp), y_pred.astype(np.intp)
    n = 1 + max(y_true.max(), y_pred.max())
    taken, right = y_pred >= 0, y_true == y_pred
    return (
        np.bincount(y_true, weight, n),
        np.bincount(y_pred[taken], weight[taken], n),
        np.bincount(y_true[right], weight[right], n),
    )


# -- of numbers, the mean over the k outputs ------------------------------------------------------------


def mean_squared_error(y_true, y_pred, sample_weight=None):
    """mean (y - t)^2"""
    return np.mean(_squared_errors(y_true, y_pred, sample_weight))


def root_mean_squared_error(y_true, y_pred, sample_weight=None):
    """sqrt(mean (y - t)^2), taken of each output."""
    return np.mean(np.sqrt(_squared_errors(y_true, y_pred, sample_weight)))


def mean_absolute_error(y_true, y_pred, sample_weight=None):
    """mean |y - t|"""
    return np.mean(np.average(np.abs(y_pred - y_true), axis=0, weights=sample_weight))


def r2(y_true, y_pred, sample_weight=None):
    """1 - sum (y - t)^2 / sum (t - mean t)^2; where the targets are all alike, 1 if they are met and 0 if not."""
    errors = _squared_errors(y_true, y_pred, sample_weight)
    mean = np.average(y_true, axis=0, weights=sample_weight)
    spread = _squared_errors(y_true, mean, sample_weight)
    alike = np.where(errors == 0, 1.0, 0.0)
    return np.mean(np.where(spread == 0, alike, 1 - errors / np.where(spread == 0, 1, spread)))


def _squared_errors(y_true, y_pred, sample_weight):
    """-> (k,), the mean over the rows."""
    return np.average((y_pred - y_true) ** 2, axis=0, weights=sample_weight)


OF_CLASSES = {f.__name__: f for f in (accuracy, balanced_accuracy, f1)}
OF_NUMBERS = {f.__name__: f for f in (mean_squared_error, root_mean_squared_error, mean_absolute_error, r2)}
METRICS = {**OF_CLASSES, **OF_NUMBERS}
GROW = {"accuracy", "balanced_accuracy", "f1", "r2"}  # the larger, the better
FIGURES = ("loss", "seconds", "learning_rate")  # names that a history gives to other things


class Metric(NamedTuple):
    """A metric as a Trainer asks for it."""

    name: str
    function: object
    weighted: bool  # whether the function takes sample_weight


def check_measured(owner, name, names):
    """Refuse to follow a figure that is none of those that the epochs of a fit will have."""
    if name not in names:
        hint = "; fit(..., validation=...) measures it" if name.startswith("val_") else ""
        raise ValueError(f"{owner}: {name!r} is not measured in this fit, but: {', '.join(names)}{hint}")


def check_mode(owner, mode):
    """Refuse what is no way for a figure to become better."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f'{owner}: mode must be "auto", "min" or "max", got {mode!r}')


def direction(owner, name, mode):
    """-> 1 where a figure such as "val_loss" becomes better as it falls, -1 where it does as it grows."""
    measured = name.removeprefix("val_")
    if mode == "auto" and measured not in {"loss", "seconds", *METRICS}:
        raise ValueError(f'{owner}: say whether {name!r} should fall or grow: mode="min" or "max"')
    return -1 if mode == "max" or (mode == "auto" and measured in GROW) else 1


def get_metrics(given):
    """-> tuple of Metric, from names of METRICS and functions."""
    if isinstance(given, str) or callable(given):
        given = (given,)
    elif given is None:
        given = ()
    metrics = tuple(map(_metric, given))
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1 or name in FIGURES:
            raise ValueError(f"metrics: the name {name!r} is taken; define a function with a name of its own")
    return metrics


def _metric(given):
    if isinstance(given, str) and given in METRICS:
        return Metric(given, METRICS[given], True)
    if not callable(given) or isinstance(given, type):
        raise ValueError(f"unknown metric {given!r}; choose of: {', '.join(METRICS)}, or pass f(y_true, y_pred)")
    try:
        weighted = "sample_weight" in inspect.signature(given).parameters
    except ValueError:  # a function of C tells nothing of itself
        weighted = False
    return Metric(getattr(given, "__name__", type(given).__name__), given, weighted)


def check_metrics(metrics, targets, n_out):
    """-> the metrics, or accuracy where none is given and targets are classes; refuses what these targets have not got.

    targets    "labels", "unit" (0 or 1), "signs" (-1 or 1) are classes, others numbers alone: as ``Loss.targets``
    """
    of_classes = targets in ("labels", "unit", "signs")
    if not metrics and of_classes:
        return get_metrics("accuracy")
    for metric in metrics:
        if metric.function in OF_CLASSES.values() and not of_classes:
            raise ValueError(f"metric {metric.name!r} is one of classes, but this loss learns numbers")
        if metric.function in OF_NUMBERS.values() and targets == "labels":
            raise ValueError(f"metric {metric.name!r} is one of numbers, but this loss learns class labels")
        if metric.function in (balanced_accuracy, f1) and targets != "labels" and n_out > 1:
            raise ValueError(f"metric {metric.name!r} is of one class to a row, but the network has {n_out} outputs")
    return metrics


def classes(loss, y_true, outputs):
    """-> (true, predicted) classes, of shape (n,), or (n, k) for k > 1 outputs that are labels of their own."""
    broken = np.isnan(outputs)
    if loss.labels:
        return y_true.astype(np.int64), np.where(broken.any(axis=1), -1, outputs.argmax(axis=1))
    boundary = {"unit": 0.5, "signs": 0.0}[loss.targets]
    of_outputs = 0.0 if loss.fuses else boundary  # sigmoid(0) = 1/2
    both = (y_true > boundary).astype(np.int64), np.where(broken, -1, outputs > of_outputs)
    return tuple(array[:, 0] for array in both) if outputs.shape[1] == 1 else both


def measure(metrics, loss, y_true, outputs, sample_weight):
    """-> {name: float}.  A user's function gets the targets as checked, and the network's outputs (n, k)."""
    figures = {}
    for name, function, weighted in metrics:
        if function in OF_CLASSES.values():
            pair = classes(loss, y_true, outputs)
        elif function in OF_NUMBERS.values():
            pair = y_true.astype(np.float64), outputs.astype(np.float64)
        else:
            pair = y_true.astype(np.int64 if loss.labels else native_dtype(y_true.dtype), order="C"), outputs
        figure = function(*pair, sample_weight=sample_weight) if weighted else function(*pair)
        if not isinstance(figure, Real):
            raise TypeError(f"metric {name!r} must give one real number, got {figure!r}")
        figures[name] = float(figure)
    return figures
