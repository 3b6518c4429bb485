"""One look at a network: what signals and gradients are, layer by layer."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from ..backends.base import LINEAR, Data
from ..backends.numpy import Plan
from ..ops.regularization import NO_CLIP
from ..ops.table import Loss

ROWS = 1000  # of the data that are looked at; fewer where the values of so many are more than
NUMBERS = 2e7
FLAT = 0.05  # of the largest slope: below it a unit is saturated
DEAD = 1e-3  # of the largest slope: a rectifier that stays below it for every row is dead
ON_THE_WAY = "batch_norm", "layer_norm", "scale", "dropout", "alpha_dropout", "activation"  # from sum to f
SLOPES = np.linspace(-10, 10, 2001)  # where the largest slope of an activation is looked for


class Measured(NamedTuple):
    """A network on some rows: arrays (layers,) float64, an entry per dense or convolutional layer from the input on.

    With E the mean training loss, z what the layer's activation reads, after a normalisation between, y what it makes:

    layers               names of the layers, a tuple
    activations          names of their activations, a tuple
    gradient_norm        |dE/dW|
    weight_norm          |W|
    activation_mean, activation_std, pre_activation_mean, pre_activation_std     of y and z, over rows and units
    saturated            share of numbers z with |f'(z)| < 0.05 max |f'|; NaN where f is not flat at both ends
    dead                 share of units whose |f'(z)| < 0.001 max |f'| for every row; NaN where f is no rectifier
    delta_norm           sqrt(mean (n dE/dz)^2) of n rows
    input_delta_norm     the same of dE/d(input of the layer)
    input_norm           sqrt(mean x^2) of the layer's inputs x
    alike                whether the units have the same weights and the same gradient
    loss, n_rows         E, and of how many rows
    """

    layers: tuple
    activations: tuple
    gradient_norm: np.ndarray
    weight_norm: np.ndarray
    activation_mean: np.ndarray
    activation_std: np.ndarray
    pre_activation_mean: np.ndarray
    pre_activation_std: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    delta_norm: np.ndarray
    input_delta_norm: np.ndarray
    input_norm: np.ndarray
    alike: np.ndarray
    loss: float
    n_rows: int


def evenly(n, most=ROWS):
    """-> indices of at most so many of n rows, at equal distances."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.intp)


def measure(network, loss, X, y, sample_weight=None):
    """-> Measured, of at most 1000 of the rows of X and y, drawn evenly; fewer where a row makes over 20 000 numbers.

    In float64, as in a step of training: a BatchNorm takes mean and variance of these rows, Dropout drops.  X, y and
    sample_weight are as ``Trainer.fit`` takes them; the network is built, and stays as it is.
    """
    plan = Plan(network.program, "float64", Loss.get(loss), None, 1, {}, NO_CLIP)
    numbers = sum(map(math.prod, network.program.value_shapes))  # that a row makes
    rows = Data(X, y, sample_weight).take(evenly(len(X), max(32, min(ROWS, int(NUMBERS / numbers)))))
    arrays = {name: array.astype(np.float64) for name, array in network.arrays.items()}
    with np.errstate(all="ignore"):
        value, deltas, gradients, forward = plan.differentiate(arrays, rows)
        found = [_layer(plan, i, network, deltas, gradients, forward) for i in plan.trained.instructions
                 if _weight(i, network) is not None]
    if not found:
        raise ValueError(f"{network!r} has no weight to look at: no dense or convolutional layer")
    columns = {name: [one[name] for one in found] for name in found[0]}
    names = ("layers", "activations")
    return Measured(**{name: tuple(column) if name in names else np.array(column) for name, column in columns.items()},
                    loss=value, n_rows=len(rows.X))


def _weight(i, network):
    """The name of the weight of an instruction, or None."""
    return next((name for name in i.parameters if network.parameters[name].ndim > 1), None)


def _layer(plan, i, network, deltas, gradients, forward):
    """-> {field: figure} of the layer of an instruction that has a weight."""
    weight = _weight(i, network)
    last = _activated(plan.trained, i)
    f, z, y = last.activation, forward.before[last.output], forward.values[last.output]
    delta = plan.kernels.activation_adjoint(f, deltas[last.output], z, y)
    if last.output == plan.trained.output and plan.trained is not plan.program:  # the loss reads logits
        f = plan.program.last_activation
        y = plan.kernels.activation_forward(f, z)
    n, x = len(z), forward.values[i.inputs[0]]
    saturated, dead = _flat(plan.kernels, f, z, y)
    return {
        "layers": i.layer, "activations": f.name,
        "gradient_norm": np.linalg.norm(gradients[weight]),
        "weight_norm": np.linalg.norm(network.parameters[weight].astype(np.float64)),
        "activation_mean": y.mean(), "activation_std": y.std(),
        "pre_activation_mean": z.mean(), "pre_activation_std": z.std(),
        "saturated": saturated, "dead": dead,
        "delta_norm": n * _rms(delta), "input_delta_norm": n * _rms(deltas[i.inputs[0]]),
        "input_norm": _rms(x),
        "alike": _alike(network.parameters[weight]) and _alike(gradients[weight]),
    }


def _activated(program, i):
    """The instruction that does the activation of a layer: itself, or one behind a normalisation."""
    readers = Counter(value for other in program.instructions for value in other.inputs)
    while i.activation == LINEAR and readers[i.output] == 1:
        reader = next(other for other in program.instructions if i.output in other.inputs)
        if reader.op not in ON_THE_WAY:
            break
        i = reader
    return i


def _rms(array):
    return np.sqrt(np.mean(np.square(array)))


def _flat(kernels, f, z, y):
    """-> the shares of saturated numbers and of dead units; NaN for what this activation has not got."""
    if f.rowwise or f == LINEAR or not f.differentiable:
        return np.nan, np.nan
    largest = np.abs(_slope(kernels, f, SLOPES, kernels.activation_forward(f, SLOPES))).max()
    slope = np.abs(_slope(kernels, f, z, y))
    if is_sigmoidal(f):
        return np.mean(slope < FLAT * largest), np.nan
    return np.nan, np.mean(slope.reshape(-1, z.shape[-1]).max(axis=0) < DEAD * largest)


def is_sigmoidal(f):
    """Whether an activation is flat at both ends and steep at 0, as sigmoid, tanh and their kin are."""
    return bool(np.isfinite(f.range).all()) and not f.rowwise and f.name != "relu6"


def _slope(kernels, f, z, y):
    return kernels.activation_adjoint(f, np.ones_like(z), z, y)


def _alike(weight):
    """Whether all columns of a matrix with several are the same, up to roundings."""
    columns = weight.reshape(-1, weight.shape[-1])
    return columns.shape[1] > 1 and bool(np.ptp(columns, axis=1).max() <= 1e-6 * np.abs(columns).max())
