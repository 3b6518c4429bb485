"""Every row of the tables: on every engine against the reference in float64, and against differentiation."""

import math
import pickle

import numpy as np
import pytest
from checks import (
    c_names,
    check_adjoint,
    check_algorithm_1,
    check_close,
    check_derivative,
    check_forward,
    check_gradient_descent,
    check_keeps,
    check_loss,
    check_loss_derivative,
    check_twins,
    check_update,
)
from engines import DTYPES, ENGINES, NATIVE_LEVELS, kernels_of, name_of

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
every_loss = of(*LOSSES.values())
every_update = of(*UPDATES.values())


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


def targets(op, rng, y):
    """Random targets for outputs y: labels, or numbers."""
    n, n_out = y.shape
    return rng.integers(n_out, size=n) if op.labels else rng.normal(size=y.shape).astype(y.dtype)


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
    "gelu": [(0, 0), (1, 0.8413447460685429), (-2, -0.04550026389635842)],
    "softmax": [(0, 1)],
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_values(name):
    """Values from tables, in case a formula and its derivative are wrong together."""
    x, y = np.array(KNOWN[name], float).T
    np.testing.assert_allclose(ACTIVATIONS[name].forward(x[:, None], *ACTIVATIONS[name].values)[:, 0], y, rtol=1e-15)


def test_known_softmax():
    y = ACTIVATIONS["softmax"].forward(np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)


# -- losses -------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss(kernels, op, rng, scale):
    """Also for outputs or logits of +-1e4."""
    kernels, dtype = kernels
    for n, n_out in SHAPES[1:]:
        y = (scale * rng.normal(size=(n, n_out))).astype(dtype)
        check_loss(kernels, op, y, targets(op, rng, y), rng.uniform(0.1, 2, n))


@every_loss
def test_loss_of_nan(kernels, op, rng):
    """NaN in, NaN out, in its own row alone."""
    kernels, dtype = kernels
    y = rng.normal(size=(6, 19)).astype(dtype)
    y[1, 0] = y[4, 18] = np.nan
    check_loss(kernels, op, y, targets(op, rng, y), np.ones(6))


@every_loss
def test_loss_of_special_numbers(kernels, op, rng):
    """Infinities, both zeros, denormals, the largest numbers: as the reference says, wherever they stand."""
    kernels, dtype = kernels
    info = np.finfo(dtype)
    special = [np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, info.tiny, info.max, info.min]
    for n_out in (2, 16, 21):
        for column in (0, n_out - 1):
            y = rng.normal(size=(len(special), n_out)).astype(dtype)
            y[:, column] = special
            check_loss(kernels, op, y, targets(op, rng, y), np.ones(len(y)))


@every_loss
def test_loss_derivative(op, rng):
    y = rng.normal(size=(50, 7))
    check_loss_derivative(op, y, targets(op, rng, y), rng)


def test_known_losses():
    squared, entropy = LOSSES["squared_error"], LOSSES["cross_entropy"]
    np.testing.assert_allclose(squared.value(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])), [2.5])
    np.testing.assert_allclose(entropy.value(np.log([[1.0, 2.0, 5.0]]), np.array([1])), [np.log(4)])
    np.testing.assert_allclose(entropy.value(np.array([[1e4, -1e4]]), np.array([1])), [2e4])


# -- updates ------------------------------------------------------------------------------------------------


@every_update
def test_update(kernels, op, rng):
    kernels, dtype = kernels
    for length in LENGTHS:
        check_update(kernels, op, rng.normal(size=length).astype(dtype), rng)


@every_update
def test_update_of_denormals_and_zeros(kernels, op):
    """Gradients of zero, denormal and tiny numbers make steps that are finite and small."""
    kernels, dtype = kernels
    g = np.array([0.0, -0.0, 1e-40, -1e-30, 1e-20, 1e-8], dtype)
    w, slots = np.ones_like(g), [np.zeros_like(g) for _ in op.slots]
    for t in (1.0, 2.0, 3.0):
        coefficients = np.array(op.coefficients(np.float64(t), 0.01, *op.values))
        w, *slots = kernels.update(op, g, w, tuple(slots), coefficients)
    assert np.isfinite(w).all() and (np.abs(w - 1) < 0.031).all()
    assert (w[:2] == 1).all()


@every_update
def test_update_of_nan(kernels, op):
    """A NaN stays where it is."""
    kernels, dtype = kernels
    g = np.arange(1, 40).astype(dtype)
    g[17] = np.nan
    slots = tuple(np.zeros_like(g) for _ in op.slots)
    coefficients = np.array(op.coefficients(np.float64(1), 0.01, *op.values))
    w = kernels.update(op, g, np.zeros_like(g), slots, coefficients)[0]
    np.testing.assert_array_equal(np.isnan(w), np.arange(39) == 17)


@every_update
def test_update_of_special_numbers(kernels, op, rng):
    """Infinities, zeros, denormals and large numbers, as the rule says; the others stay as they were without them."""
    kernels, dtype = kernels
    info = np.finfo(dtype)
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, info.smallest_subnormal, info.tiny, 1e15, -1e15]
    g, w = (rng.normal(size=40).astype(dtype) for _ in range(2))
    plain = g.copy()
    places = rng.permutation(40)[: len(special)]
    g[places] = special
    slots = tuple(np.zeros_like(g) for _ in op.slots)
    coefficients = np.array(op.coefficients(np.float64(1), 0.01, *op.values))
    found = kernels.update(op, g, w, slots, coefficients)
    with np.errstate(all="ignore"):
        exact = op.rule(*(array.astype(np.float64) for array in (g, w, *slots)), *coefficients)
    for array, right in zip(found, exact, strict=True):
        check_close(array, right, scale=1 + np.abs(g) * (1 + np.abs(g)))
    for array, right in zip(found, kernels.update(op, plain, w, slots, coefficients), strict=True):
        np.testing.assert_array_equal(np.delete(array, places), np.delete(right, places))


def test_sgd_is_gradient_descent(rng):
    check_gradient_descent(UPDATES["sgd"], rng)


def test_adam_is_algorithm_1(rng):
    check_algorithm_1(UPDATES["adam"], rng)
    check_algorithm_1(UPDATES["adam"](beta1=0.8, beta2=0.95, epsilon=1e-3), rng)


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
