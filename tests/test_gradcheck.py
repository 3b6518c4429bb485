"""The gradient check: it finds planted faults, raises no false alarm, and says what it found."""

import pickle

import numpy as np
import pytest
from checks import digest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import BEYOND, DENSE, Case, starting_point
from networks import network as network_of
from samples import targets_for
from strategies import activations, last_for, layers

import bpfast as bp
from bpfast import reference
from bpfast.backends.numpy import instructions
from bpfast.demo import optdigits
from bpfast.differentiation import is_analytic, slope
from bpfast.ops import ACTIVATIONS, LOSSES
from bpfast.ops.conv import conv_backward
from bpfast.ops.norms import normalize_backward
from bpfast.ops.pool import avg_pool_backward, max_pool_backward

D, R = bp.Dense, bp.Residual
SQUARE = [D(5, "tanh"), D(5, "sigmoid"), D(3)]  # with 5 inputs a transposed weight fits too
FEW = {"entries": 6, "directions": 1}
LAYERS = {
    **BEYOND,
    "noise": Case([bp.Dropout(0.3), D(6, "tanh"), bp.AlphaDropout(0.2), D(2)], "squared_error"),
    "block": Case([bp.ResidualBlock(2, stride=2), bp.GlobalAvgPool2D()], "squared_error", (3, 2, 1)),
}


def network(layers, dtype="float64", n_in=5, scale=1.0):
    """A network whose biases are not zero."""
    net, rng = bp.Network(layers, input_shape=n_in, dtype=dtype, seed=1), np.random.default_rng(3)
    for array in net.parameters.values():
        array += 0.1 * rng.normal(size=array.shape) * (array.ndim == 1)
        array *= scale
    return net


@pytest.fixture
def numbers(rng):
    """X (7, 5), targets (7, 3)."""
    return rng.normal(size=(7, 5)), rng.normal(size=(7, 3))


# -- right gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DENSE)
def test_a_right_gradient_passes(engine, dtype, name):
    """In every engine, for every kind of network; nothing is changed."""
    check_right(DENSE[name], engine, dtype)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("name", LAYERS)
def test_right_gradients_of_layers(backend, dtype, name):
    check_right(LAYERS[name], backend, dtype)


def check_right(case, engine, dtype):
    X, y, weight, start = starting_point(case)
    net = network_of(case, start, dtype)
    before = digest(net)
    report = bp.check_gradients(net, case.loss, X, y, sample_weight=weight, backend=engine, **FEW)
    report.raise_if_failed()
    assert report.ok and report.worst.severity <= 1
    assert {check.name: check.shape for check in report.checks} == {
        **{key: array.shape for key, array in net.parameters.items()}, "X": X.shape, "loss": ()}
    assert all(check.skipped < 0.5 and check.method for check in report.checks if check.name != "loss")
    assert digest(net) == before


def test_the_tolerances_are_tight(numbers):
    """Of the order of roundings: so near are the engines too."""
    for dtype, most in (("float64", 2e-13), ("float32", 2e-4)):
        for check in bp.check_gradients(network(SQUARE, dtype), "squared_error", *numbers).checks:
            assert check.tolerance < most * check.scale
            assert check.reference_error < check.tolerance


def test_the_complex_step_where_it_can_be_taken(numbers):
    def methods(activation):
        checks = bp.check_gradients(network([D(4, activation), D(3)]), "squared_error", *numbers).checks
        return {check.method for check in checks if check.name != "loss"}

    assert methods("tanh") == methods("leaky_relu") == methods("softmax") == {"complex step"}
    assert methods("gelu") == {"differences"}


def test_a_network_is_built_for_x(numbers):
    net = bp.Network([D(3)], seed=0)
    assert bp.check_gradients(net, "squared_error", *numbers).ok and net.input_shape == (5,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=50)
@given(layers(5), activations, st.sampled_from(sorted(LOSSES)), st.integers(0, 2**32), st.floats(-3, 3),
       st.sampled_from([1, 2, 30]), st.sampled_from(["normal", "zero", "sparse", "whole"]),
       st.booleans(), st.booleans())
