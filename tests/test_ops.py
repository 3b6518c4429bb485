"""Every row of the tables: on every engine against the reference in float64, and against differentiation."""

import math
import pickle

import numpy as np
import pytest
from checks import (
    c_names,
    check_adjoint,
    check_close,
    check_derivative,
    check_forward,
    check_keeps,
    check_loss,
    check_loss_derivative,
    check_range,
    check_range_is_reached,
    check_twins,
)
from engines import DTYPES, ENGINES, NATIVE_LEVELS, kernels_of, name_of
from samples import outputs_for, targets_for

from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES

ELEMENTWISE = [op for op in ACTIVATIONS.values() if not op.rowwise]
ROWWISE = [op for op in ACTIVATIONS.values() if op.rowwise]
# Hyperparameters other than those of the table must reach the kernels too.
OTHERS = [op(**{name: 0.3 for name in op.hyper}) for op in ACTIVATIONS.values() if op.hyper]
LENGTHS = (0, 1, 2, 7, 15, 16, 17, 33, 63, 100, 1023, 4099)
SHAPES = ((0, 5), (1, 1), (1, 2), (7, 3), (5, 15), (9, 16), (33, 17), (64, 10), (3, 1000))



def of(*ops):
    """A test for each of these rows."""
    return pytest.mark.parametrize("op", ops, ids=lambda op: "-".join(map(str, (op.name, *op.values))))


every_activation = of(*ACTIVATIONS.values(), *OTHERS)
every_loss = of(*LOSSES.values(), *(op(**{name: 0.3 for name in op.hyper}) for op in LOSSES.values() if op.hyper))


@pytest.fixture(params=[(engine, dtype) for engine in ENGINES for dtype in DTYPES],
                ids=lambda param: f"{name_of(param[0])}-{param[1]}")
def kernels(request):
    """The single ops of an engine, and the dtype they are for."""
    engine, dtype = request.param
    return kernels_of(engine, dtype), np.dtype(dtype)


def inputs(op, rng, dtype, scale=1.0):
    """Normal inputs of every length, or of every shape for a rowwise op."""
    for shape in SHAPES if op.rowwise else LENGTHS:
        yield (scale * rng.normal(size=shape)).astype(dtype)


def outputs_and_targets(op, rng, shape, dtype, scale=1.0):
    """-> y, t: random outputs that a loss may read, and targets."""
    y = outputs_for(op, (scale * rng.normal(size=shape)).astype(dtype))
    return y, targets_for(op, rng.integers(shape[1], size=shape[0]), rng.normal(size=shape).astype(dtype))


# -- activations ------------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_forward(kernels, op, rng, scale):
    kernels, dtype = kernels
    for x in inputs(op, rng, dtype, scale):
        check_forward(kernels, op, x)


@every_activation
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_adjoint(kernels, op, rng, scale):
    kernels, dtype = kernels
    for x in inputs(op, rng, dtype, scale):
        check_adjoint(kernels, op, rng.normal(size=x.shape).astype(dtype), x)


@every_activation
def test_adjoint_reads_only_what_is_kept(kernels, op, rng):
    kernels, dtype = kernels
    x = rng.normal(size=(7, 33) if op.rowwise else 231).astype(dtype)
    check_keeps(kernels, op, rng.normal(size=x.shape).astype(dtype), x)


@of(*ELEMENTWISE)
def test_special_numbers(kernels, op, rng):
    """NaN, infinities, both zeros, denormals, the largest numbers: as the reference says, at every position."""
    kernels, dtype = kernels
    info = np.finfo(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, info.tiny]
    special += [info.max, info.min, *np.linspace(-100, 100, 41), *np.linspace(-750, 750, 31)]
    x = np.array(special, dtype)
    for shift in range(3):
        x = np.roll(x, shift)
        check_forward(kernels, op, x)
        check_adjoint(kernels, op, rng.normal(size=x.shape).astype(dtype), x)
        check_adjoint(kernels, op, x, rng.normal(size=x.shape).astype(dtype))


@of(*ROWWISE)
def test_special_rows(kernels, op, rng):
    """A special number spoils its own row at most."""
    kernels, dtype = kernels
    for value in (np.nan, np.inf, -np.inf, 1e4, -1e4, 1e-42):
        for width in (3, 16, 21):
            x = rng.normal(size=(5, width)).astype(dtype)
            x[1, 0] = x[3, width - 1] = value
            check_forward(kernels, op, x)
            check_adjoint(kernels, op, rng.normal(size=x.shape).astype(dtype), x)


