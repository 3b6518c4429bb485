"""What is checked when a function is defined: refused, warned of with its line, and silent where it is right."""

import cmath
import math
import random
import re
import subprocess
import sys
import warnings
from functools import partial
from types import FunctionType

import numpy as np
import pytest

import bpfast as bp
from bpfast.backends.numba.functions import CannotCompile
from bpfast.backends.numba.functions import activation as compiled
from bpfast.ops import ACTIVATIONS, UPDATES

HALF = math.sqrt(0.5)
CONSTANTS = {"a": 1.0}


def softer(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def gated(x, beta=1.5):
    return x / (1 + math.exp(-beta * x))


def relu(x):
    return max(x, 0)


def named(name, function):
    """A lambda, or another, as if it had been written with def."""
    return FunctionType(function.__code__, function.__globals__, name, function.__defaults__)


# -- right ones are silent ---------------------------------------------------------------------------


def branches(x):
    if x < -3:
        return 0.0
    if x < -1:
        return (x + 3) ** 2 * 0.25
    elif x < 1:
        return math.sin(x) if x > 0 else x**3
    return math.log(x)


def rounds(x):
    y = 0.5 * x
    for _ in range(4):
        y = y - (math.tanh(y) - x / (1 + abs(x))) * HALF
    return y


def counts(x):
    k = 0
    while k < 3:
        k += 1
        x = 0.5 * x
    return x


def huber(y, t, delta=1.0):
    d = abs(y - t)
    return 0.5 * d * d if d < delta else delta * (d - 0.5 * delta)


RIGHT = [gated, softer, branches, rounds, counts] + [
    eval(f"lambda x: {text}", {"math": math, "np": np, "softer": softer, "HALF": HALF}) for text in (
        "x * math.tanh(softer(x))", "x * math.tanh(math.log1p(math.exp(x)))", "0.5 * x * (1 + math.erf(x * HALF))",
        "x if x > 0 else math.expm1(x)", "1.05 * (x if x > 0 else 1.67 * (math.exp(x) - 1))", "x / (1 + abs(x))",
        "max(0.0, min(1.0, 0.2 * x + 0.5))", "x * np.clip(x / 6 + 0.5, 0, 1)", "math.exp(-x * x)", "abs(x - 0.5)",
        "abs(x - 0.5078125)", "math.floor(3 * x)", "x if x > 0.2578125 else 0.0", "x + math.sin(x) ** 2", "x % 1.0",
        "x // 0.7", "np.where(x > 0, x, 0.01 * x)", "max(x, 0) ** 3", "2**x / (1 + 2**x)", "(x > 0) * x", "x**3",
        "x if abs(x) < 1 else math.copysign(1 + math.log(abs(x)), x)", "math.sqrt(x * x + 1) - 1", "math.exp(x)",
        "np.float64(1.3) * x * math.sqrt(2)", "abs(x) ** 1.5", "math.sin(100 * x)", "math.cosh(x)", "x**6 - 3 * x**5",
        "np.sign(x)", "1.0", "math.log(1 + x * x)", "1 / (1 + math.exp(-x))", "np.logaddexp(x, 0)",
        "np.clip(x, 0, 1.0)", "np.mod(x, 1)")]


@pytest.mark.parametrize("function", RIGHT, ids=range(len(RIGHT)))
def test_right_ones_are_silent(function):
    with warnings.catch_warnings(action="error"):
        bp.activation(named("right", function))


def test_right_losses_are_silent():
    with warnings.catch_warnings(action="error"):
        bp.loss(named("of_huber", huber))

        @bp.loss
        def logistic(y, t):
            return softer(y) - t * y

        @bp.loss
        def absolute(y, t):
            return abs(y - t)


def test_named_kinks_are_not_tried():
    """Which differences near them would."""
    def bent(x):
        return abs(x - 0.5) + math.tanh(1e3 * x)

    with warnings.catch_warnings(action="error"):
        for kinks in ((0.5, 0), 0.5):
            assert 0.5 in bp.activation(kinks=kinks)(bent).kinks


SLOPES = {  # wrong ones
    "x**3": "2 * x * x", "math.sin(3 * x)": "math.cos(3 * x)", "math.exp(-x * x)": "-x * math.exp(-x * x)",
    "x / (1 + abs(x))": "1 / (1 + abs(x))", "1 / (1 + x * x)": "2 * x / (1 + x * x) ** 2", "x * x": "math.log(x)",
    "math.sqrt(x * x + 1)": "x / (x * x + 1)", "x - math.tanh(x)": "1 - math.tanh(x)", "max(x, 0) ** 2": "max(x, 0)",
    "math.log(1 + x * x)": "x / (1 + x * x)", "max(x, 0.0)": "1.0", "abs(x)": "1.0", "min(x, 1)": "0.0",
    "math.tanh(x)": "1.001 * (1 - math.tanh(x) ** 2)", "2**x": "x * 2 ** (x - 1)",
}


@pytest.mark.parametrize("text", SLOPES)
def test_wrong_derivatives_are_refused(text):
    function, slope = (eval(f"lambda x: {t}", {"math": math}) for t in (text, SLOPES[text]))
    op = bp.activation(named("something", function))
    with pytest.raises(ValueError, match="its own derivative gives .*, finite differences give"):
        op.derivative(named("slope", slope))
    assert op.own_slope is None


# -- what is warned of -------------------------------------------------------------------------------


def catches(x):
    try:
        return 1 / (1 + abs(x))
    except ZeroDivisionError:
        return 0.0


def prints(x):
    if x > 1000:
        print(x)
    return x


def makes_a_list(x):
    return [x, 2 * x][0]


def of_a_dictionary(x):
    return CONSTANTS["a"] * x


def of_three(x):
    return max(x, 0.0, 0.1 * x)


def asks_the_size(x, n=3.0):
    for _ in range(int(n)):
        x = 0.5 * x
    return x


def names_amid(x):
    return y if (y := math.tanh(x)) > 0 else 2 * y


def halves(x):
    while x > 1:
        x = 0.5 * x
    return x


def calls_halves(x):
    return halves(x) + 1


def many_rounds(x):
    y = 1.0
    for _ in range(100):
        y = y - (y * y - abs(x) - 1) / (2 * y)
    return y


def logarithm(x):
    return math.log(x)


def root(x):
    return math.sqrt(abs(x))


def naive(x):
    return math.log(1 + math.exp(x))


def loses(x):
    return (x + 1e7) - 1e7


WARNED = [  # and how many lines after def
    (catches, "'catches' .*cannot be compiled, .*: machine code cannot catch errors", 3),
    (prints, "cannot be compiled, .*: it prints", 2),
    (makes_a_list, "write it for a scalar", 1),
    (of_a_dictionary, "CONSTANTS is a dict: give the numbers in it names of their own", 1),
    (of_three, r"max takes two numbers here: max\(max\(a, b\), c\)", 1),
    (asks_the_size, "int cannot be used here", 1),
    (names_amid, "it uses :=, which Numba does not compile: write y = ... on a line of its own", 1),
    (halves, r"does not vectorise.*write a loop of fixed length, for _ in range\(8\)", 1),
    (calls_halves, "does not vectorise", -5),
    (logarithm, r"is nan at -7.99219, line \d+: return math.log\(x\), and not finite at 32 of 65 places", 0),
    (root, r"is finite, but its derivative is nan at 0, line \d+: return math.sqrt", 0),
    (naive, r"is inf in float32 at 100, in float64 100, line \d+: return math.log\(1 \+ .*log1p\(math.exp\(-abs\(x", 0),
    (loses, "in float64 -7.74.*almost equal numbers lose digits", 0),
]


@pytest.mark.parametrize("function, words, line", WARNED, ids=lambda value: getattr(value, "__name__", ""))
def test_warned_of_with_the_line(function, words, line):
    with pytest.warns(UserWarning, match=words) as found:
        bp.activation(function)
    (one,) = found
    assert one.filename == __file__
    assert abs(one.lineno - function.__code__.co_firstlineno - line) <= (function is catches)  # in its last two lines


@pytest.mark.parametrize("function", [catches, makes_a_list, of_a_dictionary, of_three], ids=lambda f: f.__name__)
def test_what_was_warned_of_runs_with_numpy_and_is_an_error_compiled(function):
    with pytest.warns(UserWarning, match="runs with backend='numpy' alone"):
        op = bp.activation(function)
    net = bp.Network([bp.Dense(3, op)], input_shape=2, seed=0)
    settings = {"loss": "squared_error", "optimizer": bp.SGD(0.1)}
    X, y = np.ones((4, 2)), np.ones((4, 3))
    assert np.isfinite(bp.Trainer(net, **settings, backend="numpy").fit(X, y, epochs=1)["loss"][0])
    with pytest.raises(CannotCompile, match=rf"{function.__name__} cannot be compiled: .*line \d+ of "):
        bp.Trainer(net, **settings, backend="native").fit(X, y, epochs=1)


def test_compiled_code_without_vectors_is_told(monkeypatch):
    monkeypatch.setenv("BPFAST_CACHE", "")
    with warnings.catch_warnings(action="error"):
        bp.activation(many_rounds)
        for right in (branches, rounds, counts):
            compiled(right, "f4")
    with pytest.warns(UserWarning, match=r"many_rounds does not vectorise.*few rounds") as found:
        compiled(many_rounds, "f4")
    assert found[0].lineno == many_rounds.__code__.co_firstlineno


def test_a_rule_that_fails_at_zero_gradients():
    def by_size(g, w, lr, step):
        return w - lr * g / abs(g)

    def by_root(g, w, v, lr, step, epsilon=1e-60):
        return w - lr * g / (math.sqrt(v) + epsilon), v + g * g

    for rule, kind in ((by_size, "float64"), (by_root, "float32")):
        with pytest.warns(UserWarning, match=f"makes nan.* from the gradient 0 in {kind}, step 1: .*epsilon") as found:
            bp.optimizer(rule)
        assert found[0].lineno == rule.__code__.co_firstlineno


def test_the_slope_where_exp_overflows(engine, dtype):
    """Is that of the limit, not nan."""
    op = bp.activation(gated)
    net = bp.Network([bp.Dense(1, op)], input_shape=1, dtype=dtype)
    net.parameters["0.weight"] = np.ones((1, 1))
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(0.1), backend=engine)
    for x in (-90.0, -1e4):
        _, gradients = trainer.loss_and_gradients(np.array([[x]]), np.array([[0.5]]))
        assert abs(gradients["0.weight"]) < 1e-30 and abs(gradients["0.bias"]) < 1e-30


