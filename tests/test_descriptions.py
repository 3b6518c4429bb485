"""Layers, optimizers and initializers: fixed once made, equal by value, printed as they are written."""

import copy
import math
import pickle

import numpy as np
import pytest

import bpfast as bp
from bpfast.ops import ACTIVATIONS, UPDATES

LEAKY = ACTIVATIONS["leaky_relu"](slope=0.2)
NAMES = {**vars(bp), "ACTIVATIONS": ACTIVATIONS}

DESCRIPTIONS = [
    bp.Dense(3), bp.Dense(4), bp.Dense(3, "relu"), bp.Dense(3, LEAKY), bp.Dense(3, "leaky_relu"), bp.Dense(3, name="a"),
    bp.Dense(3, "relu", initializer="glorot"), bp.Dense(3, initializer="he"),
    bp.Residual(bp.Dense(3)), bp.Residual(bp.Dense(3), name="b"), bp.Residual(bp.Dense(3), bp.Dense(3)),
    bp.Residual(bp.Residual(bp.Dense(3))),
    bp.SGD(), bp.SGD(0.5), bp.Adam(), bp.Adam(0.5), bp.Adam(beta1=0.5), bp.Adam(beta2=0.5), bp.Adam(epsilon=0.5),
    bp.Glorot(), bp.Glorot("normal"), bp.Glorot(gain=2), bp.Glorot(gain="tanh"), bp.Glorot("normal", LEAKY),
    bp.He(), bp.He("uniform"), bp.LeCun(), bp.LeCun("uniform"), bp.LeCun(gain="selu"),
    bp.Orthogonal(), bp.Orthogonal(2), bp.Orthogonal("relu"), bp.Zeros(), bp.Constant(0), bp.Constant(0.5),
    bp.Uniform(), bp.Uniform(-1), bp.Uniform(high=1), bp.Normal(), bp.Normal(0, 1), bp.Normal(1), bp.TruncatedNormal(),
    bp.TruncatedNormal(deviation=1),
]  # fmt: skip

every = pytest.mark.parametrize("thing", DESCRIPTIONS, ids=repr)


@every
def test_equal_by_value(thing):
    """It equals its copies, and nothing else in the list; equal things have equal hashes."""
    for same in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing)), eval(repr(thing), NAMES)):
        assert same == thing and hash(same) == hash(thing) and repr(same) == repr(thing)
    assert [other for other in DESCRIPTIONS if other == thing] == [thing]
    assert thing != repr(thing) and thing is not None


@every
def test_fixed(thing):
    for name in [*thing.__slots__, "other"]:
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(thing, name, 1)
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(thing, name)


def test_abbreviations():
    assert bp.Dense(3, "relu") == bp.Dense(3, ACTIVATIONS["relu"]) == bp.Dense(np.int64(3), "relu")
    assert bp.Dense(3, initializer="glorot") == bp.Dense(3, "linear", initializer=bp.Glorot())
    assert bp.SGD(1) == bp.SGD(1.0) == bp.SGD(np.float64(1)) and bp.Adam(1e-3) == bp.Adam()


@pytest.mark.parametrize("units", [0, -1, 2.0, "3", None, True, [3]])
def test_refused_units(units):
    with pytest.raises(ValueError, match="Dense: units must be an integer of at least 1, got"):
        bp.Dense(units)


@pytest.mark.parametrize("make, message", [
    (lambda: bp.Dense(3, "swish"), "unknown activation 'swish'; choose one of: linear, relu"),
    (lambda: bp.Dense(3, max), "unknown activation"),
    (lambda: bp.Dense(3, name=""), "Dense: name must be a string without dots"),
    (lambda: bp.Dense(3, name="a.b"), "Dense: name must be a string without dots, got 'a.b'"),
    (lambda: bp.Dense(3, name=3), "Dense: name"),
    (lambda: bp.Residual(bp.Dense(3), name="a.b"), "Residual: name"),
    (lambda: bp.Residual(), "Residual needs at least one layer"),
])
def test_refused_layers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_residual_of_something_else():
    with pytest.raises(TypeError, match=r"Residual: layer 1 must be a layer.*got 3"):
        bp.Residual(bp.Dense(3), 3)


@pytest.mark.parametrize("make, field", [
    (bp.SGD, "learning_rate"), (bp.Adam, "learning_rate"),
    (lambda value: bp.Adam(epsilon=value), "epsilon"),
    (lambda value: bp.Adam(beta1=value), "beta1"), (lambda value: bp.Adam(beta2=value), "beta2"),
])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, True, 1j])
def test_refused_numbers(make, field, value):
    with pytest.raises(ValueError, match=f"{field} must be a number"):
        make(value)


def test_what_they_are_without_arguments():
    assert bp.SGD() == bp.SGD(0.01) and bp.Adam() == bp.Adam(0.001, 0.9, 0.999, 1e-8)


def test_betas_are_below_one():
    for settings in ({"beta1": 1}, {"beta2": 1}, {"beta1": 2}):
        with pytest.raises(ValueError, match=r"must be a number in \[0, 1\)"):
            bp.Adam(**settings)
    bp.Adam(beta1=0, beta2=0)


@pytest.mark.parametrize("optimizer", [bp.SGD(0.3), bp.Adam(0.3, 0.7, 0.95, 1e-4)], ids=repr)
def test_coefficients_of_many_steps(optimizer):
    """A row per step: the learning rate, then what the table's text gives in double precision."""
    found = optimizer.coefficients(5, 4)
    assert found.dtype == np.float64 and len(found) == 4
    for row, t in zip(found, (5, 6, 7, 8), strict=True):
        expected = (0.3, *optimizer.update.coefficients(t, 0.3, *optimizer.update.values))
        np.testing.assert_allclose(row, expected, rtol=1e-15)
    assert optimizer.update.name in UPDATES


def test_coefficients_after_very_many_steps():
    """The bias corrections of Adam end at one."""
    np.testing.assert_allclose(bp.Adam(0.3).coefficients(10**9, 1)[0, -2:], [0.3, 1e-8], rtol=1e-15)
