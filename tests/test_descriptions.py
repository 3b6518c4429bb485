"""Layers, optimizers, schedules and initializers: fixed once made, equal by value, printed as they are written."""

import copy
import math
import pickle

import numpy as np
import pytest

import bpfast as bp
from bpfast.ops import ACTIVATIONS
from bpfast.optimizers import OPTIMIZERS

LEAKY = ACTIVATIONS["leaky_relu"](slope=0.2)
NAMES = {**vars(bp), "ACTIVATIONS": ACTIVATIONS}

DESCRIPTIONS = [
    bp.Dense(3), bp.Dense(4), bp.Dense(3, "relu"), bp.Dense(3, LEAKY), bp.Dense(3, "leaky_relu"), bp.Dense(3, name="a"),
    bp.Dense(3, "relu", initializer="glorot"), bp.Dense(3, initializer="he"),
    bp.Residual(bp.Dense(3)), bp.Residual(bp.Dense(3), name="b"), bp.Residual(bp.Dense(3), bp.Dense(3)),
    bp.Residual(bp.Residual(bp.Dense(3))), bp.Residual(bp.Dense(3), shortcut=bp.Dense(3)),
    bp.Residual(bp.Dense(3), shortcut=[bp.Dense(3), bp.BatchNorm()], name="b"),
    bp.Activation("relu"), bp.Activation(LEAKY), bp.Activation("relu", name="a"), bp.Flatten(), bp.Flatten(name="a"),
    bp.Scale(), bp.Scale(0.5), bp.Standardize(), bp.Dropout(), bp.Dropout(0.1), bp.AlphaDropout(),
    bp.AlphaDropout(0.1), bp.AlphaDropout(0.1, name="a"), bp.BatchNorm(), bp.BatchNorm(momentum=0.5),
    bp.BatchNorm(eps=0.5), bp.BatchNorm(affine=False), bp.LayerNorm(), bp.LayerNorm(eps=0.5),
    bp.LayerNorm(affine=False), bp.Conv2D(3), bp.Conv2D(3, 5), bp.Conv2D(3, (5, 3)), bp.Conv2D(3, 3, LEAKY),
    bp.Conv2D(3, stride=2),    bp.Conv2D(3, stride=(2, 1)), bp.Conv2D(3, padding="valid"), bp.Conv2D(3, bias=False),
    bp.Conv2D(3, initializer="he"), bp.Conv2D(3, name="a"), bp.Conv1D(3), bp.Conv1D(3, 5),
    bp.Conv1D(3, 5, "relu", stride=2, padding="valid", bias=False, name="a"), bp.MaxPool2D(), bp.MaxPool2D(3),
    bp.MaxPool1D(), bp.MaxPool1D(3, 1), bp.AvgPool1D(), bp.AvgPool1D(padding="same"), bp.GlobalAvgPool1D(),
    bp.MaxPool2D((2, 3)), bp.MaxPool2D(3, 1), bp.MaxPool2D(stride=1), bp.MaxPool2D(padding="same"), bp.AvgPool2D(),
    bp.AvgPool2D(3, 2), bp.GlobalAvgPool2D(), bp.GlobalAvgPool2D(name="a"), bp.ResidualBlock(3),
    bp.ResidualBlock(3, stride=2, name="a"),
    bp.SGD(), bp.SGD(0.5), bp.Adam(), bp.Adam(0.5), bp.Adam(beta1=0.5), bp.Adam(beta2=0.5), bp.Adam(epsilon=0.5),
    bp.Glorot(), bp.Glorot("normal"), bp.Glorot(gain=2), bp.Glorot(gain="tanh"), bp.Glorot("normal", LEAKY),
    bp.He(), bp.He("uniform"), bp.LeCun(), bp.LeCun("uniform"), bp.LeCun(gain="selu"),
    bp.Orthogonal(), bp.Orthogonal(2), bp.Orthogonal("relu"), bp.Zeros(), bp.Constant(0), bp.Constant(0.5),
    bp.Uniform(), bp.Uniform(-1), bp.Uniform(high=1), bp.Normal(), bp.Normal(0, 1), bp.Normal(1), bp.TruncatedNormal(),
    bp.TruncatedNormal(deviation=1),
    bp.Momentum(), bp.Momentum(momentum=0.5), bp.Nesterov(), bp.AdaGrad(), bp.AdaGrad(epsilon=0.5), bp.Adadelta(),
    bp.RMSProp(), bp.RMSProp(momentum=0.5), bp.RMSProp(centered=True), bp.Adamax(), bp.Nadam(), bp.AMSGrad(),
    bp.Nadam(momentum_decay=0), bp.AdamW(), bp.AdamW(weight_decay=0.5), bp.Lion(), bp.Rprop(), bp.Rprop(eta_minus=0.4),
    bp.SGD(bp.ConstantRate(0.01)), bp.Adam(bp.CosineDecay(1e-3, epochs=3)), bp.ConstantRate(0.5),
    bp.StepDecay(0.1, 5), bp.StepDecay(0.1, 5, 0.5), bp.ExponentialDecay(0.1, 0.5), bp.InverseScaling(0.1),
    bp.PolynomialDecay(0.1, 5), bp.PolynomialDecay(0.1, 5, power=2), bp.PolynomialDecay(0.1, 5, minimum=0.1),
    bp.CosineDecay(0.1, 5), bp.CosineRestarts(0.1, 5), bp.CosineRestarts(0.1, 5, 2), bp.OneCycle(0.1, 5),
    bp.WarmUp(bp.CosineDecay(0.1, 5), 3), bp.WarmUp(bp.CosineDecay(0.1, 5), 3, start=0.1),
    bp.ReduceOnPlateau(0.1), bp.ReduceOnPlateau(0.1, metric="val_accuracy", mode="max"),
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
    (lambda: bp.Dense(3, "swich"), "unknown activation 'swich'; choose one of: linear, relu"),
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


NUMBERS = {  # what is made with numbers: those that it needs; every other one has a default
    **{bp.WarmUp: (bp.ConstantRate(1), 5), bp.StepDecay: (1, 5), bp.ExponentialDecay: (1, 0.5)},
    **{kind: (1, 5) for kind in (bp.PolynomialDecay, bp.CosineDecay, bp.CosineRestarts, bp.OneCycle)},
    **{kind: (1,) for kind in (bp.ConstantRate, bp.InverseScaling, bp.ReduceOnPlateau)},
    **dict.fromkeys(OPTIMIZERS.values(), ()),
}
NOT_NUMBERS = ("centered", "schedule", "metric", "mode", "patience", "cooldown")


@pytest.mark.parametrize("kind, field", [
    (kind, field) for kind in NUMBERS for field in kind.__slots__ if field not in NOT_NUMBERS
], ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, True, 1j])
def test_refused_numbers(kind, field, value):
    given = dict(zip(kind.__slots__, NUMBERS[kind]))
    kind(**given)
    with pytest.raises(ValueError, match=rf"{kind.__name__}: {field} must be a number in [\[(][^,]*, [^,]*, got"):
        kind(**{**given, field: value})


