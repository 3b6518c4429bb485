"""What each kind of instruction does, by the texts of the ops.

forward(i, inputs, parameters, statistics, draw) -> z, kept
backward(i, delta, inputs, parameters, statistics, kept) -> [dE/d(input)], [dE/d(parameter)]
learn(i, statistics, kept) -> [statistics after a step]; None where it has none to learn

i           the Instruction
inputs      [array (batch, ...)]; parameters, statistics: [array] as the instruction names them
draw        (seed, step) in training, None in prediction
kept        what the other two need of the forward pass, besides
delta       dE/dz, like z
"""

from collections.abc import Callable
from typing import NamedTuple

from ...ops.conv import conv_backward, conv_forward
from ...ops.dense import dense_backward, dense_forward
from ...ops.dropout import (
    alpha_dropout_constants,
    dropout_backward,
    dropout_constants,
    dropout_factors,
    dropout_forward,
    dropout_mask,
)
from ...ops.norms import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_learn,
    layer_norm_backward,
    layer_norm_forward,
    normalize,
    standardize_backward,
    standardize_forward,
)
from ...ops.pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward


class Kind(NamedTuple):
    forward: Callable
    backward: Callable
    learn: Callable | None = None


def _dense_forward(i, inputs, parameters, statistics, draw):
    return dense_forward(*inputs, *parameters), None


def _dense_backward(i, delta, inputs, parameters, statistics, kept):
    dx, *gradients = dense_backward(delta, *inputs, parameters[0])
    return [dx], gradients


def _conv_forward(i, inputs, parameters, statistics, draw):
    kernel, bias = _kernel(i, parameters), parameters[1] if len(parameters) > 1 else None
    return conv_forward(*inputs, kernel, bias, i.settings.stride, i.settings.padding), None


def _conv_backward(i, delta, inputs, parameters, statistics, kept):
    dx, dkernel, dbias = conv_backward(delta, *inputs, _kernel(i, parameters), i.settings.stride, i.settings.padding)
    return [dx], [dkernel.reshape(parameters[0].shape), dbias][: len(parameters)]


def _kernel(i, parameters):
    """(kh, kw, c_in, c_out), also of a sequence."""
    return parameters[0].reshape(*i.settings.size, *parameters[0].shape[-2:])


def _max_pool_forward(i, inputs, parameters, statistics, draw):
    return max_pool_forward(*inputs, *i.settings)


def _max_pool_backward(i, delta, inputs, parameters, statistics, winner):
    return [max_pool_backward(delta, winner, inputs[0].shape, *i.settings)], []


def _avg_pool_forward(i, inputs, parameters, statistics, draw):
    return avg_pool_forward(*inputs, *i.settings), None


def _avg_pool_backward(i, delta, inputs, parameters, statistics, kept):
    return [avg_pool_backward(delta, inputs[0].shape, *i.settings)], []


def _activation_forward(i, inputs, parameters, statistics, draw):
    return inputs[0], None


def _activation_backward(i, delta, inputs, parameters, statistics, kept):
    return [delta], []


def _reshape_forward(i, inputs, parameters, statistics, draw):
    return inputs[0].reshape(-1, *i.settings), None


def _reshape_backward(i, delta, inputs, parameters, statistics, kept):
    return [delta.reshape(inputs[0].shape)], []


def _add_forward(i, inputs, parameters, statistics, draw):
    return inputs[0] + inputs[1], None


def _add_backward(i, delta, inputs, parameters, statistics, kept):
    return [delta, delta], []


def _scale_forward(i, inputs, parameters, statistics, draw):
    return inputs[0] * parameters[0], None


def _scale_backward(i, delta, inputs, parameters, statistics, kept):
    return [delta * parameters[0]], [(delta * inputs[0]).reshape(-1, parameters[0].size).sum(axis=0)]


def _standardize_forward(i, inputs, parameters, statistics, draw):
    mean, deviation, _ = statistics
    return standardize_forward(*inputs, mean, deviation), None


def _standardize_backward(i, delta, inputs, parameters, statistics, kept):
    return [standardize_backward(delta, statistics[1])], []


def _noise(constants):
    """The kind of instruction that drops units; constants(rate) -> a, b, c of dropout.py."""

    def forward(i, inputs, parameters, statistics, draw):
        if draw is None:
            return inputs[0], None
        x, (seed, step) = inputs[0], draw
        mask = dropout_mask(seed, i.settings.number, step, x.shape, i.settings.rate)
        factor, addend = dropout_factors(mask, constants(i.settings.rate), x.dtype)
        return dropout_forward(x, factor, addend), factor

    def backward(i, delta, inputs, parameters, statistics, factor):
        return [dropout_backward(delta, factor)], []

    return Kind(forward, backward)


def _batch_norm_forward(i, inputs, parameters, statistics, draw):
    scale, shift = parameters or (1, 0)
    if draw is None:
        return normalize(*inputs, scale, shift, *statistics, i.settings.eps), None
    y, mean, variance = batch_norm_forward(*inputs, scale, shift, i.settings.eps)
    return y, (mean, variance, inputs[0].size // mean.size)


def _batch_norm_backward(i, delta, inputs, parameters, statistics, kept):
    scale = parameters[0] if parameters else 1
    mean, variance, _ = kept
    dx, *gradients = batch_norm_backward(delta, *inputs, scale, mean, variance, i.settings.eps)
    return [dx], gradients[: len(parameters)]


def _batch_norm_learn(i, statistics, kept):
    return batch_norm_learn(*statistics, *kept, i.settings.momentum)


def _layer_norm_forward(i, inputs, parameters, statistics, draw):
    return layer_norm_forward(*inputs, *(parameters or (1, 0)), i.settings.eps), None


def _layer_norm_backward(i, delta, inputs, parameters, statistics, kept):
    dx, *gradients = layer_norm_backward(delta, *inputs, parameters[0] if parameters else 1, i.settings.eps)
    return [dx], gradients[: len(parameters)]


KINDS = {
    "dense": Kind(_dense_forward, _dense_backward),
    "conv": Kind(_conv_forward, _conv_backward),
    "max_pool": Kind(_max_pool_forward, _max_pool_backward),
    "avg_pool": Kind(_avg_pool_forward, _avg_pool_backward),
    "activation": Kind(_activation_forward, _activation_backward),
    "reshape": Kind(_reshape_forward, _reshape_backward),
    "add": Kind(_add_forward, _add_backward),
    "scale": Kind(_scale_forward, _scale_backward),
    "standardize": Kind(_standardize_forward, _standardize_backward),
    "dropout": _noise(dropout_constants),
    "alpha_dropout": _noise(alpha_dropout_constants),
    "batch_norm": Kind(_batch_norm_forward, _batch_norm_backward, _batch_norm_learn),
    "layer_norm": Kind(_layer_norm_forward, _layer_norm_backward),
}
