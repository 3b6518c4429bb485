"""Whole networks against PyTorch in float64: recorded witnesses always, live where it is installed."""

from pathlib import Path

import numpy as np
import pytest
from checks import check_gradients, digest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import BATCH_SIZE, CASES, EPOCHS, LARGE, RATES, network, starting_point
from samples import targets_for

import bpfast as bp
from bpfast.ops import ACTIVATIONS, LOSSES
from bpfast.ops.table import Loss

WITNESSES = Path(__file__).parent / "witnesses"
OPTIMIZERS = {"sgd": bp.SGD(RATES["sgd"]), "adam": bp.Adam(RATES["adam"])}

every_case = pytest.mark.parametrize("name", CASES)


def witness(name):
    """-> what PyTorch found, and where it started: X, y, weight, parameters and statistics."""
    with np.load(WITNESSES / f"{name}.npz") as file:
        found = dict(file)
    start = {key.removeprefix("start "): found.pop(key) for key in list(found) if key.startswith("start ")}
    return found, (found.pop("X"), found.pop("y"), found.pop("weight", None), start)


def run(case, backend, dtype, X, y, weight, start):
    """The same as torch_twin.run, by bpfast."""
    def trainer(optimizer=bp.SGD()):
        net = network(case, start, dtype)
        return bp.Trainer(net, loss=case.loss, optimizer=optimizer, batch_size=BATCH_SIZE, backend=backend)

    loss, gradients = trainer().loss_and_gradients(X, y, weight)
    found = {"outputs": trainer().predict(X), "loss": np.array(loss)}
    found |= {f"gradient {key}": array for key, array in gradients.items()}
    for name, optimizer in OPTIMIZERS.items():
        trained = trainer(optimizer)
        history = trained.fit(X, y, epochs=EPOCHS, sample_weight=weight, shuffle=False)
        found[f"{name} losses"] = history["loss"]
        found |= {f"{name} {key}": array for key, array in trained.network.arrays.items()}
        if trained.network.statistics:
            found[f"{name} outputs"] = trained.predict(X)
    return found


def check_same(found, expected, dtype):
    """All of what was found is as expected: in float64 to 1e-10; in float32 nearly all, as a quantile tells.

    The rest, in float32, is Adam near g = 0, where a step is a sign, and rows at the kink of a ReLU.
    """
    assert set(found) == set(expected)
    for key, exact in expected.items():
        assert found[key].shape == exact.shape, key
        error = np.abs(found[key] - exact) / max(np.abs(exact).max(), 1e-3)
        if dtype == "float64":
            assert error.max() < 1e-10, f"{key}: off by {error.max():.2g}"
        else:
            assert np.quantile(error, 0.9) < 2e-5, f"{key}: a tenth is off by more than {np.quantile(error, 0.9):.2g}"
            assert error.max() < 1e-2, f"{key}: off by {error.max():.2g}"


@every_case
def test_witness(engine, dtype, name):
    expected, start = witness(name)
    check_same(run(CASES[name], engine, dtype, *start), expected, dtype)


@pytest.mark.parametrize("case", [*CASES.values(), *LARGE.values()], ids=[*CASES, *LARGE])
def test_live(backend, case, torch_twin):
    """From other numbers than those of the witnesses."""
    start = starting_point(case, seed=1)
    check_same(run(case, backend, "float64", *start), torch_twin.run(case, *start), "float64")


@every_case
def test_witness_is_what_pytorch_finds(name, torch_twin):
    recorded, start = witness(name)
    for key, value in torch_twin.run(CASES[name], *start).items():
        np.testing.assert_allclose(recorded.pop(key), value, rtol=1e-9, atol=1e-12)
    assert not recorded


def test_every_activation_that_pytorch_has_is_in_a_witness(torch_twin):
    within = {op for case in CASES.values() for op in _activations(case.layers)}
    assert within == set(torch_twin.ACTIVATIONS) <= set(ACTIVATIONS)


def test_every_loss_is_in_a_witness(torch_twin):
    within = {Loss.get(case.loss).name for case in CASES.values()}
    assert within == set(LOSSES) == {*torch_twin.LOSSES, *(loss for _, loss in torch_twin.PAIRS)}


def test_every_layer_but_noise_is_in_a_witness(torch_twin):
    within = {type(layer) for case in [*CASES.values(), *LARGE.values()] for layer in _layers(case.layers)}
    assert within == set(torch_twin.LAYERS)
    known = {thing for thing in vars(bp).values() if isinstance(thing, type) and issubclass(thing, bp.layers.Layer)}
    assert known - within == {bp.Dropout, bp.AlphaDropout}


def _activations(layers):
    return (layer.activation.name for layer in _layers(layers) if hasattr(layer, "activation"))


def _layers(layers):
    """These and all within them."""
    for layer in layers:
        yield layer
        if isinstance(layer, bp.Residual):
            yield from _layers([*layer.layers, *(layer.shortcut or ())])


# -- the gradient of any network is the derivative of its loss ---------------------------------------------

