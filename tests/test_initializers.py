"""Initial weights: moments, bounds, orthogonality, gains, names, and what is refused."""

import math

import numpy as np
import pytest

import bpfast as bp
from bpfast.initializers import GAINS, INITIALIZERS, gain
from bpfast.ops import ACTIVATIONS

N_IN, N_OUT = 300, 500
UNIFORM, NORMAL = 1.8, 3.0  # the fourth moments of variance 1
CUT = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))  # the variance within two deviations
LEAKY = ACTIVATIONS["leaky_relu"](slope=0.5)

MOMENTS = [  # initializer, mean, variance, fourth moment
    (bp.Uniform(-1, 3), 1, 16 / 12, UNIFORM),
    (bp.Normal(0.5, 0.1), 0.5, 0.01, NORMAL),
    (bp.Glorot(), 0, 2 / (N_IN + N_OUT), UNIFORM),
    (bp.Glorot("normal"), 0, 2 / (N_IN + N_OUT), NORMAL),
    (bp.Glorot("normal", gain="tanh"), 0, 25 / 9 * 2 / (N_IN + N_OUT), NORMAL),
    (bp.Glorot(gain=3), 0, 9 * 2 / (N_IN + N_OUT), UNIFORM),
    (bp.He(), 0, 2 / N_IN, NORMAL),
    (bp.He("uniform"), 0, 2 / N_IN, UNIFORM),
    (bp.LeCun(), 0, 1 / N_IN, NORMAL),
    (bp.LeCun("uniform"), 0, 1 / N_IN, UNIFORM),
    (bp.LeCun("uniform", gain=LEAKY), 0, 1.6 / N_IN, UNIFORM),
]


def draw(initializer, shape=(N_IN, N_OUT), seed=3):
    weight = initializer(np.random.default_rng(seed), shape)
    assert weight.shape == shape and weight.dtype == np.float64 and weight.flags.c_contiguous
    return weight


@pytest.mark.parametrize("initializer, mean, variance, fourth", MOMENTS, ids=lambda value: repr(value))
def test_moments(initializer, mean, variance, fourth):
    """Mean, variance and fourth moment within four and a half standard errors; a uniform draw within its bounds."""
    z = (draw(initializer) - mean) / math.sqrt(variance)
    near = 4.5 / math.sqrt(z.size)
    assert abs(z.mean()) < near
    assert abs((z**2).mean() - 1) < near * math.sqrt(fourth - 1)
    assert abs((z**4).mean() - fourth) < near * 10  # the eighth moment of a normal number is 105
    if fourth == UNIFORM:
        assert 0.999 * math.sqrt(3) < np.abs(z).max() <= math.sqrt(3) * (1 + 1e-12)


def test_truncated_normal():
    """Nothing beyond two deviations, and the density of a normal number within."""
    z = (draw(bp.TruncatedNormal(-1, 0.5)) + 1) / 0.5
    assert 1.999 < np.abs(z).max() <= 2
    assert abs(z.mean()) < 4.5 / math.sqrt(z.size)
    assert z.var() == pytest.approx(CUT, rel=0.015) and math.sqrt(CUT) == pytest.approx(0.8796, abs=1e-4)
    assert (np.abs(z) < 1).mean() == pytest.approx(math.erf(math.sqrt(0.5)) / math.erf(math.sqrt(2)), abs=0.006)


def test_constants():
    assert (draw(bp.Constant(0.25)) == 0.25).all() and not draw(bp.Zeros()).any()


def test_the_draws_of_glorot_and_he_stay():
    """Bit for bit as their papers write them: a seed gives the same network in every version."""
    limit, deviation = np.sqrt(6 / (N_IN + N_OUT)), np.sqrt(2 / N_IN)
    shape = N_IN, N_OUT
    np.testing.assert_array_equal(draw(bp.Glorot()), np.random.default_rng(3).uniform(-limit, limit, shape))
    np.testing.assert_array_equal(draw(bp.He()), np.random.default_rng(3).normal(0, deviation, shape))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (7, 7), (1, 4), (4, 1), (1, 1)])
def test_orthogonal(shape):
    w = draw(bp.Orthogonal(), shape)
    short = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(short, np.eye(min(shape)), atol=1e-14)
    np.testing.assert_allclose(draw(bp.Orthogonal("tanh"), shape), 5 / 3 * w, rtol=1e-14)


