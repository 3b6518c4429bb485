"""Planted faults: each makes the check fail that is there for it.  Otherwise the checks prove nothing."""

import re

import numpy as np
import pytest
import test_house
from checks import (
    c_names,
    check_adjoint,
    check_derivative,
    check_forward,
    check_gradients,
    check_held_out,
    check_keeps,
    check_loss,
    check_loss_derivative,
    check_metric,
    check_paper,
    check_range,
    check_range_is_reached,
    check_twins,
    check_update,
)
from engines import DTYPES, NATIVE_LEVELS, kernels_of
from papers import OTHERS
from samples import ROOT, copy_of_the_sources, outputs_for, python, targets_for
from test_metrics import twin

import bpfast as bp
from bpfast import data, metrics
from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES
from bpfast.ops.activations import normal_cdf


def faulty(op, **parts):
    """The row with other parts."""
    return op.with_parts(**parts)


def caught():
    return pytest.raises(AssertionError)


SIGMOID, TANH, GELU, SOFTMAX = (ACTIVATIONS[name] for name in ("sigmoid", "tanh", "gelu", "softmax"))
SQUARED, ADAM, SGD = LOSSES["squared_error"], UPDATES["adam"], UPDATES["sgd"]
LEAKY, RELU, STEP = ACTIVATIONS["leaky_relu"], ACTIVATIONS["relu"], ACTIVATIONS["step"]
LION, RPROP = UPDATES["lion"], UPDATES["rprop"]

FAULTY_ACTIVATIONS = {
    "a sign": faulty(SIGMOID, adjoint=lambda dy, x, y: -dy * y * (1 - y)),
    "a sign within": faulty(TANH, adjoint=lambda dy, x, y: dy * (1 + y * y)),
    "a missing term": faulty(GELU, adjoint=lambda dy, x, y: dy * normal_cdf(x)),
    "a missing sum": faulty(SOFTMAX, adjoint=lambda dy, x, y: y * dy),
    "a missing factor": faulty(SIGMOID, adjoint=lambda dy, x, y: dy * y),
    "swapped arguments": faulty(TANH, adjoint=lambda x, dy, y: TANH.adjoint(dy, x, y)),
    "x for y": faulty(SIGMOID, adjoint=lambda dy, x, y: dy * (x * (1 - x))),
    "a wrong branch": faulty(LEAKY, adjoint=lambda dy, x, y, slope: np.where(x > 0, slope * dy, dy)),
    "a forgotten hyperparameter": faulty(LEAKY, adjoint=lambda dy, x, y, slope: np.where(x < 0, 0.1 * dy, dy)),
    "a constant": faulty(GELU, adjoint=lambda dy, x, y: 1.0001 * GELU.adjoint(dy, x, y)),
    "another forward": faulty(TANH, forward=lambda x: np.tanh(1.001 * x)),
}


@pytest.mark.parametrize("fault", FAULTY_ACTIVATIONS)
def test_differentiation_finds(fault, rng):
    op = FAULTY_ACTIVATIONS[fault]
    x = rng.normal(size=(50, 5 if op.rowwise else 1))
    check_derivative(ACTIVATIONS[op.name], x, rng)
    with caught():
        check_derivative(op, x, rng)


