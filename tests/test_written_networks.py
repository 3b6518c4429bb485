"""Written activations in every place of a network: the witnesses of PyTorch, with tanh, relu and gelu written."""

import math

import pytest
from networks import CASES, Case
from test_networks import check_same, run, witness

import bpfast as bp
from bpfast.layers import Layer
from bpfast.ops import ACTIVATIONS
from bpfast.ops.table import Activation


@bp.activation
def written_tanh(x):
    return math.tanh(x)


@bp.activation
def written_relu(x):
    return max(x, 0.0)


@bp.activation
def written_gelu(x):
    return 0.5 * x * (1 + math.erf(x * math.sqrt(0.5)))


WRITTEN = {"tanh": written_tanh, "relu": written_relu, "gelu": written_gelu}


def rewritten(thing):
    """A layer, an activation or some of these, with the written activations in the places of their models."""
    if isinstance(thing, Layer):
        twin = object.__new__(type(thing))
        twin._set(**{name: rewritten(value) for name, value in thing._fields().items()})
        return twin
    if isinstance(thing, list | tuple):
        return type(thing)(map(rewritten, thing))
    if isinstance(thing, Activation):
        return WRITTEN.get(thing.name, thing)
    return thing


def test_the_back_of_a_gate_is_relus():
    assert written_relu.adjoint is ACTIVATIONS["relu"].adjoint and written_relu.keeps == "y"
    assert written_tanh.adjoint is not ACTIVATIONS["relu"].adjoint


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if rewritten(case.layers) != case.layers])
def test_witness(engine, dtype, name):
    case, (expected, start) = CASES[name], witness(name)
    check_same(run(Case(rewritten(case.layers), *case[1:]), engine, dtype, *start), expected, dtype)
