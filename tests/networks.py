"""The networks that are compared with PyTorch: what they are, and where they start."""

from typing import NamedTuple

import numpy as np
from samples import targets_for

import bpfast as bp
from bpfast.ops import ACTIVATIONS, LOSSES
from bpfast.ops.table import Loss


class Case(NamedTuple):
    """A network with its loss; ``weighted``: rows have weights, and those of the second batch are all zero."""

    layers: list
    loss: str | Loss
    input_shape: int | tuple = 5
    weighted: bool = False


N_ROWS, BATCH_SIZE, EPOCHS = 23, 5, 2  # the last batch has 3 rows
RATES = {"sgd": 0.1, "adam": 0.01}

D, R = bp.Dense, bp.Residual
STEEP, SHALLOW = ACTIVATIONS["leaky_relu"](slope=0.2), ACTIVATIONS["elu"](alpha=0.3)

DENSE = {
    "linear-1": Case([D(1)], "squared_error"),
    "relu-1": Case([D(9, "relu"), D(18, "relu"), D(1)], "squared_error", 7),
    "relu-10": Case([D(17, "relu"), D(10, "softmax")], "cross_entropy"),
    "tanh-10": Case([D(8, "tanh"), D(10, "softmax")], "cross_entropy"),
    "tanh-1": Case([D(8, "tanh"), D(1, "tanh")], "squared_error", 33),
    "sigmoid-17": Case([D(7, "sigmoid"), D(17, "sigmoid")], "squared_error"),
    "gelu-17": Case([D(6, "gelu"), D(6, "gelu"), D(17)], "squared_error"),
    "leaky_relu-10": Case([D(6, "leaky_relu"), D(6, STEEP), D(10, "softmax")], "cross_entropy"),
    "elu-10": Case([D(9, "elu"), D(8, SHALLOW), D(7, "selu"), D(10, "softmax")], "cross_entropy"),
    "swish-17": Case([D(9, "silu"), D(8, "mish"), D(7, "gelu_tanh"), D(17, "softplus")], "squared_error"),
    "hard-10": Case([D(9, "hard_tanh"), D(8, "hard_sigmoid"), D(7, "relu6"), D(10, "softmax")], "cross_entropy"),
    "exponential-1": Case([D(7, "softsign"), D(1, "exponential")], "squared_error"),
    "softmax-within": Case([D(6, "softmax"), D(3, "softmax")], "cross_entropy"),
    "softmax-squared": Case([D(6, "tanh"), D(4, "softmax")], "squared_error"),
    "wide-1000": Case([D(2, "tanh"), D(1000, "softmax")], "cross_entropy"),
    "residual": Case([D(8, "tanh"), R(D(6, "relu"), D(8)), D(10, "softmax")], "cross_entropy"),
    "residual-of-one": Case([R(D(5, "tanh")), R(D(5, "sigmoid"))], "squared_error"),
    "residual-nested": Case([R(D(6, "tanh"), R(D(4, "gelu"), R(D(4)), D(6)), D(5)), D(3)], "squared_error"),
    "residual-softmax": Case([R(D(5, "softmax")), D(17, "softmax")], "cross_entropy"),
    "weighted": Case([D(6, "tanh"), D(10, "softmax")], "cross_entropy", weighted=True),
    "weighted-1": Case([D(6, "gelu"), D(1)], "squared_error", weighted=True),
    "mean_squared_error-17": Case([D(6, "tanh"), D(17)], "mean_squared_error"),
    "mean_absolute_error-sigmoid": Case([D(6, "tanh"), D(3, "sigmoid")], "mean_absolute_error"),
    "huber-3": Case([D(6, "tanh"), D(3)], "huber"),
    "huber-tanh": Case([D(6, "sigmoid"), D(17, "tanh")], LOSSES["huber"](delta=0.4), weighted=True),
    "quantile-1": Case([D(6, "tanh"), D(1)], LOSSES["quantile"](q=0.9)),
    "log_cosh-3": Case([D(6, "gelu"), D(3)], "log_cosh"),
    "binary-1": Case([D(6, "relu"), D(1, "sigmoid")], "binary_cross_entropy"),
    "binary-17": Case([D(6, "tanh"), D(17, "sigmoid")], "binary_cross_entropy", weighted=True),
    "binary-softmax": Case([D(6, "tanh"), D(4, "softmax")], "binary_cross_entropy"),
    "binary-residual": Case([D(3, "tanh"), R(D(6, "tanh"), D(3))], "sigmoid_binary_cross_entropy"),
    "poisson-sigmoid": Case([D(6, "tanh"), D(17, "sigmoid")], "poisson"),
    "poisson-exponential": Case([D(6, "tanh"), D(3)], "exponential_poisson", weighted=True),
    "hinge-1": Case([D(6, "tanh"), D(1)], "hinge"),
    "hinge-tanh": Case([D(6, "tanh"), D(17, "tanh")], "hinge"),
    "smoothing-10": Case([D(6, "tanh"), D(10, "softmax")], LOSSES["cross_entropy"](smoothing=0.1), weighted=True),
    "smoothing-logits": Case([D(6, "tanh"), D(3)], LOSSES["softmax_cross_entropy"](smoothing=0.3)),
}
BEYOND = {  # dense
    "conv-same": Case(
        [bp.Conv2D(3, 3, "tanh"), bp.Conv2D(1, (2, 4), "sigmoid")], "binary_cross_entropy", (3, 5, 2), weighted=True),
    "conv-valid": Case(
        [bp.Conv2D(2, (3, 2), "tanh", padding="valid", stride=(2, 1)), bp.Conv2D(3, 2, stride=(1, 3), bias=False),
         bp.Flatten(), bp.Activation("gelu"), D(2, "softmax")], "cross_entropy", (8, 7, 1)),
    "conv-1d": Case(
        [bp.Conv1D(3, 3, "tanh"), bp.Conv1D(3, 2, "gelu", stride=2, padding="valid", bias=False),
         bp.Conv1D(1, 4, stride=2)], "squared_error", (9, 2)),
    "pool": Case(
        [bp.Standardize(), bp.AvgPool2D((3, 2), stride=1, padding="same"), bp.Conv2D(2, 2, "tanh"),
         bp.MaxPool2D(3, stride=2, padding="same"), bp.AvgPool2D(2, padding="valid"), bp.Flatten(), D(2)],
        "squared_error", (8, 7, 2)),
    "pool-1d": Case(
        [bp.AvgPool1D(3, 1, padding="same"), bp.Conv1D(3, 2, "tanh"), bp.MaxPool1D(3, 2), bp.GlobalAvgPool1D(), D(2)],
        "squared_error", (9, 2)),
    "batch_norm": Case(
        [D(4, "tanh"), bp.BatchNorm(), bp.Activation("gelu"), bp.BatchNorm(momentum=0.3, eps=1e-3, affine=False), D(2)],
        "squared_error"),
    "batch_norm-images": Case(
        [bp.Conv2D(2, 2, bias=False), bp.BatchNorm(), bp.Activation("tanh"), bp.Conv2D(3, 1, bias=False),
         bp.BatchNorm(momentum=1.0, affine=False), bp.Activation("gelu"), bp.MaxPool2D(2), bp.Flatten(),
         D(2, "softmax")], "cross_entropy", (4, 3, 2), weighted=True),
    "layer_norm": Case(
        [bp.LayerNorm(affine=False), D(6, "tanh"), bp.LayerNorm(eps=1e-3), R(bp.Scale(0.1)), D(2)], "squared_error",
        weighted=True),
    "layer_norm-images": Case(
        [bp.LayerNorm(eps=1e-2), bp.Conv2D(3, 2, "tanh"), bp.LayerNorm(affine=False), bp.GlobalAvgPool2D(), D(2)],
        "squared_error", (4, 3, 3)),
    "projection": Case(
        [R(bp.Conv2D(2, 3, "tanh", stride=2), shortcut=bp.AvgPool2D(2, padding="same")),
         R(bp.Flatten(), D(3, "tanh"), shortcut=[bp.GlobalAvgPool2D(), D(3)])], "squared_error", (3, 4, 2)),
}
CASES = DENSE | BEYOND
LARGE = {  # whose witnesses would be large files
    "residual_block": Case(
        [bp.ResidualBlock(3), bp.ResidualBlock(2, stride=2), bp.GlobalAvgPool2D(), D(2)], "squared_error", (6, 5, 3)),
    "resnet": Case(bp.resnet(1, (3, 4), 3).layers, "cross_entropy", (8, 7, 3), weighted=True),
    "projection-norm": Case(
        [R(D(6, "gelu"), D(4), shortcut=D(4)), R(D(3, "tanh"), shortcut=[D(3, "tanh"), bp.BatchNorm()])],
        "squared_error"),
}


