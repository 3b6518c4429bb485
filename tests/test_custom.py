"""User-written activations, losses and optimizers: what they compute, how they are told apart, refused, and pickled."""

import copy
import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import bpfast as bp
from bpfast.backends import numpy as reference

OFFSET = 0.5


def softer(x):
    """A helper."""
    return OFFSET + math.log1p(math.exp(-abs(x))) + max(x, 0.0)


@bp.activation
def swish(x, beta=1.0):
    return x / (1 + math.exp(-beta * x))


@bp.activation(kinks=(0,), initializer="he")
def my_relu(x):
    if x > 0:
        return x
    return 0.0


@bp.activation
def helped(x):
    return softer(x) ** 2 - np.tanh(x)


with warnings.catch_warnings(action="ignore"):  # they are no numbers at zero

    @bp.activation
    def sharp(x):
        """No number at the zeros of the padding."""
        return x / abs(x) + 0.1 * x

    @bp.optimizer
    def descent_of_numbers(g, w, lr, step):
        """The same of zero gradients."""
        return w - lr * g * (g / g)

    @bp.optimizer
    def descent_of_inverses(g, w, v, lr, step):
        """Infinite ones."""
        return w - 1e-3 * lr * math.tanh(1 / g), 0.5 * v + 1 / g


@bp.activation
def cubic(x):
    return x**3 + math.sin(x)


@cubic.derivative
def cubic_slope(x):
    return 3 * x**2 + math.cos(x)


@bp.loss(reduction="sum")
def half_square(prediction, target):
    return 0.5 * (prediction - target) ** 2


@bp.loss
def my_huber(prediction, target, delta=1.0):
    error = abs(prediction - target)
    return 0.5 * error**2 if error <= delta else delta * (error - 0.5 * delta)


@bp.optimizer
def my_adam(g, w, m, v, lr, step, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return w - lr * m_hat / (math.sqrt(v_hat) + epsilon), m, v


@bp.optimizer
def descent(g, w, lr, step):
    return w - lr * g


@bp.optimizer
def heavy_ball(g, w, v, lr, step, momentum=0.9):
    v = momentum * v + g
    return w - lr * v, v


def train(backend, dtype, hidden="tanh", loss="squared_error", optimizer=None, **settings):
    """-> name -> array: what a network of 5, 7 and 3 units is after some epochs."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(50, 5)), rng.normal(size=(50, 3))
    net = bp.Network([bp.Dense(7, hidden, initializer="glorot"), bp.Dense(3)], input_shape=5, dtype=dtype, seed=1)
    trainer = bp.Trainer(net, loss=loss, optimizer=optimizer or bp.SGD(0.01), batch_size=16, seed=2, backend=backend,
                         **settings)
    history = trainer.fit(X, y, epochs=3)
    return {**net.parameters, "loss": history["loss"], "outputs": trainer.predict(X)}


PAIRS = {  # written, built in
    "activation": ({"hidden": swish}, {"hidden": "silu"}),
    "hyperparameter": ({"hidden": swish(beta=1.702)}, {"hidden": swish(beta=1.702)}),
    "by name": ({"hidden": "my_relu"}, {"hidden": "relu"}),
    "loss": ({"loss": half_square}, {"loss": "squared_error"}),
    "loss, hyperparameter": ({"loss": my_huber(delta=0.5)}, {"loss": bp.LOSSES["huber"](delta=0.5)}),
    "optimizer": ({"optimizer": descent(0.05)}, {"optimizer": bp.SGD(0.05)}),
    "optimizer, slots": ({"optimizer": my_adam(0.01, beta1=0.8)}, {"optimizer": bp.Adam(0.01, beta1=0.8)}),
    "optimizer, schedule": ({"optimizer": descent(bp.ExponentialDecay(0.05, 0.5))},
                            {"optimizer": bp.SGD(bp.ExponentialDecay(0.05, 0.5))}),
}


@pytest.mark.parametrize("written, built_in", PAIRS.values(), ids=PAIRS)
def test_as_what_is_built_in(engine, dtype, written, built_in):
    found, expected = train(engine, dtype, **written), train("numpy", "float64", **built_in)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-10 if dtype == "float64" else 3e-5, err_msg=name)


@pytest.mark.parametrize("loss", [half_square, my_huber(delta=0.5)], ids=repr)
@pytest.mark.parametrize("optimizer", [heavy_ball(1e-3, momentum=0.8), my_adam(1e-2, beta1=0.8)], ids=repr)
@pytest.mark.parametrize("n_out", [1, 70])  # of which the last is no whole vector
def test_numba_makes_no_step_in_python(dtype, loss, optimizer, n_out, monkeypatch):
    """And learns what numpy does, where others read an activation's input, and the last batch is a smaller one."""
    rng, vectors = np.random.default_rng(5), []
    X, y = rng.normal(size=(43, 5)), rng.normal(size=(43, n_out))
    layers = [bp.Dense(7, swish(beta=1.5)), bp.Residual(bp.Activation(swish)), bp.Dense(n_out, my_relu)]
    for backend in ("numpy", "numba"):
        net = bp.Network(layers, dtype=dtype, seed=1)
        trainer = bp.Trainer(net, loss=loss, optimizer=optimizer, batch_size=16, seed=2, backend=backend)
        trainer.fit(X, y, epochs=3, sample_weight=np.arange(43) % 3)
        vectors.append([*net.to_vector(), *trainer.history["loss"]])
        monkeypatch.setattr(reference.Plan, "_step", None)
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-10 if dtype == "float64" else 3e-5)