def test_a_derivative_that_comes_late_is_the_one_that_is_used():
    """In steps already compiled, too.  At 0, where |x| has none, that of abs is 0."""
    def size(x):
        return abs(x)

    def slope(x):
        return 1.0 if x >= 0 else -1.0

    op = bp.activation(size)
    def step(backend):
        """From a weight of 0."""
        net = bp.Network([bp.Dense(1, op)], input_shape=1, dtype="float64")
        net.parameters["0.weight"] = np.zeros((1, 1))
        trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(0.125), backend=backend)
        trainer.fit(np.array([[2.0]]), np.array([[1.0]]), epochs=1)
        return net.parameters["0.weight"].item()

    backends = "native", "numba", "numpy"
    assert [step(backend) for backend in backends] == [0, 0, 0]
    op.derivative(slope)
    assert [step(backend) for backend in backends] == [0.25, 0.25, 0.25]


def test_two_of_one_name_do_not_mix():
    def make(factor):
        def twin(x):
            return factor * x
        return bp.activation(twin)

    outputs = []
    for op in (make(2.0), make(3.0)):
        net = bp.Network([bp.Dense(1, op)], input_shape=1)
        net.parameters["0.weight"] = np.ones((1, 1))
        trainer = bp.Trainer(net, loss="squared_error", backend="native")
        outputs.append((trainer, trainer.predict(np.ones((1, 1))).item()))
    assert [number for _, number in outputs] == [2, 3]
    assert outputs[0][0].predict(np.ones((1, 1))) == 2