# Not exponential: one upon the other, exponentials grow beyond what differences resolve.
smooth = st.sampled_from([name for name, op in ACTIVATIONS.items() if not op.kinks and name != "exponential"])
dense = st.builds(bp.Dense, st.integers(1, 20), smooth)


@st.composite
def layer(draw, width):
    """A Dense layer, or a Residual of up to three layers that keeps the width; -> layer, its width."""
    if draw(st.booleans()):
        drawn = draw(dense)
        return drawn, drawn.units
    inner, inner_width = [], width
    for _ in range(draw(st.integers(0, 2))):
        drawn, inner_width = draw(layer(inner_width))
        inner.append(drawn)
    return bp.Residual(*inner, bp.Dense(width, draw(smooth))), width


@st.composite
def layers(draw):
    """-> n_in, layers."""
    n_in = width = draw(st.integers(1, 20))
    drawn = []
    for _ in range(draw(st.integers(1, 3))):
        one, width = draw(layer(width))
        drawn.append(one)
    return n_in, drawn


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@settings(max_examples=8)
@given(layers(), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_gradient_is_the_derivative(backend, shape, n, weighted, seed):
    n_in, drawn = shape
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_in))
    weight = rng.uniform(0.1, 3, n) if weighted else None
    labels = [*drawn, bp.Dense(4, "softmax")]
    check_gradients(backend, labels, "cross_entropy", X, rng.integers(4, size=n), weight)
    numbers = [*drawn, bp.Dense(3)]
    check_gradients(backend, numbers, "squared_error", X, rng.normal(size=(n, 3)), weight)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_pair(backend, activation, loss):
    """An output activation and a loss run together, with the right gradient, or are refused and a pair is named."""
    layers, op, rng = [bp.Dense(4, "tanh"), bp.Dense(3, activation)], LOSSES[loss], np.random.default_rng(7)
    X, labels, numbers = rng.normal(size=(60, 5)), rng.integers(3, size=60), rng.normal(size=(60, 3))
    y = targets_for(op, labels, numbers)
    net = bp.Network(layers, input_shape=5, dtype="float64", seed=3)
    if not op.accepts(ACTIVATIONS[activation]):
        one, other = op.pair
        with pytest.raises(ValueError, match=f"{loss!r} belongs to.*{activation!r}.*{one!r}.*{other!r}"):
            bp.Trainer(net, loss=loss, backend=backend)
        return
    if not ACTIVATIONS[activation].differentiable:
        assert np.isfinite(bp.Trainer(net, loss=loss, backend=backend).fit(X, y, epochs=2)["loss"]).all()
        return
    z, outputs = (found[net.program.output] for found in net.plan("numpy").activations(net.arrays, X)[:2])
    smooth = np.ones(60, bool)
    for kink in {0, *ACTIVATIONS[activation].kinks}:
        smooth &= (np.abs(z - kink) > 0.02).all(axis=1)
    if op.kinks:
        smooth &= (np.abs(op.kinks(outputs, y, *op.values)) > 0.02).all(axis=1)
    rows = np.flatnonzero(smooth)[:9]
    assert len(rows) == 9
    check_gradients(backend, layers, loss, X[rows], y[rows], rng.uniform(0.1, 3, 9))


