"""Every row of the updates: on every engine, against its paper, and against PyTorch; and what optimizers make of it."""

import numpy as np
import pytest
from checks import check_close, check_paper, check_update
from engines import DTYPES, ENGINES, NATIVE_LEVELS, kernels_of
from engines import name_of as name_of_engine
from papers import OF_PYTORCH, OTHERS, RATE, ROWS, STEPS, name_of, starting_point
from samples import small_trainer
from test_networks import WITNESSES

import bpfast as bp
from bpfast.ops import UPDATES
from bpfast.optimizers import OPTIMIZERS

LENGTHS = (0, 1, 2, 7, 16, 33, 100, 4099)

every_row = pytest.mark.parametrize("op", ROWS, ids=name_of)
every_update = pytest.mark.parametrize("op", UPDATES.values(), ids=UPDATES)
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


@pytest.fixture(params=[(engine, dtype) for engine in ENGINES for dtype in DTYPES],
                ids=lambda param: f"{name_of_engine(param[0])}-{param[1]}")
def kernels(request):
    """The single ops of an engine, and the dtype they are for."""
    engine, dtype = request.param
    return kernels_of(engine, dtype), np.dtype(dtype)


def step(kernels, op, t, g, w, slots, rate=RATE):
    """-> w, slots after step t by the kernels."""
    coefficients = np.array(op.coefficients(np.float64(t), rate, *op.values))
    w, *slots = kernels.update(op, g, w, tuple(slots), coefficients)
    return w, slots


# -- the rows -----------------------------------------------------------------------------------------------


@every_update
def test_update(kernels, op, rng):
    kernels, dtype = kernels
    for length in LENGTHS:
        check_update(kernels, op, rng.normal(size=length).astype(dtype), rng)


@every_update
def test_update_of_denormals_and_zeros(kernels, op):
    """Gradients of zero, denormal and tiny numbers make steps that are finite and small."""
    kernels, dtype = kernels
    op = op(**{name: 0 for name in op.hyper if name == "weight_decay"})
    g = np.array([0.0, -0.0, 1e-40, -1e-30, 1e-20, 1e-8], dtype)
    w, slots = np.ones_like(g), [np.zeros_like(g) for _ in op.slots]
    for t in (1, 2, 3):
        w, slots = step(kernels, op, t, g, w, slots, 0.01)
    assert np.isfinite(w).all() and (np.abs(w - 1) < 0.1).all()
    assert (w[:2] == 1).all()


@every_update
def test_update_of_special_numbers(kernels, op, rng):
    """Infinities, zeros, denormals and large numbers, as the rule says; the others stay as they were without them."""
    kernels, dtype = kernels
    info = np.finfo(dtype)
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e15, -1e15]
    if op.name != "lion":  # in a product of such numbers a sign may be lost
        special += [info.smallest_subnormal, info.tiny]
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


@every_update
def test_update_of_nan(kernels, op):
    """A NaN stays where it is."""
    kernels, dtype = kernels
    g = np.arange(1, 40).astype(dtype)
    g[17] = np.nan
    w, slots = np.zeros_like(g), [np.zeros_like(g) for _ in op.slots]
    for t in (1, 2):
        w, slots = step(kernels, op, t, g, w, slots)
        np.testing.assert_array_equal(np.isnan(w), np.arange(39) == 17)
        g[17] = 1


def test_a_variance_is_never_negative(kernels):
    """Of a gradient that does not change, whose variance is rounding."""
    kernels, dtype = kernels
    op, g = UPDATES["rmsprop_centered"](epsilon=1.0), np.full(100, 0.1, dtype)
    w, slots = np.zeros_like(g), [np.zeros_like(g) for _ in op.slots]
    for t in range(1, 3000):
        w, slots = step(kernels, op, t, g, w, slots, 1e-3)
    np.testing.assert_allclose(w, -0.1 * 2.999, rtol=0.05)


# -- against papers and PyTorch -----------------------------------------------------------------------------


@every_row
def test_paper(op, rng):
    check_paper(op, rng)