WITHOUT_NUMBA = """
import sys, math
sys.modules["numba"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *others: None if name == "numba" else real(name, *others)
import numpy as np, bpfast as bp

@bp.activation
def bent(x):
    return x if x > 0 else 0.3 * math.tanh(x)

@bent.derivative
def slope(x):
    return 1.0 if x > 0 else 0.3 * (1 - math.tanh(x) ** 2)

net = bp.Network([bp.Dense(3, bent), bp.Dense(1)], input_shape=2, seed=0)
X, y = np.ones((4, 2)), np.ones((4, 1))
bp.Trainer(net, loss="squared_error", backend="numpy").fit(X, y, epochs=1)
assert not any(name.startswith(("numba.", "llvmlite", "bpfast.backends.numba")) for name in sys.modules)
try:
    bp.Trainer(net, loss="squared_error", backend="native").fit(X, y, epochs=1)
except ImportError as error:
    assert 'python -m pip install "bpfast[numba]"' in str(error) and "'bent'" in str(error)
else:
    raise AssertionError("it ran without Numba")
"""


def test_without_numba(tmp_path):
    (tmp_path / "script.py").write_text(WITHOUT_NUMBA)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- what is refused ---------------------------------------------------------------------------------


def no_number(x):
    return "a text"


def complex_number(x):
    return x + 1j


def raising(x):
    if x > 3:
        raise RuntimeError("too large")
    return x


def wrong_slope(x):
    return 2 * x


def no_default(x, beta):
    return beta * x


def no_numbers(x, *rest):
    return x


def no_step(g, w, lr):
    return w - lr * g


def too_few(g, w, v, lr, step):
    return w - lr * g


def four_slots(g, w, a, b, c, d, lr, step):
    return w, a, b, c, d


def downhill(g, w, lr, step):
    return w - lr * g


def no_number_anywhere(x):
    return math.sqrt(-1 - x * x)


def two_numbers(x):
    return x, x


def of_chance(x):
    return x * random.random()


def of_cmath(x):
    return cmath.sqrt(x)