def network(case, arrays, dtype):
    """The network of a case with these parameters and statistics (name -> array)."""
    net = bp.Network(case.layers, input_shape=case.input_shape, dtype=dtype)
    for name, array in arrays.items():
        (net.parameters if name in net.parameters else net.statistics)[name] = array
    return net


def starting_point(case, seed=0):
    """-> X, y, weight or None, parameters and statistics: float32 numbers, so that both dtypes start from the same."""
    rng = np.random.default_rng(seed)
    net = bp.Network(case.layers, input_shape=case.input_shape)
    n_out = net.program.n_out
    arrays = {
        name: (rng.normal(size=array.shape) / np.sqrt(np.prod(array.shape[:-1] or array.shape))).astype("f4")
        for name, array in net.parameters.items()
    }
    arrays |= {name: rng.uniform(0.5, 2, array.shape).astype("f4") for name, array in net.statistics.items()}
    X = rng.normal(size=(N_ROWS, *net.input_shape)).astype("f4")
    if X.ndim > 2:
        X = np.round(16 * X) / 16  # which leaves small files
    labels, numbers = rng.integers(n_out, size=N_ROWS), rng.normal(size=(N_ROWS, n_out)).astype("f4")
    y = targets_for(Loss.get(case.loss), labels, numbers)
    if y.ndim > 1:
        y = y.reshape(N_ROWS, *net.program.output_shape)
    if not case.weighted:
        return X, y, None, arrays
    weight = rng.integers(1, 5, N_ROWS).astype(float)
    weight[BATCH_SIZE : 2 * BATCH_SIZE] = 0
    return X, y, weight, arrays