def test_no_false_alarm(dtype, layers, last, loss, seed, magnitude, n, inputs, weighted, sparse):
    """At kinks, with saturated and with vanishing units, for a single row: the engine in use is right."""
    layers = [*layers, D(3, last_for(loss, last))]
    rng = np.random.default_rng(seed)
    net = bp.Network(layers, input_shape=5, dtype=dtype, seed=seed)
    for array in net.parameters.values():
        array *= 10.0**magnitude
        if sparse:
            array[rng.random(array.shape) < 0.5] = 0
    X = rng.normal(size=(n, 5)) * {"zero": 0}.get(inputs, 1)
    X = np.round(X) if inputs == "whole" else X * (rng.random(X.shape) < 0.5) if inputs == "sparse" else X
    y = targets_for(LOSSES[loss], rng.integers(3, size=n), rng.normal(size=(n, 3)))
    weight = rng.uniform(0.1, 3, n) if weighted else None
    loss_now = bp.Trainer(net, loss=loss).loss_and_gradients(X, y, weight)[0]
    assume(np.isfinite(loss_now))  # weights near 1000 and exponentials
    bp.check_gradients(net, loss, X, y, sample_weight=weight, seed=seed, **FEW).raise_if_failed()


def test_sums_of_many_terms_raise_no_false_alarm(monkeypatch):
    """A trained float32 ResNet on raw digits, whose equal pixels make long walks of partial sums; a fault is found."""
    X, y = (array[:1000] for array in optdigits()[:2])
    X = np.uint8(16 * X).reshape(-1, 8, 8, 1).repeat(2, axis=1).repeat(2, axis=2)
    net = bp.Network([bp.Standardize(), bp.Conv2D(4, bias=False), bp.BatchNorm(), bp.Activation("relu"),
                      bp.ResidualBlock(4), bp.GlobalAvgPool2D(), D(10, "softmax")], seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", optimizer=bp.Adam(2e-3), batch_size=64, seed=0)
    trainer.fit(X, y, epochs=4)
    few = {"entries": 1, "directions": 1}
    assert bp.check_gradients(net, "cross_entropy", X[:48], y[:48], **few).worst.severity < 0.5
    monkeypatch.setattr(instructions, "conv_backward", flipped)
    report = bp.check_gradients(net, "cross_entropy", X[:16], y[:16], backend="numpy", **few)
    assert wrong_places(report) == {"1.weight", "4.conv1.weight", "4.conv2.weight"}


@pytest.mark.parametrize("side, layers, growth", [
    (4, [bp.Conv2D(2, 3, "tanh"), bp.Flatten(), D(1)], 1),
    (8, [bp.Conv2D(2, 3, "tanh"), bp.GlobalAvgPool2D(), D(1)], 2),
    (2, [bp.Flatten(), D(2, "tanh"), D(1024, "tanh"), D(1)], 2)])
def test_the_noise_grows_with_sums_of_many_terms(side, layers, growth, rng, monkeypatch):
    """As the root of terms over 256: of 16 rows of images, or the inputs of a unit."""
    X, y = rng.normal(size=(16, side, side, 1)), rng.normal(size=16)
    net = bp.Network(layers, input_shape=(side, side, 1), dtype="float64", seed=0)
    with_growth = bp.check_gradients(net, "squared_error", X, y, **FEW)
    monkeypatch.setattr(reference, "SHORT_SUM", np.inf)
    for check, without in zip(with_growth.checks, bp.check_gradients(net, "squared_error", X, y, **FEW).checks):
        assert check.tolerance == pytest.approx(growth * without.tolerance, rel=0.2)


def test_entries_at_a_kink_are_skipped():
    """At X = 0 with zero biases every ReLU is at its kink: nothing can be said of what moves one."""
    net = bp.Network([D(6, "relu"), D(2)], input_shape=3, dtype="float64", seed=0)
    report = bp.check_gradients(net, "squared_error", np.zeros((4, 3)), np.ones((4, 2)))
    skipped = {check.name: check.skipped for check in report.checks}
    assert report.ok and skipped == {
        "0.weight": 0, "0.bias": 1, "1.weight": 0, "1.bias": 0, "X": 1, "loss": 0}


# -- planted faults -----------------------------------------------------------------------------------------


def wrong_places(report):
    return {check.name for check in report.checks if not check.ok}


FAULTY_PRODUCTS = {
    "a sign": lambda delta, x, weight: (-delta @ weight.T, x.T @ delta, delta.sum(axis=0)),
    "a missing factor": lambda delta, x, weight: (delta @ weight.T, 2 * x.T @ delta, delta.sum(axis=0)),
    "a transposed weight": lambda delta, x, weight: (
        delta @ (weight if len(weight) == len(weight.T) else weight.T), x.T @ delta, delta.sum(axis=0)),
    "a mean for a sum": lambda delta, x, weight: (delta @ weight.T, x.T @ delta, delta.mean(axis=0)),
    "a small constant": lambda delta, x, weight: (delta @ weight.T, x.T @ delta * (1 + 1e-9), delta.sum(axis=0)),
}
WRONG_PLACES = {  # the tensors whose gradient comes through the fault
    "a sign": {"1.weight", "1.bias", "X"},  # and twice none
    "a missing factor": {"0.weight", "1.weight", "2.weight"},
    "a transposed weight": {"0.weight", "0.bias", "X"},
    "a mean for a sum": {"0.bias", "1.bias", "2.bias"},
    "a small constant": {"0.weight", "1.weight", "2.weight"},
}


@pytest.mark.parametrize("fault", FAULTY_PRODUCTS)
def test_differentiation_finds_a_fault_of_the_reference(fault, numbers, monkeypatch):
    """Also one that the engine shares."""
    monkeypatch.setattr(instructions, "dense_backward", FAULTY_PRODUCTS[fault])
    report = bp.check_gradients(network(SQUARE), "squared_error", *numbers, backend="numpy")
    assert wrong_places(report) == WRONG_PLACES[fault]
    assert report.worst.name in WRONG_PLACES[fault] and report.worst.against == "complex step"


def flipped(delta, x, weight, stride, padding):
    dx, dweight, dbias = conv_backward(delta, x, weight, stride, padding)
    return dx, dweight[::-1], dbias


def unmoved(dy, x, scale, *of_the_batch):
    """The adjoint of a norm whose mean and variance would not move with x."""
    *statistics, eps = of_the_batch
    if not statistics:
        mean = x.mean(axis=-1, keepdims=True)
        statistics = mean, ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return normalize_backward(dy, x, scale, *statistics, eps)


IMAGES = [bp.Conv2D(3, 2), bp.MaxPool2D(2, stride=1), bp.AvgPool2D(2), bp.Flatten(), D(3)]
FAULTY_LAYERS = {  # layers that take (3, 4, 2), the name of an adjoint, what it is made, the tensors that show it
    "a kernel upside down": (IMAGES, "conv_backward", flipped, {"0.weight"}),
    "a winner that is the last": (
        IMAGES, "max_pool_backward", lambda dy, winner, *window: max_pool_backward(dy, 0 * winner + 3, *window),
        {"0.weight", "X"}),
    "a mean for a sum of windows": (
        IMAGES, "avg_pool_backward", lambda dy, *window: 4 * avg_pool_backward(dy, *window),
        {"0.weight", "0.bias", "X"}),
    "a norm of constants": ([bp.Conv2D(2, 2), bp.BatchNorm(), bp.Flatten(), D(3)], "batch_norm_backward", unmoved,
                            {"0.weight", "0.bias", "X"}),
    "a norm of constant layers": ([bp.Conv2D(3, 2), bp.LayerNorm(), bp.Flatten(), D(3)], "layer_norm_backward", unmoved,
                                  {"0.weight", "0.bias", "X"}),
    "what was dropped": ([bp.Flatten(), bp.Dropout(0.5), D(3)], "dropout_backward", lambda dy, factor: dy, {"X"}),
    "no deviation": ([bp.Standardize(), bp.Flatten(), D(3)], "standardize_backward", lambda dy, deviation: dy, {"X"}),
}


@pytest.mark.parametrize("layers, adjoint, fault, places", FAULTY_LAYERS.values(), ids=FAULTY_LAYERS)
def test_a_fault_of_a_layer_is_found(layers, adjoint, fault, places, dtype, rng, monkeypatch):
    net = network(layers, dtype, (3, 4, 2))
    if "0.deviation" in net.statistics:
        net.statistics["0.deviation"] = [0.5, 2]
    X, y = rng.normal(size=(7, 3, 4, 2)), rng.normal(size=(7, 3))
    assert bp.check_gradients(net, "squared_error", X, y, backend="numpy").ok
    monkeypatch.setattr(instructions, adjoint, fault)
    assert wrong_places(bp.check_gradients(net, "squared_error", X, y, backend="numpy")) == places


@pytest.mark.parametrize("fault", FAULTY_PRODUCTS)
def test_the_reference_finds_a_fault_of_the_engine(fault, numbers, monkeypatch):
    with monkeypatch.context() as planted:
        planted.setattr(instructions, "dense_backward", FAULTY_PRODUCTS[fault])
        trainer = bp.Trainer(network(SQUARE), loss="squared_error", backend="numpy")
        found = trainer.loss_and_gradients(*numbers), trainer.input_gradient(*numbers)
    monkeypatch.setattr(bp.Trainer, "loss_and_gradients", lambda *_: found[0])
    monkeypatch.setattr(bp.Trainer, "input_gradient", lambda *_: found[1])
    report = bp.check_gradients(network(SQUARE), "squared_error", *numbers)
    assert wrong_places(report) == WRONG_PLACES[fault]
    assert all(check.reference_error > check.tolerance for check in report.checks if not check.ok)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_derivative_at_the_output_is_found(dtype, numbers):
    """tanh' of y instead of x, as a row whose adjoint forgets what it is given."""
    tanh = ACTIVATIONS["tanh"]()
    tanh.__dict__.update(adjoint=lambda dy, x, y: dy * (1 - np.tanh(y) ** 2))
    report = bp.check_gradients(network([D(5, tanh), D(3)], dtype), "squared_error", *numbers, backend="numpy")
    assert wrong_places(report) == {"0.weight", "0.bias", "X"}


def test_a_layer_in_float32_is_found(numbers, monkeypatch):
    """One weight of a network in float64 that loses half its digits on the way."""
    right = bp.Trainer.loss_and_gradients

    def truncated(trainer, *arguments):
        net = trainer.network.copy()
        net.parameters["1.weight"] = net.parameters["1.weight"].astype("f4")
        return right(bp.Trainer(net, loss=trainer.loss), *arguments)

    monkeypatch.setattr(bp.Trainer, "loss_and_gradients", truncated)
    report = bp.check_gradients(network(SQUARE), "squared_error", *numbers)
    assert {"0.weight", "0.bias", "1.weight", "loss"} <= wrong_places(report)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_wrong_entry_of_many_is_found(dtype, rng, monkeypatch):
    """All entries are compared with the reference, and random directions see those that are not drawn."""
    net, X, y = network([D(40, "tanh"), D(3)], dtype, n_in=50), rng.normal(size=(6, 50)), rng.normal(size=(6, 3))
    right = bp.Trainer.loss_and_gradients

    def one_wrong(trainer, *arguments):
        loss, gradients = right(trainer, *arguments)
        gradients["0.weight"][17, 31] += 0.01 * np.abs(gradients["0.weight"]).max()
        return loss, gradients

    monkeypatch.setattr(bp.Trainer, "loss_and_gradients", one_wrong)
    report = bp.check_gradients(net, "squared_error", X, y)
    assert wrong_places(report) == {"0.weight"} and report.worst.index == (17, 31)
    (check,) = (check for check in report.checks if check.name == "0.weight")
    assert (check.entries, check.directions) == (20, 4) and check.derivative_error > check.tolerance


def test_a_wrong_loss_is_found(numbers, monkeypatch):
    right = bp.Trainer.loss_and_gradients
    monkeypatch.setattr(bp.Trainer, "loss_and_gradients",
                        lambda *arguments: (right(*arguments)[0] * (1 + 1e-9), right(*arguments)[1]))
    assert wrong_places(bp.check_gradients(network(SQUARE), "squared_error", *numbers)) == {"loss"}


def test_nan_is_found(numbers, monkeypatch):
    right = bp.Trainer.input_gradient
    monkeypatch.setattr(bp.Trainer, "input_gradient", lambda *arguments: right(*arguments) * np.nan)
    report = bp.check_gradients(network(SQUARE), "squared_error", *numbers)
    assert wrong_places(report) == {"X"} and report.worst.name == "X"


# -- the report ---------------------------------------------------------------------------------------------


def test_a_report(numbers, monkeypatch):
    arguments = network(SQUARE), "squared_error", *numbers
    report = bp.check_gradients(*arguments)
    assert pickle.loads(pickle.dumps(report)) == report == bp.check_gradients(*arguments)
    lines = str(report).splitlines()
    assert len(lines) == 1 + len(report.checks) and all(line.endswith("ok") for line in lines[1:])
    assert "5x5" in lines[1] and "complex step" in lines[1] and "differences" not in str(report)
    monkeypatch.setattr(instructions, "dense_backward", FAULTY_PRODUCTS["a mean for a sum"])
    wrong = bp.check_gradients(*arguments, backend="numpy")
    assert wrong != report and not wrong.ok and str(wrong).count("WRONG") == 3
    with pytest.raises(bp.GradientError, match=r"(?s)3 of 8 gradients are wrong.*0\.bias\[.*by the complex step"):
        wrong.raise_if_failed()


def test_what_is_nothing_but_rounding_is_vague(numbers):
    """The bias before a BatchNorm moves nothing; the rest is told."""
    for dtype in ("float32", "float64"):
        report = bp.check_gradients(network([D(5), bp.BatchNorm(), D(3)], dtype), "squared_error", *numbers)
        assert report.ok and {check.name for check in report.checks if check.vague} == {"0.bias"}
        verdicts = {line.split()[0]: line.split()[-1] for line in str(report).splitlines()[1:]}
        assert verdicts == {check.name: "vague" if check.name == "0.bias" else "ok" for check in report.checks}


def test_the_seed_draws_the_entries(rng):
    net, X, y = network([D(30, "tanh"), D(3)]), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    reports = [bp.check_gradients(net, "squared_error", X, y, seed=seed, entries=3) for seed in (0, 0, 1)]
    assert reports[0] == reports[1] != reports[2]


def test_what_cannot_be_checked_is_refused(numbers):
    X, y = numbers
    with pytest.raises(ValueError, match="the loss is inf in float32"):
        bp.check_gradients(network([D(3)], "float32"), "squared_error", X, y * 1e30)
    for wrong in ({"entries": 0}, {"directions": -1}, {"seed": -1}, {"backend": "other"}, {"sample_weight": [0] * 7}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            bp.check_gradients(network(SQUARE), "squared_error", X, y, **wrong)
    with pytest.raises(ValueError, match="5 columns"):
        bp.check_gradients(network(SQUARE, n_in=4), "squared_error", X, y)


# -- any function -------------------------------------------------------------------------------------------


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_gradient(x):
    found = np.zeros_like(x)
    found[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    found[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return found


def test_the_gradient_of_a_function(rng):
    x = rng.normal(size=9)
    report = bp.check_gradient(rosenbrock, rosenbrock_gradient, x)
    assert report.ok and report.checks[0].method == "complex step" and report.checks[0].derivative_error < 1e-11
    assert bp.check_gradient(rosenbrock, rosenbrock_gradient(x), x, rtol=1e-13).ok
    wrong = rosenbrock_gradient(x)
    wrong[4] *= 1 + 1e-5
    report = bp.check_gradient(rosenbrock, wrong, x)
    assert not report.ok and report.worst.index == (4,)


@pytest.mark.parametrize("f, gradient", [
    (lambda x: np.abs(x).sum(), np.sign),  # complex, but not analytic
    (lambda x: float(np.abs(x).ravel() @ np.abs(x).ravel()), lambda x: 2 * x),
    (lambda x: (np.floor(3 * x) * 0 + x**3).sum(), lambda x: 3 * x**2),  # of real numbers alone
    (lambda x: np.maximum(x, 0).sum() + np.exp(np.abs(x) / 2).sum(),
     lambda x: (x > 0) + np.sign(x) * np.exp(np.abs(x) / 2) / 2),
], ids=["abs", "norm", "floor", "mixed"])
def test_a_function_that_is_not_analytic(f, gradient, rng):
    x = rng.normal(size=(4, 5))
    report = bp.check_gradient(f, gradient, x)
    assert report.ok and report.checks[0].method == "differences" and report.checks[0].skipped == 0
    assert not bp.check_gradient(f, lambda x: gradient(x) + 1e-4, x).ok


def test_a_kink_of_a_function_is_skipped():
    report = bp.check_gradient(lambda x: np.abs(x).sum(), np.sign, [0.0, 2.0])
    assert report.ok and report.checks[0].skipped == 0.5


def test_a_function_that_is_none(rng):
    with pytest.raises(ValueError, match=r"one number, got shape \(3,\)"):
        bp.check_gradient(lambda x: x, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"shape of x, \(3,\), got \(2,\)"):
        bp.check_gradient(lambda x: x.sum(), np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="x is empty"):
        bp.check_gradient(lambda x: x.sum(), np.ones(0), np.ones(0))


# -- derivatives along a line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("analytic", [True, False])
def test_slopes(analytic, size):
    for f, expected in ((lambda t: np.sin(1 + t / size), np.cos(1.0)), (lambda t: np.exp(t / size), 1.0),
                        (lambda t: (1 + t / size) ** 7, 7.0), (lambda t: 3.0 + 0 * t, 0.0)):
        found = slope(f, size, analytic)
        assert found.value * size == pytest.approx(expected, abs=1e-15 if analytic else 1e-10)
        assert abs(found.value * size - expected) <= found.uncertainty * size + 1e-15


@pytest.mark.parametrize("analytic", [True, False])
def test_a_slope_at_a_kink_is_uncertain(analytic):
    """And beside one, however near, it is certain."""
    relu = lambda t: np.maximum([t], 0).item()
    assert slope(relu, 1.0, analytic).uncertainty > 0.5
    for kink in (1e-3, 1e-5, -1e-3, -1e-5):
        found = slope(lambda t, kink=kink: relu(t - kink), 1.0, analytic)
        assert found.value == pytest.approx(float(kink < 0), abs=1e-8) and found.uncertainty < 1e-8


def test_which_functions_are_analytic():
    assert is_analytic(np.exp) and is_analytic(lambda t: np.maximum([t], 0).item())
    assert not is_analytic(lambda t: abs(t - 1)) and not is_analytic(lambda t: np.real(t))
    assert not is_analytic(lambda t: abs(t - 1) + np.exp(t))
    assert not is_analytic(float)


@pytest.mark.parametrize("f, rtol", [(lambda v: np.log(v.real - 100).sum(), 1e-7), (lambda v: (v**3).sum(), -1),
                                     (lambda v: (v**3).sum(), np.nan)])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_cannot_be_checked_is_not_right(f, rtol):
    with pytest.raises(ValueError, match="f is nan|rtol must be"):
        bp.check_gradient(f, lambda v: 7 + 0 * v, np.arange(1.0, 6), rtol=rtol)


def test_a_kink_everywhere_is_not_right():
    report = bp.check_gradient(lambda v: np.abs(v).sum(), lambda v: 0 * v, np.zeros(3))
    assert not report.ok
    with pytest.raises(bp.GradientError, match="nothing could be compared"):
        report.raise_if_failed()