@pytest.mark.parametrize("name", ["swish", "my_relu", "helped", "cubic"])
def test_gradients(backend, name):
    net = bp.Network([bp.Dense(7, name), bp.Dense(4, name), bp.Dense(2)], input_shape=3, seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    for loss in ("squared_error", my_huber):
        bp.check_gradients(net, loss, X, y, backend=backend).raise_if_failed()


def test_padding_is_no_number(engine, dtype):
    """0 / 0 there reaches nothing."""
    found, expected = (train(where, kind, hidden=sharp, loss=half_square, optimizer=descent_of_numbers(0.01))
                       for where, kind in ((engine, dtype), ("numpy", "float64")))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-10 if dtype == "float64" else 1e-4, err_msg=name)


def test_padding_under_a_rule_that_divides(engine, dtype):
    """By gradients that are zero there: 5 and 7 outputs."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    net = bp.Network([bp.Dense(7, "tanh"), bp.Dense(5)], input_shape=3, dtype=dtype, seed=0)
    trainer = bp.Trainer(net, loss="squared_error", optimizer=descent_of_inverses(0.1), batch_size=16, seed=0,
                         backend=engine)
    assert np.isfinite(trainer.fit(X, y, epochs=3)["loss"]).all() and np.isfinite(net.to_vector()).all()
    assert np.isfinite(trainer.predict(X)).all()


def test_padding_of_norms_is_no_number(engine):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6, 5, 3)), rng.normal(size=(40, 2))
    layers = [bp.Conv2D(5, 3, sharp), bp.BatchNorm(), bp.Activation(sharp), bp.LayerNorm(), bp.Scale(), bp.Flatten(),
              bp.Dense(7, "tanh"), bp.BatchNorm(), bp.Dense(2)]
    nets = [bp.Network(layers, dtype="float64", seed=0) for _ in range(2)]
    for net, backend in zip(nets, (engine, "numpy")):
        trainer = bp.Trainer(net, loss="squared_error", optimizer=descent_of_numbers(0.01), batch_size=16, seed=0,
                             backend=backend)
        trainer.fit(X, y, epochs=2)
    np.testing.assert_allclose(nets[0].to_vector(), nets[1].to_vector(), atol=1e-10)


def test_any_number_of_threads(dtype):
    """Gives the same bits."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 40)).astype(dtype), rng.normal(size=(600, 3))
    digests = set()
    for n_threads in (1, 2, 3, 4):
        net = bp.Network([bp.Dense(130, helped), bp.Dense(70, swish), bp.Dense(3)], dtype=dtype, seed=0)
        trainer = bp.Trainer(net, loss=my_huber, optimizer=my_adam(0.01), batch_size=200, seed=0, n_threads=n_threads)
        trainer.fit(X, y, epochs=2)
        digests.add(net.to_vector().tobytes())
    assert len(digests) == 1


def spread(g, w, v, lr, step, a=0.5, b=4.0):
    """Scalars among all sorts of factors and divisors."""
    v = 2 * (1 - a) * v / b + a * (g / (3 * b)) * step - v * lr * 0.5
    return w - lr * (v / (1 - a**step)) / (abs(w) / b + b) - g * lr, v