@pytest.mark.parametrize("fault", FAULTY_ACTIVATIONS)
def test_the_gradient_check_of_a_network_finds(fault, rng):
    """The same faults within a whole network."""
    op, X, y = FAULTY_ACTIVATIONS[fault], rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    check_gradients("numpy", [bp.Dense(5, op.name), bp.Dense(3)], "squared_error", X, y)
    with caught():
        check_gradients("numpy", [bp.Dense(5, op), bp.Dense(3)], "squared_error", X, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", NATIVE_LEVELS)
@pytest.mark.parametrize("fault", FAULTY_ACTIVATIONS)
def test_the_twins_find(fault, level, dtype, rng):
    """A text and a twin that differ: by the same checks a fault of the twin is found."""
    op, kernels = FAULTY_ACTIVATIONS[fault], kernels_of(("native", level), dtype)
    dy, x = rng.normal(size=(2, 40, 20) if op.rowwise else (2, 800)).astype(dtype)
    with caught():
        check_forward(kernels, op, x)
        check_adjoint(kernels, op, dy, x)


@pytest.mark.parametrize("op, keeps", [(GELU, "y"), (LEAKY, "y"), (SIGMOID, "x"), (SOFTMAX, "x")], ids=repr)
def test_a_wrong_keeps_is_found(op, keeps, rng):
    dy, x = rng.normal(size=(2, 5, 4))
    kernels = kernels_of(("numpy",), "float64")
    check_keeps(kernels, op, dy, x)
    with caught():
        check_keeps(kernels, faulty(op, keeps=keeps), dy, x)


def test_an_error_that_does_not_pass_is_found(rng):
    """Where there is no derivative."""
    with caught():
        check_derivative(faulty(STEP, adjoint=lambda dy, x, y: 0 * dy), rng.normal(size=(50, 1)), rng)


@pytest.mark.parametrize("op, wrong", [(SIGMOID, (0, 0.5)), (SIGMOID, (0.1, 1)), (TANH, (0, 1)), (SOFTMAX, (-1, 0.9))],
                         ids=repr)
def test_a_range_that_is_too_narrow_is_found(op, wrong):
    y = op.forward(np.linspace(-9, 9, 100)[:, None] * [1, 0])
    check_range(y, op)
    with caught():
        check_range(y, faulty(op, range=wrong))


@pytest.mark.parametrize("op, wrong", [(SIGMOID, (-1, 1)), (TANH, (-1, 2)), (GELU, (-0.2, np.inf))], ids=repr)
def test_a_range_that_is_too_wide_is_found(op, wrong):
    y = op.forward(np.linspace(-9, 9, 1000))
    check_range_is_reached(y, op)
    with caught():
        check_range_is_reached(y, faulty(op, range=wrong))

HUBER, QUANTILE, BINARY, HINGE = (LOSSES[name] for name in ("huber", "quantile", "binary_cross_entropy", "hinge"))
LOGITS = LOSSES["softmax_cross_entropy"](smoothing=0.2)

FAULTY_LOSSES = {
    "a sign": faulty(SQUARED, gradient=lambda y, t: t - y),
    "a factor": faulty(SQUARED, gradient=lambda y, t: 2 * (y - t)),
    "a missing term": faulty(LOGITS, gradient=lambda z, t, smoothing: SOFTMAX.forward(z)),
    "swapped arguments": faulty(SQUARED, gradient=lambda y, t: SQUARED.gradient(t, y)),
    "another reduction of the values": faulty(SQUARED, per_row=lambda y, t: SQUARED.value(y, t).mean(axis=-1)),
    "another reduction of the gradient": faulty(HUBER, delta=lambda y, t: HUBER.gradient(y, t, *HUBER.values)),
    "a forgotten hyperparameter": faulty(QUANTILE, gradient=lambda y, t, q: QUANTILE.gradient(y, t, 0.4)),
    "another value": faulty(HUBER, value=lambda y, t, delta: np.where(np.abs(y - t) > delta, delta * (np.abs(y - t)),
                                                                      0.5 * (y - t) ** 2) + 0.1 * y),
    "a lost term of two": faulty(BINARY, gradient=lambda y, t: -t / y),
    "a wrong side": faulty(HINGE, gradient=lambda y, t: np.where(t * y < 1, 0, -t)),
    "smoothing of the target alone": faulty(LOGITS, gradient=lambda z, t, smoothing: LOGITS.gradient(z, t, 0.0)
                                            + smoothing * np.eye(z.shape[1])[t]),
}


@pytest.mark.parametrize("fault", FAULTY_LOSSES)
def test_a_faulty_loss_is_found(fault, rng):
    op, y = FAULTY_LOSSES[fault], rng.normal(size=(20, 6))
    y, t = outputs_for(op, y), targets_for(op, rng.integers(6, size=20), rng.normal(size=y.shape))
    check_loss_derivative(LOSSES[op.name](**op.hyper), y, t, rng)
    with caught():
        check_loss_derivative(op, y, t, rng)
    for level in NATIVE_LEVELS:
        with caught():
            check_loss(kernels_of(("native", level), "float64"), op, y, t, np.ones(20))


def test_a_forgotten_kink_is_found(rng):
    y = t = np.zeros((3, 2))
    check_loss_derivative(QUANTILE, y, t, rng)
    with caught():
        check_loss_derivative(faulty(QUANTILE, kinks=None), y, t, rng)


FAULTY_UPDATES = {
    "a factor": faulty(ADAM, rule=lambda g, w, m, v, *c: (w - 1.01 * (w - ADAM.rule(g, w, m, v, *c)[0]),
                                                         *ADAM.rule(g, w, m, v, *c)[1:])),
    "a sign": faulty(SGD, rule=lambda g, w, rate: (w + rate * g,)),
    "swapped moments": faulty(ADAM, rule=lambda g, w, m, v, *c: ADAM.rule(g, w, v, m, *c)),
    "swapped coefficients": faulty(ADAM, rule=lambda g, w, m, v, b1, r1, b2, r2, *c:
                                   ADAM.rule(g, w, m, v, b2, r2, b1, r1, *c)),
    "the first power": faulty(ADAM, rule=lambda g, w, m, v, *c: ADAM.rule(g, w, m, v, *c[:3], c[3] * 2, *c[4:])),
    "no look ahead": faulty(UPDATES["nesterov"], rule=UPDATES["momentum"].rule),
    "v for the largest v": faulty(UPDATES["amsgrad"], rule=lambda g, w, m, v, u, *c:
                                  (*ADAM.rule(g, w, m, v, *c), UPDATES["amsgrad"].rule(g, w, m, v, u, *c)[-1])),
    "the average that is kept": faulty(LION, rule=lambda g, w, m, b1, r1, *c: LION.rule(g, w, m, *c[:2], *c)),
    "no rest": faulty(RPROP, rule=lambda g, w, delta, before, *c: (*RPROP.rule(g, w, delta, before, *c)[:2], g)),
    "no momentum": faulty(ADAM, rule=lambda g, w, m, v, *c: ADAM.rule(g, w, 0 * m, v, *c)),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("fault", FAULTY_UPDATES)
def test_a_faulty_update_is_found(fault, rng):
    op = FAULTY_UPDATES[fault]
    with caught():
        check_paper(op, rng)
    for level in NATIVE_LEVELS:
        with caught():
            check_update(kernels_of(("native", level), "float32"), op, rng.normal(size=100).astype("f4"), rng)


def test_faulty_coefficients_are_found(rng):
    """Of the bias correction, which the first steps alone show."""
    with caught():
        check_paper(faulty(ADAM, coefficients=lambda t, *h: ADAM.coefficients(t + 1, *h)), rng)


@pytest.mark.parametrize("name, key", [(name, key) for name, hyper in OTHERS.items() for key in hyper])
def test_a_faulty_hyperparameter_is_found(name, key, rng):
    """Each of them shows in the steps that are compared with a paper."""
    op = UPDATES[name](**OTHERS[name])
    other = op(**{key: 0.9 * OTHERS[name][key]})
    check_paper(op, rng)
    with caught():
        check_paper(faulty(op, coefficients=lambda t, rate, *h: op.coefficients(t, rate, *other.values)), rng)


FAULTY_METRICS = {
    "no weights": ("accuracy", lambda t, y, w: metrics.accuracy(t, y)),
    "a mean over rows": ("balanced_accuracy", metrics.accuracy),
    "swapped arguments": ("balanced_accuracy", lambda t, y, w: metrics.balanced_accuracy(y, t, w)),
    "a micro mean": ("f1", metrics.accuracy),
    "no root": ("root_mean_squared_error", metrics.mean_squared_error),
    "a half": ("mean_squared_error", lambda t, y, w: metrics.mean_squared_error(t, y, w) / 2),
    "a mean without weights": ("r2", lambda t, y, w: metrics.r2(t, y)),
}


@pytest.mark.parametrize("fault", FAULTY_METRICS)
def test_a_faulty_metric_is_found(fault, rng):
    name, function = FAULTY_METRICS[fault]
    t, y = rng.integers(3, size=(2, 40)) if name in metrics.OF_CLASSES else rng.normal(size=(2, 40, 2))
    weight = rng.uniform(size=40)
    check_metric(metrics.METRICS[name], twin(name), t, y, weight)
    with caught():
        check_metric(function, twin(name), t, y, weight)


@pytest.mark.parametrize("fault", [
    lambda n, share, seed, labels: data.hold_out(n, share, seed),  # not of each class alike
    lambda n, share, seed, labels: data.hold_out(n, share, seed, labels)[::-1],
    lambda n, share, seed, labels: (np.arange(n), data.hold_out(n, share, seed, labels)[1]),  # learned from too
], ids=["classes", "sides", "all rows"])
def test_a_faulty_hold_out_is_found(fault):
    labels = np.repeat([0, 1, 2], [5000, 4000, 10])
    check_held_out(data.hold_out, labels, 0.3)
    with caught():
        check_held_out(fault, labels, 0.3)


@pytest.mark.parametrize("file, table", [("activations", ACTIVATIONS), ("losses", LOSSES), ("updates", UPDATES)])
def test_a_lost_twin_is_found(file, table):
    """A row that is deleted, doubled, renamed or moved, in a copy of the header's text."""
    text = (ROOT / f"bpfast/ops/{file}.h").read_text()
    names = c_names(text)
    check_twins(table, names)
    first = rf"^\w+\({names[0]}\b"
    for changed in (re.sub(first, "NOTHING(", text, flags=re.MULTILINE), f"{text}\nROW({names[0]}, x, dy)\n",
                    re.sub(first, "ROW(other", text, flags=re.MULTILINE)):
        with caught():
            check_twins(table, c_names(changed))
    with caught():
        check_twins(table, [*names[1:], names[0]])


@pytest.mark.parametrize("module, text", [
    ("ops.losses", "from ..network import Network"),
    ("ops.losses", "def f():\n    from bpfast import trainer"),
    ("backends.base", "import bpfast.trainer"),
    ("network", "from .trainer import Trainer"),
    ("config", "from . import ops"),
    ("trainer", "from .cli import main"),
])
def test_an_import_upwards_is_found(module, text):
    path = test_house.MODULES[module]
    test_house.check_direction(module, test_house.imports(module, path))
    with caught():
        test_house.check_direction(module, test_house.imports(module, path, text))


# -- faults in the C text, in a copy of the house that is built and tested ------------------------------------


C_FAULTS = {  # what: file, its text, the fault, a test that must fail
    "a sign": ("ops/activations.h", "dy * (y * (1 - y))", "dy * (y * (1 + y))",
               r"test_ops.py::test_adjoint\[native-v3-float64-1.0-sigmoid\]"),
    "a hyperparameter": ("ops/activations.h", "x < 0 ? h0 * x : x", "x < 0 ? h1 * x : x",
                         r"test_ops.py::test_forward\[native-v4-float32-1.0-leaky_relu-0.3\]"),
    "an exponent": ("backends/native/mathf.h", "e.half, 2 * e.half - 1", "e.half, e.half - 1",
                    r"test_ops.py::test_forward\[native-v3-float32-5.0-elu-0.3\]"),
    "an end": ("backends/native/mathf.h", "above > high ? high : above", "above > high ? low : above",
               r"test_ops.py::test_forward\[native-v4-float64-5.0-relu6\]"),
    "a lost twin": ("ops/activations.h", "ROW(gelu,", "#define LOST(name, f, g)\nLOST(gelu,",
                    r"test_ops.py::test_every_row_is_compiled\[v3"),
    "a missing sum": ("ops/softmax.h", "y[j] * (dy[j] - s)", "y[j] * dy[j]",
                      r"test_ops.py::test_adjoint\[native-v3-float32-1.0-softmax\]"),
    "another sign": ("ops/losses.h", "((y - t) * (y - t)),           y - t)", "((y - t) * (y - t)),           t - y)",
                     r"test_ops.py::test_loss\[native-v3-float64-1.0-squared_error\]"),
    "a sum for a mean": ("ops/losses.h", "MEAN(hinge,", "SUM(hinge,",
                         r"test_ops.py::test_loss\[native-v3-float64-1.0-hinge\]"),
    "a lost logarithm": ("backends/native/mathf.h", "k, 1), x, (real)-0.5 * k", "k, 1), x + 1 - 1, (real)-0.5 * k",
                         r"test_ops.py::test_small_losses\[native-v3-float64\]"),
    "a coefficient": ("ops/updates.h", "FMA(c4, g, c5 * m)", "FMA(c5, g, c4 * m)",
                      r"test_updates.py::test_update\[native-v3-float64-nadam"),
    "a slot": ("backends/native/kernels.c", "POINTER(r, 2)", "POINTER(r, 1)",
               r"test_updates.py::test_update\[native-v3-float64-amsgrad"),
    "padding that is not cleaned": ("backends/native/tables.pyx", "return memcmp(numbers, &zero",
                                    "return False and memcmp(numbers, &zero",
                                    r"test_updates.py::test_a_trainer_runs_it\[native-v4-adam without epsilon"),
    "a sum over two paths": ("ops/dense.h", "adds_dx[0] ? dx + first : ZEROS, .ld_init = it->adds_dx[0]",
                             "adds_dx[0] ? ZEROS : ZEROS, .ld_init = 0",
                             r"test_networks.py::test_witness\[.*native-v3-.*residual\]"),
    "a sum over blocks": ("ops/dense.h", "if (job->continues) sums.init = g, sums.ld_init = p.width;", "",
                          r"test_networks.py::test_large_batches\[.*native-v3"),
    "an order of summation": ("backends/native/vector.h", "(lanes[0] + lanes[2]) + (lanes[1] + lanes[3])",
                              "((lanes[0] + lanes[1]) + lanes[2]) + lanes[3]",
                              r"test_bits.py::test_levels_agree\[float64-tanh-10\]"),
    "a rounding": ("ops/dense.h",
                   "z = VFMA(splat(x[k]), k < n_safe ? loadu(w) : load_first(w, n), z)",
                   "z += splat(x[k]) * (k < n_safe ? loadu(w) : load_first(w, n))",
                   r"test_bits.py::test_a_row_alone\[.*native-v3.*tanh-10\]"),
    "the gradient of the data": ("backends/native/engine.pyx", "data.weight.sum() if data.weight is not None else n",
                                 "n if data.weight is not None else n",
                                 r"test_trainer.py::test_input_gradient\[.*native-v3"),
    "a row of a block": ("backends/native/run.h", "run->rows * block / run->n_blocks",
                         "run->rows * block / run->n_blocks + 1",
                         r"test_threads.py::test_any_number_gives_the_same_bits\[float32-tanh-10\]"),
    "a panel of a block": ("backends/native/run.h", "panels * block / run->n_blocks * panel",
                           "(panels * block / run->n_blocks + (block == 1)) * panel",
                           r"test_threads.py::test_wide_layers\[float64-gelu\]"),
    "a turned kernel": ("ops/conv.h", "j = p->window.height - 1; j >= 0; j--", "j = 0; j < p->window.height; j++",
                        r"test_layers.py::test_every_engine.*native-v3-float64-a window as the image\]"),
    "a mean of dy": ("ops/norms.h", "dy[j] - plain[j] -", "dy[j] -",
                     r"test_layers.py::test_every_engine.*native-v3-float64-a norm of vectors first\]"),
    "a dropped unit": ("ops/dropout.h", "kept ? of.a : dropped", "of.a",
                       r"test_layers.py::test_every_engine.*native-v3-float64-dropout last\]"),
    "a random number": ("ops/random.h", "0x9E3779B9", "0x9E3779B8",
                        r"test_random.py::test_every_backend_draws_the_same_order\[.*native"),
}
UNTOUCHED = (r"test_adjoint\[native-v3-float64-1.0-tanh\]", r"test_levels_agree\[float32-tanh-10\]",
             r"test_update\[native-v3-float64-sgd\]", r"test_loss\[native-v3-float64-1.0-cross_entropy\]")


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The tests that fail in a copy of the repository with every fault of C_FAULTS in it."""
    if not NATIVE_LEVELS:
        pytest.skip("the native backend was not built, as BPFAST_PURE=1 asks")
    sources = copy_of_the_sources(tmp_path_factory.mktemp("faulty") / "sources")
    for what, (file, text, fault, _) in C_FAULTS.items():
        path = sources / "bpfast" / file
        assert path.read_text().count(text) == 1, f"{what} cannot be planted: {file} has changed"
        path.write_text(path.read_text().replace(text, fault))
    python("setup.py", "build_ext", "--inplace", cwd=sources, path=sources)
    named = [re.split(r"::|\\\[|\.\*", pattern)[:2] for *_, pattern in C_FAULTS.values()]
    files = sorted({f"tests/{file}" for file, _ in named})
    tests = sorted({test for _, test in named} | {pattern.split("\\[")[0] for pattern in UNTOUCHED})
    choice = f"({' or '.join(tests)}) and (native or levels or every_row or threads) and not v2"
    done = python("-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", "-k", choice, *files,
                  cwd=sources, path=sources, expected=1)
    return re.findall(r"^FAILED tests/(.*?)(?: - .*)?$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("what", C_FAULTS)
def test_a_fault_in_c_is_found(failed, what):
    assert [test for test in failed if re.match(C_FAULTS[what][-1], test)]


def test_what_has_no_fault_passes(failed):
    assert not [test for test in failed if any(re.search(pattern, test) for pattern in UNTOUCHED)]
