"""Where the first number that is not finite stands."""

import numpy as np
import pytest

import bpfast as bp
from bpfast.divergence import find_culprit

D, A = bp.Dense, bp.Activation
NORM = bp.BatchNorm()


def culprit(layers, **broken):
    """Of a network of two inputs, all 1, and weights of 1, with these arrays of another value."""
    net = bp.Network(layers, input_shape=2)
    arrays = {name: np.full_like(array, 1) for name, array in net.arrays.items()}
    for name, value in broken.items():
        arrays[name][...] = value
    with np.errstate(all="raise"):
        return find_culprit(net, arrays, np.ones((3, 2)))


@pytest.mark.parametrize("layers, broken, layer", [
    ([D(4), A("exponential"), D(3)], {"0.weight": 1e3}, "1"),
    ([D(4), NORM, A("exponential"), D(3)], {"1.shift": 1e3}, "2"),
    ([bp.Residual(D(2)), A("exponential"), D(3)], {"0.0.weight": 1e3}, "1"),
    ([D(4), A("relu"), A("exponential"), A("exponential"), D(3)], {"0.weight": 2}, "3"),
    ([D(4), A("exponential"), D(3)], {"0.weight": 3e38}, "0"),
    ([D(4, "exponential"), D(3)], {"0.weight": 1e3}, "0"),
    ([D(4), A("tanh"), D(3), A("relu"), D(2)], {"4.weight": 3e38, "2.weight": 1e5}, "4"),
])
def test_the_layer_is_named(layers, broken, layer):
    """Also of an Activation, which a plan does within the instruction before it."""
    assert culprit(layers, **broken) == f"in the output of layer '{layer}'"


def test_parameters_and_statistics_are_told_apart():
    assert culprit([D(4), NORM, D(1)], **{"0.weight": np.nan}) == "in parameter '0.weight'"
    assert culprit([D(4), NORM, D(1)], **{"1.variance": np.inf}) == "in statistic '1.variance'"


def test_finite_outputs():
    assert culprit([D(4), A("relu"), D(1)], **{"2.weight": 1e30}) == "in the loss: the network's outputs reach 1.2e+31"