def test_what_a_step_knows_is_one_factor():
    """The rule with scalars taken together gives what its text gives; no more is left in it than products."""
    rule = bp.optimizer(spread).update
    scalars = rule.coefficients(3.0, 0.01, *rule.values)
    for numbers in np.random.default_rng(0).normal(size=(20, 3)):
        expected = spread(*numbers, 0.01, 3.0, 0.5, 4.0)
        np.testing.assert_allclose(rule.rule_of_step(*numbers, *scalars), expected, rtol=1e-14)
    assert len(scalars) == 4 + 5  # lr, step, a, b and a factor in each of five products


def switched(g, w, lr, step):
    rate = 2 * lr if step > 2 else 0.5 * lr
    return w - 2 * rate * (g / (abs(g) + 1e-30)) * (g / (abs(g) + 1e-30))


@pytest.mark.parametrize("step", [1.0, 5.0])
def test_what_a_step_knows_stands_once_and_where_it_stood(step):
    """A scalar with a branch is taken as it was written; numbers whose products float32 does not hold stay apart."""
    row = bp.optimizer(switched).update
    numbers = 1e-25, 0.0, *row.coefficients(step, 0.25)  # the first as a square is 0 in float32
    assert np.isclose(row.rule_of_step(*map(np.float32, numbers)), -2 * 0.25 * (2 if step > 2 else 0.5), rtol=1e-4)


@pytest.mark.parametrize("text", ["x * math.copysign(1, x)", "0.5 * x if x else 1.0", "x > 0 and x or 0.1 * x"])
def test_compiled_as_numpy(text, dtype):
    scope = {"math": math}
    exec(f"def of_text(x): return {text}", scope)
    op = bp.activation(scope["of_text"])
    found, expected = (train(backend, dtype, op)["outputs"] for backend in ("native", "numpy"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_how_they_are_printed_and_compared():
    assert [repr(op) for op in (swish, swish(beta=2), my_adam(0.1), my_adam(beta1=0.5), bp.Dense(3, "swish"))] == [
        "swish", "swish(beta=2.0)", "my_adam(0.1)", "my_adam(0.01, beta1=0.5)", "Dense(3, swish)"]
    assert swish == swish(beta=1) != swish(beta=2) and my_adam(0.1) == my_adam(0.1) != my_adam(0.2)
    assert copy.deepcopy(swish) is swish and bp.Dense(3, "swish").activation is swish


def test_another_of_the_name_takes_its_place():
    def make(power):
        def redefined(x):
            return x * power
        return bp.activation(redefined)

    first, second = make(2), make(3)
    assert first != second and bp.Dense(3, "redefined").activation is second


@pytest.mark.parametrize("thing", [
    swish, swish(beta=2), helped, cubic, my_huber(delta=2), my_adam(0.1), descent(bp.CosineDecay(1, 5))], ids=repr)
def test_pickles(thing):
    assert pickle.loads(pickle.dumps(thing)) == thing


@pytest.mark.parametrize("thing", [swish, swish(beta=2), cubic, my_huber(delta=2), my_adam(0.1, beta1=0.5)], ids=repr)
def test_what_can_be_imported_is_pickled_without_its_text(thing):
    packed = pickle.dumps(thing)
    assert b"return" not in packed and __name__.encode() in packed and len(packed) < 300


def test_functions_from_within_travel_as_text():
    factor = 1.25

    def local(x, shift=0.5):
        return factor * softer(x) + shift

    op = bp.activation(local)
    again = pickle.loads(pickle.dumps(op(shift=2)))
    assert again == op(shift=2) and again.function is not local
    np.testing.assert_array_equal(again.forward(np.ones(2), 2.0), op.forward(np.ones(2), 2.0))
    assert pickle.loads(pickle.dumps(again)) == again


def test_what_is_defined_within_travels_with_its_names(monkeypatch):
    monkeypatch.setitem(globals(), "tanh", [])  # which math.tanh does not mean
    start = 0.25

    def holder(x: np.float64, shift=start):
        def inner(z):
            return math.tanh(z) * OFFSET

        return inner(x) + shift

    def rule(g: np.float64, w, lr, step, rest=start):
        return w - (1 - rest) * lr * g

    op = bp.activation(holder)
    assert op.forward(np.ones(1), 0.25) == pickle.loads(pickle.dumps(op)).forward(np.ones(1), 0.25)
    assert pickle.loads(pickle.dumps(bp.optimizer(rule))) == bp.optimizer(rule)


SCRIPT = """
import bpfast as bp, sys, pickle, numpy as np
{define}
if sys.argv[1] == "save":
    net = bp.Network([bp.Dense(3, bent), bp.Dense(1)], input_shape=2, seed=0)
    pickle.dump(net, open("net.pickle", "wb"))
else:
    net = pickle.load(open("net.pickle", "rb"))
np.save(sys.argv[1], net.predict(np.ones((4, 2))))
"""
DEFINE = """
@bp.activation
def bent(x):
    return x if x > 0 else 0.3 * x
"""


def run(folder, text, *arguments):
    (folder / "script.py").write_text(text)
    return subprocess.run([sys.executable, "script.py", *arguments], cwd=folder, capture_output=True, text=True)


def test_a_script_saves_and_another_process_loads(tmp_path):
    assert run(tmp_path, SCRIPT.format(define=DEFINE), "save").returncode == 0
    done = run(tmp_path, SCRIPT.format(define=""), "load")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "save.npy"), np.load(tmp_path / "load.npy"))