def test_every_hyperparameter_is_tried():
    assert {name: set(hyper) for name, hyper in OTHERS.items()} == {
        name: set(op.hyper) for name, op in UPDATES.items() if op.hyper
    }


def run(kernels, op, gradients, w):
    """The same as torch_optimizers.optimize, by the kernels."""
    slots, found = [np.zeros_like(w) for _ in op.slots], []
    for t, g in enumerate(gradients, 1):
        w, slots = step(kernels, op, t, g, w, slots)
        found.append(w)
    return np.array(found)


@pytest.mark.parametrize("engine", ENGINES, ids=name_of_engine)
def test_witness(engine):
    """What PyTorch made of the same gradients, number for number."""
    kernels = kernels_of(engine, "float64")
    with np.load(WITNESSES / "optimizers.npz") as file:
        witness = dict(file)
    gradients, start = witness.pop("gradients"), witness.pop("start")
    assert len(gradients) == STEPS and set(witness) == {name_of(op) for op in OF_PYTORCH}
    for op in OF_PYTORCH:
        found = run(kernels, op, gradients, start)
        np.testing.assert_allclose(found, witness[name_of(op)], rtol=1e-12, atol=1e-13, err_msg=name_of(op))


@pytest.mark.parametrize("op", OF_PYTORCH, ids=name_of)
def test_live(op, torch_optimizers, rng):
    """From other numbers than those of the witness."""
    gradients, start = starting_point(rng)
    found = run(kernels_of(ENGINES[0], "float64"), op, gradients, start)
    np.testing.assert_allclose(found, torch_optimizers.optimize(op, gradients, start, RATE), rtol=1e-12, atol=1e-13)


def test_witness_is_what_pytorch_finds(torch_optimizers):
    with np.load(WITNESSES / "optimizers.npz") as file:
        for op in OF_PYTORCH:
            found = torch_optimizers.optimize(op, file["gradients"], file["start"], RATE)
            np.testing.assert_allclose(found, file[name_of(op)], rtol=1e-12, atol=1e-14)


def test_defaults_are_those_of_pytorch(torch_optimizers):
    """But for SGD's rate, which is larger here, and Momentum, which has some."""
    for name in OPTIMIZERS.keys() - {"sgd", "momentum", "nesterov", "lion"}:
        optimizer = OPTIMIZERS[name]()
        settings, defaults = torch_optimizers.settings_and_defaults(optimizer.update)
        settings.pop("amsgrad", None)  # which is what AMSGrad is
        assert {"lr": optimizer.learning_rate, **settings}.items() <= defaults.items(), name


# -- optimizers ---------------------------------------------------------------------------------------------


@every_optimizer
def test_coefficients_of_many_steps(name):
    """A row per step: the learning rate, and what the text gives in double precision; in chunks, the same."""
    optimizer = OPTIMIZERS[name](0.3)
    together = optimizer.coefficients(5, 400)
    assert together.dtype == np.float64 and len(together) == 400
    for row, t in zip(together, range(5, 405), strict=True):
        expected = (0.3, *optimizer.update.coefficients(t, 0.3, *optimizer.update.values))
        np.testing.assert_allclose(row, expected, rtol=1e-14)
    chunks = [optimizer.coefficients(begin, n) for begin, n in ((5, 1), (6, 30), (36, 364), (400, 5))]
    np.testing.assert_array_equal(np.concatenate(chunks), together)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99])