@every_activation
def test_derivative(op, rng):
    for scale in (0.1, 1, 4):
        check_derivative(op, scale * rng.normal(size=(200, 5 if op.rowwise else 1)), rng)


KNOWN = {
    "linear": [(3, 3)],
    "relu": [(-2, 0), (0, 0), (3, 3)],
    "leaky_relu": [(-2, -0.02), (0, 0), (3, 3)],
    "sigmoid": [(0, 0.5), (1, 0.7310585786300049), (-4, 0.01798620996209156)],
    "tanh": [(0, 0), (1, 0.7615941559557649), (-0.5, -0.46211715726000976)],
    "hard_sigmoid": [(-4, 0), (-3, 0), (-1.5, 0.25), (0, 0.5), (2, 0.8333333333333333), (3, 1), (5, 1)],
    "hard_tanh": [(-1.5, -1), (-1, -1), (-0.25, -0.25), (0.5, 0.5), (1, 1), (7, 1)],
    "softsign": [(-2, -0.6666666666666667), (-0.5, -0.3333333333333333), (0, 0), (3, 0.75)],
    "gelu": [(0, 0), (1, 0.8413447460685429), (-2, -0.04550026389635842)],
    "gelu_tanh": [(0, 0), (-2, -0.045402305912224981), (1, 0.8411919906082767), (3, 2.996362607918227)],
    "silu": [(0, 0), (-2, -0.23840584404423511), (1, 0.7310585786300049), (3, 2.8577223804672997)],
    "mish": [(0, 0), (-2, -0.25250148269570886), (1, 0.86509838826731035), (3, 2.9865350049679573)],
    "softplus": [(0, 0.6931471805599453), (-2, 0.1269280110429725), (1, 1.3132616875182228), (800, 800)],
    "elu": [(0, 0), (-2, -0.86466471676338731), (-0.5, -0.39346934028736658), (1, 1)],
    "selu": [(0, 0), (-2, -1.520166468595695), (-0.5, -0.6917581878028714), (1, 1.0507009873554805)],
    "relu6": [(-2, 0), (0, 0), (3, 3), (6, 6), (7, 6)],
    "exponential": [(0, 1), (-2, 0.13533528323661269), (1, 2.718281828459045), (3, 20.085536923187668)],
    "step": [(-2, 0), (-1e-300, 0), (-0.0, 1), (0, 1), (3, 1)],
    "softmax": [(0, 1)],
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_values(name):
    """Values from tables, in case a formula and its derivative are wrong together."""
    x, y = np.array(KNOWN[name], float).T
    np.testing.assert_allclose(ACTIVATIONS[name].forward(x[:, None], *ACTIVATIONS[name].values)[:, 0], y, rtol=1e-15)


@every_activation
def test_range(kernels, op, rng):
    """Outputs lie within the row's range, also of numbers that are far out."""
    kernels, dtype = kernels
    for scale in (1, 30, 1e4):
        check_range(kernels.activation_forward(op, (scale * rng.normal(size=(50, 20))).astype(dtype)), op)


@of(*ACTIVATIONS.values())
def test_range_is_reached(op):
    """Where the range of a row ends, outputs come near."""
    x = np.linspace(-100, 100, 20001)[:, None] * ([1, 0] if op.rowwise else [1])
    with np.errstate(over="ignore"):
        check_range_is_reached(op.forward(x, *op.values), op)


def test_known_softmax():
    y = ACTIVATIONS["softmax"].forward(np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)


# -- losses -------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss(kernels, op, rng, scale):
    """Also for outputs or logits of +-1e4, and probabilities and rates of 0 and 1."""
    kernels, dtype = kernels
    for shape in (*SHAPES[1:], (70, 1), (600, 2)):
        y, t = outputs_and_targets(op, rng, shape, dtype, scale)
        check_loss(kernels, op, y, t, rng.uniform(0.1, 2, len(y)))


@every_loss
def test_loss_of_nan(kernels, op, rng):
    """NaN in, NaN out, in its own row alone."""
    kernels, dtype = kernels
    y, t = outputs_and_targets(op, rng, (6, 19), dtype)
    y[1, 0] = y[4, 18] = np.nan
    check_loss(kernels, op, y, t, np.ones(6))
    values, dy = kernels.loss(op, y, t, np.ones(6))
    np.testing.assert_array_equal(np.isnan(values), [False, True, False, False, True, False])
    assert np.isnan(dy[1, 0]) and np.isnan(dy[4, 18]) and np.isfinite(dy[[0, 2, 3, 5]]).all()


@every_loss
def test_loss_of_special_numbers(kernels, op, rng):
    """Infinities, both zeros, denormals, large numbers, as far as a loss takes them: as the reference says."""
    kernels, dtype = kernels
    info = np.finfo(dtype)
    special = [np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, info.tiny, 1e15, -1e15]
    special = [number for number in special if op.domain[0] <= number <= op.domain[1]]
    for n_out in (2, 16, 21):
        for column in (0, n_out - 1):
            y, t = outputs_and_targets(op, rng, (len(special), n_out), dtype)
            y[:, column] = special
            check_loss(kernels, op, y, t, np.ones(len(y)))


@every_loss
def test_loss_derivative(op, rng):
    for scale in (0.1, 1, 4):
        check_loss_derivative(op, *outputs_and_targets(op, rng, (50, 7), float, scale), rng)


LOG_0 = 12 * math.log(10) + 1  # what -log 0 counts as
KNOWN_LOSSES = [  # name, hyperparameters, outputs of a row, targets, its loss
    ("squared_error", {}, [1, 2], [0, 4], 2.5),
    ("mean_squared_error", {}, [1, 2], [0, 4], 2.5),
    ("mean_squared_error", {}, [1, 2, 3, 5], [0, 4, 3, 5], 1.25),
    ("mean_absolute_error", {}, [1, 2], [0, 4], 1.5),
    ("huber", {}, [3, 0.5], [0, 0], (2.5 + 0.125) / 2),
    ("huber", {"delta": 2}, [-3, 0.5], [0, 0], (4 + 0.125) / 2),
    ("quantile", {}, [1, 5], [3, 4], 0.75),
    ("quantile", {"q": 0.9}, [1, 5], [3, 4], (1.8 + 0.1) / 2),
    ("log_cosh", {}, [1, 0], [0, 0], 0.4337808304830271 / 2),
    ("log_cosh", {}, [-1e4], [1e4], 2e4 - math.log(2)),
    ("log_cosh", {}, [1e300], [0], 1e300),
    ("binary_cross_entropy", {}, [0.25, 0.25], [1, 0], -(math.log(0.25) + math.log(0.75)) / 2),
    ("binary_cross_entropy", {}, [0, 1], [0, 1], 0),
    ("binary_cross_entropy", {}, [0, 1], [1, 0], LOG_0),
    ("sigmoid_binary_cross_entropy", {}, [0, math.log(3)], [0.7, 1], (math.log(2) + math.log(4 / 3)) / 2),
    ("sigmoid_binary_cross_entropy", {}, [1e4, -1e4], [1, 0], 0),
    ("sigmoid_binary_cross_entropy", {}, [-1e4, 1e4], [1, 0], 1e4),
    ("poisson", {}, [2, 5], [3, 0], (2 - 3 * math.log(2) + 5) / 2),
    ("poisson", {}, [0], [2], 2 * LOG_0),
    ("exponential_poisson", {}, [math.log(2), -1e4], [3, 1], (2 - 3 * math.log(2) + 1e4) / 2),
    ("hinge", {}, [0.3, -2, 5], [1, 1, 1], (0.7 + 3) / 3),
    ("hinge", {}, [0.3, -2, 5], [-1, -1, -1], (1.3 + 6) / 3),
    ("cross_entropy", {}, [1 / 8, 2 / 8, 5 / 8], 1, math.log(4)),
    ("cross_entropy", {"smoothing": 0.5}, [1 / 8, 7 / 8], 0, (3 * math.log(8) + math.log(8 / 7)) / 4),
    ("cross_entropy", {}, [1, 0], 1, LOG_0),
    ("softmax_cross_entropy", {}, np.log([1, 2, 5]), 1, math.log(4)),
    ("softmax_cross_entropy", {"smoothing": 0.5}, np.log([1, 7]), 0, (3 * math.log(8) + math.log(8 / 7)) / 4),
    ("softmax_cross_entropy", {}, [1e4, -1e4], 1, 2e4),
]


@pytest.mark.parametrize("name, hyper, y, t, loss", KNOWN_LOSSES)
def test_known_losses(name, hyper, y, t, loss):
    (found,) = LOSSES[name](**hyper).per_row(np.array([y], float), np.array([t]))
    assert found == pytest.approx(loss, rel=1e-14, abs=1e-15)


def test_small_losses(kernels):
    """The loss of a row that is nearly right has as many correct digits as any other."""
    kernels, dtype = kernels
    z = np.linspace(5, 80, 40).astype(dtype)[:, None]
    values, _ = kernels.loss(LOSSES["sigmoid_binary_cross_entropy"], z, np.ones_like(z), np.ones(40))
    check_close(values.astype(dtype), np.log1p(np.exp(-z[:, 0].astype(float))))


def test_every_loss_is_known():
    assert {name for name, *_ in KNOWN_LOSSES} == set(LOSSES)


@of(*(op for op in LOSSES.values() if op.fuses))
def test_a_fused_row_is_its_pair(op, rng):
    """A row that fuses an activation and a loss is the one after the other; the hyperparameters are the same."""
    activation, loss = op.fuses
    loss = LOSSES[loss](**{name: 0.3 for name in op.hyper})
    assert (op.hyper, op.bounds, op.targets, op.reduction) == (
        LOSSES[loss.name].hyper, loss.bounds, loss.targets, loss.reduction)
    z, t = outputs_and_targets(op, rng, (40, 5), float)
    activate = ACTIVATIONS[activation].forward if activation in ACTIVATIONS else np.exp
    np.testing.assert_allclose(op(**loss.hyper).per_row(z, t), loss.per_row(activate(z), t), rtol=1e-13)


def test_losses_that_are_others():
    """Special cases, each of rows with texts of their own."""
    rng = np.random.default_rng(3)
    y, t = rng.normal(size=(2, 30, 5))
    squared, median = LOSSES["squared_error"].per_row(y, t), LOSSES["mean_absolute_error"].per_row(y, t)
    np.testing.assert_allclose(LOSSES["mean_squared_error"].per_row(y, t), 2 * squared / 5, rtol=1e-14)
    np.testing.assert_allclose(LOSSES["quantile"].per_row(y, t), median / 2, rtol=1e-14)
    np.testing.assert_allclose(LOSSES["huber"](delta=1e3).per_row(y, t), squared / 5, rtol=1e-14)
    np.testing.assert_allclose(LOSSES["huber"](delta=1e-9).per_row(y, t), 1e-9 * median, rtol=1e-6)


# -- the tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file, table", [("activations", ACTIVATIONS), ("losses", LOSSES), ("updates", UPDATES)])
def test_every_row_has_its_twin(root, file, table):
    check_twins(table, c_names((root / f"bpfast/ops/{file}.h").read_text()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", NATIVE_LEVELS)
def test_every_row_is_compiled(level, dtype):
    kernels = kernels_of(("native", level), dtype)
    check_twins(ACTIVATIONS, kernels.activations())
    check_twins(LOSSES, kernels.losses())
    check_twins(UPDATES, kernels.updates())


@of(*ACTIVATIONS.values(), *LOSSES.values(), *UPDATES.values())
def test_a_row_is_complete(op):
    """It has a formula and a source, compares by value and pickles."""
    assert op.formula and op.source
    assert pickle.loads(pickle.dumps(op)) == op == op()
    assert hash(pickle.loads(pickle.dumps(op))) == hash(op)


def test_hyperparameters():
    leaky = ACTIVATIONS["leaky_relu"]
    steep = leaky(slope=0.3)
    assert steep.values == (0.3,) and leaky.values == (0.01,)
    assert steep != leaky and steep == leaky(slope=0.3)
    assert pickle.loads(pickle.dumps(steep)) == steep
    with pytest.raises(TypeError, match=r"'angle'.*slope"):
        leaky(angle=1)
    for wrong in (math.nan, math.inf, "0.1", True, None):
        with pytest.raises(ValueError, match="slope must be a finite number"):
            leaky(slope=wrong)


@pytest.mark.parametrize("op, inside, outside, interval", [
    (LOSSES["huber"], (1e-9, 1e9), (0, -1), r"\(0, inf\)"),
    (LOSSES["quantile"], (0.01, 0.99), (0, 1, -0.5), r"\(0, 1\)"),
    (LOSSES["cross_entropy"], (0, 0.999), (1, -0.1), r"\[0, 1\)"),
])
def test_bounds_of_hyperparameters(op, inside, outside, interval):
    (name,) = op.hyper
    for value in inside:
        assert op(**{name: value}).values == (value,)
    for value in outside:
        with pytest.raises(ValueError, match=f"{op.name}: {name} must lie in {interval}, got {value}"):
            op(**{name: value})