def test_a_function_that_is_gone_is_named(tmp_path):
    (tmp_path / "formulas.py").write_text("import bpfast as bp\n" + DEFINE)
    assert run(tmp_path, SCRIPT.format(define="from formulas import bent"), "save").returncode == 0
    assert run(tmp_path, SCRIPT.format(define=""), "load").returncode == 0
    (tmp_path / "formulas.py").write_text("def bent(x):\n    return x\n")
    done = run(tmp_path, SCRIPT.format(define=""), "load")
    assert "of module 'formulas', which is not there ('bent' is no activation)" in done.stderr
    (tmp_path / "formulas.py").unlink()
    done = run(tmp_path, SCRIPT.format(define=""), "load")
    assert "uses the activation 'bent' of module 'formulas', which is not there" in done.stderr


def test_a_global_that_changes_later_changes_nothing(backend, monkeypatch):
    """The function is what it was when it was defined and tried: in every backend, and as a copy."""
    def own_loss(prediction, target):
        return OFFSET * (prediction - target) ** 2

    def half(prediction, target):
        return 0.5 * (prediction - target) ** 2

    written, half = bp.loss(own_loss), bp.loss(half)
    monkeypatch.setitem(globals(), "OFFSET", 2.0)
    X, found = np.linspace(-1, 1, 20)[:, None], []
    for loss in (written, pickle.loads(pickle.dumps(written)), half):
        net = bp.Network([bp.Dense(3, "tanh"), bp.Dense(1)], dtype="float64", seed=0)
        trainer = bp.Trainer(net, loss=loss, optimizer=bp.SGD(0.1), backend=backend, seed=0)
        trainer.fit(X, np.sin(X), epochs=2)
        found.append(net.to_vector())
    for vector in found[1:]:
        np.testing.assert_allclose(vector, found[0], rtol=1e-12)


def test_names_are_known_and_plain_functions_told_what_to_do():
    net = bp.Network([bp.Dense(3, "swish"), bp.Dense(1)], input_shape=2)
    trainer = bp.Trainer(net, loss="my_huber", optimizer="my_adam")
    assert trainer.optimizer == my_adam and trainer.loss == my_huber
    for make, kind in ((lambda: bp.Dense(3, softer), "activation"), (lambda: bp.Trainer(net, loss=softer), "loss"),
                       (lambda: bp.Trainer(net, loss="my_huber", optimizer=softer), "optimizer")):
        with pytest.raises(ValueError, match=rf"unknown {kind} <function softer .*decorate .* with @bpfast.{kind}"):
            make()


@bp.activation
def keyed(x, *, beta=1.5):
    return x / (1 + math.exp(-beta * x))


@bp.optimizer
def keyed_momentum(g, w, v, lr, step, *, momentum=0.9):
    v = momentum * v + g
    return w - lr * (1 - momentum) * v, v


def test_hyperparameters_may_be_keywords(backend):
    net = bp.Network([bp.Dense(3, keyed(beta=2.0)), bp.Dense(1)], dtype="float64", seed=0)
    twin = bp.Network([bp.Dense(3, swish(beta=2.0)), bp.Dense(1)], dtype="float64", seed=0)
    X = np.linspace(-1, 1, 20)[:, None]
    for network, optimizer in ((net, keyed_momentum(0.5, momentum=0.8)), (twin, bp.Momentum(0.1, momentum=0.8))):
        bp.Trainer(network, loss="squared_error", optimizer=optimizer, backend=backend, seed=0).fit(X, X**2, epochs=3)
    np.testing.assert_allclose(net.to_vector(), twin.to_vector(), rtol=1e-10)
    assert pickle.loads(pickle.dumps(keyed(beta=3.0))) == keyed(beta=3.0)