def test_nadam_after_many_steps(beta1):
    """The running product is that of all steps before, also where they are not computed."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (np.arange(1, 10_002) * 4e-3))
    product = np.cumprod(mu)
    table = bp.Nadam(1.0, beta1=beta1, beta2=0.0).coefficients(1, 10_000)
    np.testing.assert_allclose(table[:, 5], (1 - mu[:-1]) / (1 - product[:-1]), rtol=1e-15)
    np.testing.assert_allclose(table[:, 6], mu[1:] / (1 - product[1:]), rtol=1e-15)
    np.testing.assert_array_equal(bp.Nadam(1.0, beta1=beta1, beta2=0.0).coefficients(9_999, 2), table[-2:])


@pytest.mark.parametrize("optimizer, exact", [
    (bp.Adam(0.3), [0.9, 1 - 0.9, 0.999, 1 - 0.999, 0.3, 1e-8]),
    (bp.Adamax(0.3), [0.9, 1 - 0.9, 0.999, 0.3, 1e-8]),
    (bp.Nadam(0.3), [0.9, 1 - 0.9, 0.999, 1 - 0.999, 0.3 * (1 - 0.9), 0.3 * 0.9, 1e-8]),
], ids=["adam", "adamax", "nadam"])
def test_coefficients_after_very_many_steps(optimizer, exact):
    """The bias corrections end at one."""
    np.testing.assert_allclose(optimizer.coefficients(10**9, 1)[0, 1:], exact, rtol=1e-15)


def test_which_row_rmsprop_takes():
    assert bp.RMSProp().rule == "rmsprop" and bp.RMSProp(momentum=0.5).rule == "rmsprop_momentum"
    for momentum in (0, 0.5):
        assert bp.RMSProp(momentum=momentum, centered=True).rule == "rmsprop_centered"
    assert {OPTIMIZERS[name]().rule for name in OPTIMIZERS} | {"rmsprop_momentum", "rmsprop_centered"} == set(UPDATES)


WITHOUT_EPSILON = {  # what a network is padded with divides zero by zero, unless it is cleaned
    name: kind(epsilon=0)
    for name, kind in OPTIMIZERS.items()
    if hasattr(kind, "epsilon") and name != "adadelta"  # which never begins
}
OF_A_TRAINER = {
    **{name: kind() for name, kind in OPTIMIZERS.items() if name != "rprop"},
    **{f"{name} without epsilon": optimizer for name, optimizer in WITHOUT_EPSILON.items()},
    "rmsprop with momentum": bp.RMSProp(momentum=0.5),
    "rmsprop centered": bp.RMSProp(momentum=0.5, centered=True, epsilon=1e-2),
    "rprop": bp.Rprop(1e-3),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", NATIVE_LEVELS)
def test_what_moves_zeros(level, dtype):
    """Only where 0 / 0 would spoil the padding is it cleaned, which takes time; not where a slot alone leaves zero."""
    kernels = kernels_of(("native", level), dtype)

    def moves(optimizer):
        return kernels.moves_zeros(optimizer.update, optimizer.coefficients(1, 1)[0, 1:])

    assert not any(moves(kind()) for kind in OPTIMIZERS.values())
    assert not moves(bp.RMSProp(centered=True)) and not moves(bp.AdamW(weight_decay=0.5)) and not moves(bp.SGD(1e30))
    assert all(moves(optimizer) for optimizer in [*WITHOUT_EPSILON.values(), bp.Adadelta(epsilon=0)])
    assert moves(bp.Adamax(epsilon=1e-60)) == (dtype == "float32")  # where that is zero


@pytest.mark.parametrize("name", OF_A_TRAINER)
def test_a_trainer_runs_it(native_engine, rows, name):
    """Widths beside those of vectors, whose padding must stay zero: as the reference, to the last digits."""
    optimizer = OF_A_TRAINER[name]
    settings = {"optimizer": optimizer, "batch_size": 200 if optimizer.full_batch else 32}
    found, expected = (small_trainer(backend, **settings) for backend in (native_engine, "numpy"))
    start = expected.network.build(6).to_vector()
    for trainer in (found, expected):
        trainer.fit(*rows, epochs=4)
    np.testing.assert_allclose(found.network.to_vector(), expected.network.to_vector(), rtol=1e-8, atol=1e-10)
    assert (expected.network.to_vector() != start).any()


def test_what_rprop_is_made_for(rows):
    """Batches smaller than the data are warned of, once in a fit."""
    with pytest.warns(UserWarning, match=r'Rprop .* every row in every batch: .* batch_size="full"') as told:
        small_trainer(optimizer="rprop", batch_size=199).fit(*rows, epochs=2)
    assert len(told) == 1 and told[0].filename == __file__
    history = small_trainer(optimizer="rprop", batch_size=200).fit(*rows, epochs=40)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