def test_orthogonal_is_uniform():
    """The trace of a uniform orthogonal matrix has mean 0 and variance 1; that of a bare QR is far off."""
    traces = [np.trace(draw(bp.Orthogonal(), (4, 4), seed)) for seed in range(400)]
    assert abs(np.mean(traces)) < 4.5 / math.sqrt(400)
    assert np.var(traces) == pytest.approx(1, abs=0.35)
    bare = [np.trace(np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]) for seed in range(400)]
    assert abs(np.mean(bare)) > 4.5 / math.sqrt(400)


@pytest.mark.parametrize("initializer", [*INITIALIZERS.values(), *(row[0] for row in MOMENTS)], ids=repr)
def test_seeds(initializer):
    """The same seed, the same weights; through a network as well."""
    np.testing.assert_array_equal(draw(initializer, (4, 3)), draw(initializer, (4, 3)))
    assert (draw(initializer, (4, 3)) != draw(initializer, (4, 3), seed=4)).any() == (initializer != bp.Zeros())
    net = bp.Network([bp.Dense(3, initializer=initializer)], input_shape=4, dtype="float64", seed=3)
    np.testing.assert_array_equal(net.parameters["0.weight"], draw(initializer, (4, 3)))
    assert not net.parameters["0.bias"].any()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_names(name):
    """A name means what it says, and every one has a formula and a source."""
    found = bp.Dense(3, initializer=name).initializer
    family, _, distribution = name.partition("_")
    classes = {"xavier": bp.Glorot, "glorot": bp.Glorot, "he": bp.He, "lecun": bp.LeCun}
    if family in classes:
        assert found == (classes[family](distribution) if distribution else classes[family]())
    else:
        assert type(found).__name__.lower() == name.replace("_", "")
    assert found.formula and found.source


# -- gains ------------------------------------------------------------------------------------------------------


def test_gains():
    assert [gain(name) for name in ("linear", "sigmoid", "selu")] == [1, 1, 1]
    assert gain("tanh") == 5 / 3 and gain("relu") == math.sqrt(2)
    assert gain("leaky_relu") == math.sqrt(2 / 1.0001) and gain(LEAKY) == math.sqrt(1.6)
    assert all(gain(name) > 0 and name in ACTIVATIONS for name in GAINS)


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "selu", LEAKY], ids=repr)
def test_a_gain_keeps_the_mean_square(activation):
    """gain^2 E f(z)^2 = 1 for a normal z, where the gain is derived from that."""
    z = np.linspace(-12, 12, 240001)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    op = bp.Dense(1, activation).activation
    mean_square = (op.forward(z, *op.values) ** 2 * density).sum() * (z[1] - z[0])
    assert gain(op) ** 2 * mean_square == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_signals_keep_their_scale(activation):
    """Through 30 layers, as He et al. and Klambauer et al. promise of the weights that these activations name."""
    net = bp.Network([bp.Dense(300, activation)] * 30, input_shape=300, seed=1)
    values = net.activations(np.random.default_rng(2).normal(size=(100, 300)))
    assert 0.3 < np.mean(np.square(values[-1], dtype=float)) < 3


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, message", [
    (lambda: bp.Constant(math.nan), "Constant: value must be a number in .*, got nan"),
    (lambda: bp.Constant("0"), "Constant: value must be a number in .*, got '0'"),
    (lambda: bp.Constant(True), "Constant: value must be a number in .*, got True"),
    (lambda: bp.Uniform(1, 1), "Uniform: low must be less than high, got 1 and 1"),
    (lambda: bp.Uniform(-math.inf, 1), "Uniform: low must be a number in"),
    (lambda: bp.Normal(0, 0), "Normal: deviation must be a number in .*, got 0"),
    (lambda: bp.Normal(None), "Normal: mean must be a number in .*, got None"),
    (lambda: bp.TruncatedNormal(0, -1), "TruncatedNormal: deviation must be a number in .*, got -1"),
    (lambda: bp.Glorot("gaussian"), "Glorot: distribution must be 'uniform' or 'normal', got 'gaussian'"),
    (lambda: bp.He(2), "He: distribution must be 'uniform' or 'normal', got 2"),
    (lambda: bp.LeCun(gain=0), "LeCun: gain must be a number in .*, got 0"),
    (lambda: bp.Glorot(gain=math.inf), "Glorot: gain must be a number in .*, got inf"),
    (lambda: bp.Orthogonal("gelu"), "no published gain for gelu; give a number, or one of: linear, sigmoid, tanh"),
    (lambda: bp.Orthogonal("nothing"), "unknown activation 'nothing'"),
    (lambda: gain(3), "unknown activation 3"),
    (lambda: bp.Dense(3, initializer="ones"), "unknown initializer 'ones'; choose one of: zeros, uniform"),
    (lambda: bp.Dense(3, initializer=bp.He), "unknown initializer <class"),
])
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
