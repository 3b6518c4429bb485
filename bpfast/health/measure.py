"""One look at a network: what signals and gradients are, layer by layer."""

import math
from typing import NamedTuple

import numpy as np

from ..backends.base import Data
from ..backends.numpy import Plan
from ..backends.numpy.recorder import signals, slopes
from ..backends.recorder import layers_of
from ..data import check_rows, evenly
from ..ops.figures import active, flat
from ..ops.regularization import NO_CLIP
from ..ops.table import Loss


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


def measure(network, loss, X, y, sample_weight=None):
    """-> Measured, of at most 1000 of the rows of X and y, drawn evenly; fewer where a row makes over 20 000 numbers.

    In float64, as in a step of training: a BatchNorm takes mean and variance of these rows, Dropout drops.  X, y and
    sample_weight are as ``Trainer.fit`` takes them; the network is built, and stays as it is.
    """
    plan = Plan(network.program, "float64", Loss.get(loss), None, 1, {}, NO_CLIP)
    numbers = sum(map(math.prod, network.program.value_shapes))  # that a row makes
    rows = Data(check_rows(X), y, sample_weight).take(evenly(len(X), width=numbers))
    arrays = {name: array.astype(np.float64) for name, array in network.arrays.items()}
    with np.errstate(all="ignore"):
        value, deltas, gradients, forward = plan.differentiate(arrays, rows)
        found = [_figures(plan, layer, network, deltas, gradients, forward) for layer in layers_of(plan)]
    if not found:
        raise ValueError(f"{network!r} has no weight to look at: no dense or convolutional layer")
    columns = {name: [one[name] for one in found] for name in found[0]}
    names = ("layers", "activations")
    return Measured(**{name: tuple(column) if name in names else np.array(column) for name, column in columns.items()},
                    loss=value, n_rows=len(rows.X))


def _figures(plan, layer, network, deltas, gradients, forward):
    """-> {field: figure} of a layer."""
    z, y = signals(plan, layer, forward)
    last, weight = layer.last, network.parameters[layer.weight]
    delta = plan.kernels.activation_adjoint(last.activation, deltas[last.output], z, forward.values[last.output])
    slope = slopes(plan, layer, z, y) if layer.least else None
    n, read = len(z), layer.maker.inputs[0]
    return {
        "layers": layer.name, "activations": layer.activation.name,
        "gradient_norm": np.linalg.norm(gradients[layer.weight]),
        "weight_norm": np.linalg.norm(weight.astype(np.float64)),
        "activation_mean": y.mean(), "activation_std": y.std(),
        "pre_activation_mean": z.mean(), "pre_activation_std": z.std(),
        "saturated": flat(slope, layer.least) if layer.saturates else np.nan,
        "dead": 1 - np.mean(active(slope, layer.least)) if layer.is_rectifier else np.nan,
        "delta_norm": n * _rms(delta), "input_delta_norm": n * _rms(deltas[read]),
        "input_norm": _rms(forward.values[read]),
        "alike": _alike(weight) and _alike(gradients[layer.weight]),
    }


def _rms(array):
    return np.sqrt(np.mean(np.square(array)))


def _alike(weight):
    """Whether all columns of a matrix with several are the same, up to roundings."""
    columns = weight.reshape(-1, weight.shape[-1])
    return columns.shape[1] > 1 and bool(np.ptp(columns, axis=1).max() <= 1e-6 * np.abs(columns).max())