@given(st.lists(st.integers(1, 4), min_size=3, max_size=12), st.integers(0, 99))
def test_a_weight_is_a_number_of_rows(weights, seed):
    """An integer weight k does what k copies of the row do, in every backend."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(len(weights), 5)), rng.integers(3, size=len(weights))
    net = bp.Network([bp.Dense(6, "tanh"), bp.Dense(3, "softmax")], input_shape=5, dtype="float64", seed=seed)
    trainer = bp.Trainer(net, loss="cross_entropy")
    loss, gradients = trainer.loss_and_gradients(X, y, np.array(weights))
    repeated, same = trainer.loss_and_gradients(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert loss == pytest.approx(repeated, rel=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, same[name], rtol=1e-11, atol=1e-13)


# -- numbers that are far apart -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_out", [2, 10, 17])
def test_huge_logits(engine, dtype, n_out):
    """Logits of +-1e4 give a finite loss and the right gradient, also where the softmax is 0 and 1."""
    net = bp.Network([bp.Dense(n_out, "softmax")], input_shape=n_out, dtype=dtype)
    net.parameters["0.weight"], net.parameters["0.bias"] = np.eye(n_out), np.zeros(n_out)
    X = np.full((2, n_out), -1e4)
    X[:, 0] = 1e4
    trainer = bp.Trainer(net, loss="cross_entropy", backend=engine)

    assert trainer.loss_and_gradients(X[:1], [0])[0] == 0
    loss, gradients = trainer.loss_and_gradients(X, [0, 1])
    assert loss == 1e4
    expected = np.zeros(n_out)
    expected[:2] = 0.5, -0.5
    np.testing.assert_array_equal(gradients["0.bias"], expected)
    np.testing.assert_array_equal(trainer.predict(X)[0], np.eye(n_out)[0])
    trainer.fit(X, [0, 1], epochs=3)
    assert np.isfinite(net.to_vector()).all()


@pytest.mark.parametrize("activation, loss, weighs", [
    ("sigmoid", "binary_cross_entropy", 0.5), ("linear", "sigmoid_binary_cross_entropy", 0.5),
    ("linear", "log_cosh", 1), ("linear", "mean_absolute_error", 1), ("linear", "huber", 1)])
def test_huge_outputs(engine, dtype, activation, loss, weighs):
    """Outputs or logits of +-1e4, of which one is wrong and one is right: the loss 1e4 of the wrong one is finite."""
    net = bp.Network([bp.Dense(1, activation)], input_shape=1, dtype=dtype)
    net.parameters["0.weight"], net.parameters["0.bias"] = np.ones((1, 1)), np.zeros(1)
    trainer = bp.Trainer(net, loss=loss, backend=engine)
    X, y = np.array([[1e4], [-1e4]]), [0, 0] if weighs == 0.5 else [0, -1e4]
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(5e3, rel=1e-4)
    value, gradients = trainer.loss_and_gradients(X, y)
    assert value == pytest.approx(5e3, rel=1e-4)
    np.testing.assert_allclose(gradients["0.bias"], [0.5], rtol=1e-6)
    assert np.isfinite(trainer.fit(X / 1e4, np.clip(y, 0, 1), epochs=2)["loss"]).all()


@pytest.mark.parametrize("activation, loss, fused", [
    ("softmax", "cross_entropy", "softmax_cross_entropy"),
    ("sigmoid", "binary_cross_entropy", "sigmoid_binary_cross_entropy")])
def test_a_pair_is_its_logits(engine, dtype, activation, loss, fused, rng):
    """A pair trains as its fused row does on linear outputs, bit for bit; only the outputs differ."""
    X, labels, numbers = rng.normal(size=(40, 5)), rng.integers(3, size=40), rng.normal(size=(40, 3))
    y = targets_for(LOSSES[loss], labels, numbers)

    def fit(activation, loss):
        net = bp.Network([bp.Dense(6, "tanh", initializer="he"), bp.Dense(3, activation)], dtype=dtype, seed=1)
        trainer = bp.Trainer(net, loss=loss, seed=2, batch_size=8, backend=engine)
        history = trainer.fit(X, y, epochs=3, validation=(X, y))
        return trainer.predict(X[:5]), trainer.predict(X), [*history["loss"], *history["val_loss"]], digest(net)

    few, outputs, *trained = fit(activation, loss)
    _, logits, *expected = fit("linear", fused)
    assert trained == expected
    np.testing.assert_array_equal(few, outputs[:5])
    exact = ACTIVATIONS[activation].forward(logits.astype(float))
    np.testing.assert_allclose(outputs, exact, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_large_batches(engine, dtype, rng):
    """2500 rows in a batch, which a backend may run in blocks: the same as the reference in float64.

    The same seed draws the same weights in both dtypes, up to rounding.
    """
    X, y = rng.normal(size=(2500, 19)).astype("f4"), rng.integers(10, size=2500)
    layers = [bp.Dense(18, "tanh"), bp.Residual(bp.Dense(18, "gelu")), bp.Dense(10, "softmax")]

    def fit(backend, dtype):
        net = bp.Network(layers, input_shape=19, dtype=dtype, seed=2)
        trainer = bp.Trainer(net, loss="cross_entropy", optimizer="sgd", batch_size=2500, backend=backend)
        loss, gradients = trainer.loss_and_gradients(X, y)
        trainer.fit(X, y, epochs=2, shuffle=False)
        found = {"loss": np.array(loss), "outputs": trainer.predict(X), "history": trainer.history["loss"]}
        return found | gradients | {f"after {key}": array for key, array in net.parameters.items()}

    check_same(fit(engine, dtype), fit("numpy", "float64"), dtype)


# -- real data ----------------------------------------------------------------------------------------------------


def test_handwritten_digits(backend):
    """The data set of the demo, by every backend; the published results are near 0.97."""
    from bpfast.demo import optdigits

    X, y, X_test, y_test = optdigits()
    net = bp.Network([bp.Dense(64, "relu"), bp.Dense(10, "softmax")], seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", optimizer=bp.Adam(3e-3), seed=0, backend=backend)
    trainer.fit(X, y, epochs=12)
    assert trainer.evaluate(X_test, y_test)["accuracy"] > 0.955


def test_mnist(data):
    """784-256-128-10, Adam, 10 epochs: at least 0.975 of the test images, by the native backend."""
    from bpfast.backends import missing

    if missing("native"):
        pytest.skip("minutes without the native backend")
    with np.load(data / "images" / "mnist.npz") as file:
        X, y, X_test, y_test = (file[name] for name in ("X_train", "y_train", "X_test", "y_test"))
    net = bp.Network([bp.Dense(256, "relu"), bp.Dense(128, "relu"), bp.Dense(10, "softmax")], seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", batch_size=128, seed=0)
    trainer.fit(X.reshape(len(X), -1) / np.float32(255), y, epochs=10)
    assert trainer.evaluate(X_test.reshape(len(X_test), -1) / np.float32(255), y_test)["accuracy"] >= 0.975