def of_gamma(x):
    return math.gamma(x)


def forgets(x):
    if x > 0:
        return x


def counts_truths(g, w, lr, step):
    return w - lr * ((step > 10) + (step > 20)) * g


def keyword_only(x, *, beta):  # without a default
    return beta * x


class Scale:
    def method(self, x):
        return 2 * x


NO_DEF = {"a lambda": lambda x: x, "of C": math.tanh, "a class": Scale, "partial": partial(gated, beta=2.0),
          "a method": Scale().method, "a number": 3}
REFUSED = {
    "a text": (lambda: bp.activation(no_number), ValueError, r"activation 'no_number' \(.*, line \d+\) raises"),
    "complex": (lambda: bp.activation(complex_number), ValueError, "raises TypeError.*complex"),
    "an exception": (lambda: bp.activation(raising), ValueError,
                     r"RuntimeError at 3.*, line \d+: raise Runtime.*too large"),
    "no default": (lambda: bp.activation(no_default), TypeError,
                   "'no_default': the hyperparameter beta needs a default"),
    "no numbers": (lambda: bp.activation(no_numbers), TypeError, r"must be a function f\(x, \*\*hyper"),
    "a name that is taken": (lambda: bp.activation(relu), ValueError,
                             "'relu' is built in: give your activation another name"),
    "a wrong derivative": (lambda: bp.activation(softer).derivative(wrong_slope), ValueError,
                           "its own derivative give.*differences.*correct the derivative by @softer.derivative"),
    "a hyperparameter": (lambda: bp.activation(gated)(beta="a"), ValueError, "gated: beta must be a finite number"),
    "an unknown one": (lambda: bp.activation(gated)(gamma=1), TypeError,
                       "gated has no hyperparameter 'gamma'; it has: beta"),
    "nowhere": (lambda: bp.activation(no_number_anywhere), ValueError,
                r"is nan at -7.99219, and finite nowhere that it was tried.*, line \d+: return math.sqrt"),
    "chance": (lambda: bp.activation(of_chance), ValueError, "another number at each call with -7.99219"),
    "complex functions": (lambda: bp.activation(of_cmath), ValueError, "sqrt of cmath cannot be used here"),
    "two": (lambda: bp.activation(two_numbers), ValueError, "must return one number, got"),
    "unknown to us": (lambda: bp.activation(of_gamma), ValueError, r"line \d+: return math.gamma.*are known: abs,"),
    "truths": (lambda: bp.optimizer(counts_truths), ValueError, r"\(step > 10\) .* as if .* numbers: write 1.0 \*"),
    "no path": (lambda: bp.activation(forgets), ValueError, r"return a number on every path \(line \d+ of .*if x > 0"),
    "keyword only": (lambda: bp.activation(keyword_only), TypeError, r"must be a function f\(x, \*\*hyper"),
    "arguments of the derivative": (lambda: bp.activation(softer).derivative(huber), TypeError,
                                    r"the derivative of activation 'softer' must take its arguments, slope\(x\)"),
    "no step": (lambda: bp.optimizer(no_step), TypeError, r"must be a function rule\(g, w, \*slots, lr, step"),
    "too few": (lambda: bp.optimizer(too_few), ValueError, "must return w, v, got"),
    "four slots": (lambda: bp.optimizer(four_slots), TypeError, "must be a function rule.* of at most 3 slots"),
    "a reduction": (lambda: bp.loss(reduction="median")(lambda y, t: y - t), ValueError,
                    "reduction must be 'mean' or 'sum'"),
    "a learning rate": (lambda: bp.optimizer(downhill)(-1), ValueError, "downhill: learning_rate must be a number in"),
    "an unknown name": (lambda: bp.Dense(3, "swoosh"), ValueError,
                        "unknown activation 'swoosh'; choose one of: linear"),
}


@pytest.mark.parametrize("make, error, message", REFUSED.values(), ids=REFUSED)
def test_refused(make, error, message):
    before = dict(ACTIVATIONS), dict(UPDATES)
    with pytest.raises(error, match=message):
        make()
    assert before == (ACTIVATIONS, UPDATES)


@pytest.mark.parametrize("thing", NO_DEF.values(), ids=NO_DEF)
@pytest.mark.parametrize("kind", [bp.activation, bp.loss, bp.optimizer])
def test_only_functions_of_def(kind, thing):
    words = f"{kind.__name__}: write a function with def, .*; got {re.escape(repr(thing))}"
    with pytest.raises(TypeError, match=words):
        kind(thing)


def test_a_wrong_derivative_is_not_taken():
    op = bp.activation(softer)
    with pytest.raises(ValueError, match="correct the derivative"):
        op.derivative(wrong_slope)
    assert op.own_slope is None and op == bp.activation(softer)