def test_what_they_are_without_arguments():
    assert bp.SGD() == bp.SGD(0.01) and bp.Adam() == bp.Adam(0.001, 0.9, 0.999, 1e-8)


def test_betas_are_below_one():
    for settings in ({"beta1": 1}, {"beta2": 1}, {"beta1": 2}):
        with pytest.raises(ValueError, match=r"must be a number in \[0, 1\)"):
            bp.Adam(**settings)
    bp.Adam(beta1=0, beta2=0)


@pytest.mark.parametrize("make, error, message", [
    (lambda: bp.SGD([0.1]), ValueError, r"SGD: learning_rate must be a number in \[0, inf\), got \[0.1\]"),
    (lambda: bp.Momentum(momentum=1), ValueError, r"Momentum: momentum must be a number in \[0, 1\), got 1"),
    (lambda: bp.RMSProp(centered=1), ValueError, "RMSProp: centered must be True or False, got 1"),
    (lambda: bp.Rprop(eta_plus=1), ValueError, r"Rprop: eta_plus must be a number in \(1, inf\), got 1"),
    (lambda: bp.Rprop(delta_min=0), ValueError, "Rprop: delta_min must be a number in .1e-30, inf"),
    (lambda: bp.Rprop(delta_min=2, delta_max=1), ValueError, "delta_min must be at most delta_max, got 2 and 1"),
    (lambda: bp.Rprop(bp.CosineDecay(0.1, 5)), ValueError, "Rprop: learning_rate is where step widths begin"),
    (lambda: bp.CosineDecay(0.1, 5, minimum=0.2), ValueError, r"CosineDecay: minimum must be a number in \[0, 0.1\]"),
    (lambda: bp.StepDecay(0.1, 5, factor=0), ValueError, r"StepDecay: factor must be a number in \(0, 1\], got 0"),
    (lambda: bp.WarmUp(0.1, 5), TypeError, r"WarmUp: schedule must be a schedule, such as ConstantRate.*got 0.1"),
    (lambda: bp.ReduceOnPlateau(0.1, patience=-1), ValueError, "ReduceOnPlateau: patience must be an integer"),
    (lambda: bp.ReduceOnPlateau(0.1, cooldown=1.5), ValueError, "ReduceOnPlateau: cooldown must be an integer"),
    (lambda: bp.ReduceOnPlateau(0.1, mode="up"), ValueError, 'mode must be "auto", "min" or "max", got .up'),
    (lambda: bp.ReduceOnPlateau(0.1, metric=None), ValueError, "metric must be a name such as 'val_loss', got None"),
])
def test_refused_optimizers_and_schedules(make, error, message):
    with pytest.raises(error, match=message):
        make()
