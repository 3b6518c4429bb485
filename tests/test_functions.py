"""C functions from a user's: each through ctypes, on rows with padding, in place, split; and what is refused."""

import gc
import math
import re

import compiled as c
import numpy as np
import pytest
from compiled import value_and_slope

from bpfast.backends.numba.functions import CannotCompile, activation, loss, update
from bpfast.ops.dual import on_numbers

DTYPES = ["f4", "f8"]
GARBAGE = 77.0


def relu(x):
    return x if x > 0 else 0.0


def mish(x):
    e = math.exp(min(x, 20))
    n = e * (e + 2)
    return x * n / (n + 2)


def inverse(x):
    return 1 / x


def elu(x, alpha, scale):
    return scale * x if x > 0 else scale * alpha * math.expm1(x)


def huber(y, t, delta):
    d = abs(y - t)
    return 0.5 * d**2 if d < delta else delta * (d - 0.5 * delta)


def ratio(y, t):
    return (y - t) ** 2 / y


def adam(g, w, m, v, rate, beta, gamma, epsilon):
    m = beta * m + (1 - beta) * g
    v = gamma * v + (1 - gamma) * g * g
    return w - rate * m / (math.sqrt(v) + epsilon), m, v


def rows(rng, dtype, n_rows, n, ld, padding=0.0):
    array = np.full((n_rows, ld), padding, dtype)
    array[:, :n] = rng.normal(size=(n_rows, n))
    return array


def tolerance(dtype):
    return {"rtol": 40 * np.finfo(dtype).eps, "atol": 10 * np.finfo(dtype).eps}


def assert_like(found, expected):
    np.testing.assert_allclose(found, expected, **tolerance(found.dtype))


@pytest.mark.parametrize("n, ld", [(1, 16), (7, 16), (16, 16), (19, 48), (50, 64), (128, 128), (129, 144)])
@pytest.mark.parametrize("function, hyper", [(relu, ()), (mish, ()), (inverse, ()), (elu, (0.7, 1.3))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_activation(dtype, function, hyper, n, ld, rng):
    f = activation(function, dtype, len(hyper))
    x = rows(rng, dtype, 5, n, ld)
    expected = np.array([value_and_slope(function, number, *hyper) for number in x[:, :n].ravel()])
    value, slope = expected.T.reshape(2, 5, n)
    y, again, found = (np.full_like(x, GARBAGE) for _ in range(3))
    c.forward(f, y, x, n, hyper)
    c.forward_slope(f, again, found, x, n, hyper)
    assert_like(y[:, :n], value)
    assert_like(again[:, :n], value)
    assert_like(found[:, :n], slope)
    assert not y[:, n:].any() and not again[:, n:].any() and not found[:, n:].any()  # though 1 / 0 is inf
    z = x.copy()  # in place: the same bits
    c.forward(f, z, z, n, hyper)
    assert z.tobytes() == y.tobytes()
    z = x.copy()
    c.forward_slope(f, again, z, z, n, hyper)
    assert z.tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [mish, inverse])
def test_activation_of_parts(dtype, function, rng):
    """The same bits row by row, and part by part of a row, which leaves the rest of the row alone."""
    f = activation(function, dtype)
    x = rows(rng, dtype, 6, 56, 64)
    y, split = np.full_like(x, GARBAGE), np.full_like(x, GARBAGE)
    c.forward(f, y, x, 56)
    for r in range(6):
        for first, last in ((0, 8), (8, 40), (40, 56)):
            part = slice(first, last)
            one = np.ascontiguousarray(x[r : r + 1, part])
            c.forward(f, split[r : r + 1, part], one, last - first)
            assert (split[r, last:] == GARBAGE).all()
    assert y[:, :56].tobytes() == split[:, :56].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_row_may_be_a_part(dtype, rng):
    """What lies beyond the vector in which it ends is not touched."""
    x = rows(rng, dtype, 1, 64, 64)
    y = np.full_like(x, GARBAGE)
    c.forward(activation(mish, dtype), y, x, 21)
    narrow = 16 // x.itemsize
    end = -(-21 // narrow) * narrow
    assert (y[0, end:] == GARBAGE).all() and not y[0, 21:end].any() and (y[0, :21] != GARBAGE).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_of_the_user(dtype, rng):
    f = activation(lambda x, a: max(x, 0), dtype, 1, derivative=lambda x, a: a * np.tanh(x))
    x = rows(rng, dtype, 3, 9, 16)
    y, slope = np.empty_like(x), np.empty_like(x)
    c.forward_slope(f, y, slope, x, 9, (0.5,))
    assert_like(slope[:, :9], 0.5 * np.tanh(x[:, :9]))


@pytest.mark.parametrize("n, ld", [(1, 16), (10, 16), (50, 64), (64, 64), (150, 160)])
@pytest.mark.parametrize("n_rows", [1, 4, 6])
@pytest.mark.parametrize("function, hyper", [(huber, (0.8,)), (ratio, ())])
@pytest.mark.parametrize("dtype", DTYPES)
def test_loss(dtype, function, hyper, n_rows, n, ld, rng):
    f = loss(function, dtype, len(hyper))
    y, t, mean = rows(rng, dtype, n_rows, n, ld), rows(rng, dtype, n_rows, n, ld), rng.uniform(size=n_rows)
    expected = [value_and_slope(function, *pair, *hyper) for pair in zip(y[:, :n].ravel(), t[:, :n].ravel())]
    value, slope = np.array(expected).T.reshape(2, n_rows, n)
    dy = np.full_like(y, GARBAGE)
    values = c.loss(f, dy, y, t, mean, n, hyper)
    np.testing.assert_allclose(values, value.sum(axis=1), rtol=100 * np.finfo(dtype).eps)
    assert_like(dy[:, :n], mean[:, None] * slope)
    assert not dy[:, n:].any()
    for r in range(n_rows):  # the same bits row by row
        one = np.full_like(dy[r : r + 1], GARBAGE)
        alone = c.loss(f, one, y[r : r + 1], t[r : r + 1], mean[r : r + 1], n, hyper)
        assert alone[0] == values[r] and one.tobytes() == dy[r : r + 1].tobytes()


def test_losses_are_summed_in_double_and_in_order():
    y = np.zeros((1, 112), "f4")
    y[0, :100] = 10.0 ** np.arange(100) % 7e6 + 0.1
    values = c.loss(loss(lambda y, t: y, "f4"), np.empty_like(y), y, np.zeros_like(y), np.ones(1), 100)
    total = 0.0
    for number in y[0, :100]:
        total += float(number)
    assert values[0] == total


@pytest.mark.parametrize("n", [4, 16, 52, 1024])
@pytest.mark.parametrize("dtype", DTYPES)
def test_update(dtype, n, rng):
    coefficients = (0.01, 0.9, 0.99, 1e-6)
    f = update(adam, dtype, 2, 4)
    g, w, m = (rng.normal(size=n).astype(dtype) for _ in range(3))
    v = rng.uniform(size=n).astype(dtype)
    expected = np.array([on_numbers(adam)(*numbers, *coefficients) for numbers in zip(g, w, m, v)]).T
    whole, parts = ([a.copy() for a in (w, m, v)] for _ in range(2))
    c.update(f, whole[0], whole[1:], g, coefficients)
    for found, exact in zip(whole, expected):
        assert_like(found, exact)
    for begin in range(0, n, 4):  # the same bits however it is cut
        piece = [a[begin : begin + 4] for a in parts]
        c.update(f, piece[0], piece[1:], g[begin : begin + 4], coefficients)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts))


@pytest.mark.parametrize("rule, n_slots", [
    (lambda g, w: w - 0.5 * g, 0),
    (lambda g, w: (w - 0.5 * g,), 0),
    (lambda g, w, a, b, c: (w - 0.5 * g, a + 1, 3, b * c), 3),
])
def test_update_of_any_number_of_slots(rule, n_slots, rng):
    g, w, *slots = (rng.normal(size=16).astype("f4") for _ in range(2 + n_slots))
    expected = [on_numbers(rule)(*numbers) for numbers in zip(g, w, *slots)]
    c.update(update(rule, "f4", n_slots, 0), w, slots, g)
    assert_like(np.stack([w, *slots]).squeeze(), np.array(expected).T.squeeze())


# -- what is made -----------------------------------------------------------------------------------------

JOBS = {
    "activation": [("forward", mish, 0, True), ("forward_slope", mish, 0, True, None)],
    "constant exponent": [("forward", lambda x: x**3 + math.sin(x), 0, False),
                          ("forward_slope", lambda x: math.erf(x), 0, False, lambda x: math.cos(x))],
    "loss": [("loss", huber, 1, False, None)],
    "update": [("update", adam, 2, 4)],
}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("bits", [32, 64])
def test_loops_are_vectors_of_this_processor_in_the_type_asked_for(name, bits):
    from bpfast.backends.numba.loops import optimized, vector_bits

    text = optimized(bits, JOBS[name]).get_llvm_str()
    body = text[text.index("define") :]
    real, other = ("float", "double") if bits == 32 else ("double", "float")
    assert re.search(rf"f(add|mul|sub)[\w ]* <{vector_bits() // bits} x {real}>", body)
    if name != "loss":  # which adds in double, one by one
        assert not re.search(rf"f(add|mul|sub|div)[\w ]* (<\d+ x )?{other}\b", re.sub(r"fptrunc.*", "", body))
        loops = re.findall(r"^[\w.]+:.*?(?=^[\w.]+:|^})", body, re.MULTILINE | re.DOTALL)
        elementwise = [text for text in loops if "!llvm.access.group" in text]
        assert elementwise and all(re.search(r"load <\d+ x", text) for text in elementwise)  # what remains, too
    assert "memcheck" not in body  # by which a loop in place would be no vectors
    assert "reassoc" not in body and " fast " not in body
    called = set(re.findall(r"@([\w.]+)\(", body)) - set(re.findall(r"define [^@]*@([\w.]+)\(", body))
    assert all(function.startswith("llvm.") for function in called)  # nothing of Numba's, nor of libm


def test_float32_stays_float32():
    """By its bits: 0.1 and 1/3 are rounded to float32, and so is each step."""
    x = np.linspace(0.5, 2, 32, dtype="f4")
    f = activation(lambda x: (x + 0.1) / 3 - 0.25 * (x - 1 / 3), "f4")
    one, third = np.float32(0.1), np.float32(1 / 3)
    found = c.values(f, x)
    exact = (x + one) / np.float32(3) - np.float32(0.25) * (x - third)
    assert found.tobytes() == exact.astype("f4").tobytes()


def test_one_function_is_compiled_once(monkeypatch):
    monkeypatch.setenv("BPFAST_CACHE", "")
    first = activation(eval("lambda x: x * 1.625"), "f4")
    assert activation(eval("lambda z: z * 1.625"), "f4") is not first  # another name of a variable
    assert activation(eval("lambda x: x * 1.625"), "f4") is first
    assert activation(eval("lambda x: x * 1.625"), "f8") is not first
    assert not first.from_file


def test_functions_that_are_dropped_leave_others_alone(rng, monkeypatch):
    monkeypatch.setenv("BPFAST_CACHE", "")
    kept = activation(eval("lambda x: x * 2.125"), "f4")
    for n in range(5):
        activation(eval(f"lambda x: x * 2.125 + {n}"), "f4")
        gc.collect()
    x = rng.normal(size=16).astype("f4")
    assert (c.values(kept, x) == x * np.float32(2.125)).all()


# -- what is refused --------------------------------------------------------------------------------------


def raises(x):
    if x > 0:
        raise ValueError(x)
    return x


def asserts(x):
    assert x > 0
    return x


def catches(x):
    try:
        return 1 / x
    except ZeroDivisionError:
        return 0.0


def imports(x):
    import math

    return math.exp(x)


def yields(x):
    yield x


def makes_a_list(x):
    return [x, 2 * x][0]


def forgets(x):
    if x > 0:
        return x


def calls_raises(x):
    return raises(x) + 1


def prints(x):
    print(x)
    return x


def unknown(x):
    return math.gamma(x)


def reduces(x):
    return np.sum(x)


def misspelt(x):
    return math.exq(x)


def undefined(x):
    return x + nowhere  # noqa: F821


@pytest.mark.parametrize("function, line, words", [
    (raises, 2, "cannot raise.*return math.nan"),
    (asserts, 1, "cannot raise"),
    (catches, 0, "cannot catch.*inf or nan"),
    (imports, 1, "import at the top of the file"),
    (yields, 0, "generator: return one number"),
    (makes_a_list, 0, "not on arrays or lists: write it for a scalar"),
    (forgets, 0, "return a number on every path"),
    (calls_raises, None, "raises cannot be compiled: .*cannot raise"),
    (prints, 1, "it prints: .*without print"),
    (unknown, 1, "gamma cannot be used here; .*known: abs, .*tanh"),
    (reduces, 1, "sum cannot be used here"),
    (misspelt, 1, "exq is not known; .*known: abs, .*tanh"),
    (undefined, 1, "nowhere is not defined"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_refusals_say_where_and_what_to_write(function, line, words):
    with pytest.raises(CannotCompile, match=rf"(?s)^(?=.*{words})\w+ cannot be compiled: ") as info:
        activation(function, "f4")
    if line is not None:
        found = int(re.search(r"\(line (\d+) of ", str(info.value))[1])
        first = function.__code__.co_firstlineno
        assert found == first + line or (line == 0 and first <= found <= first + 3)


def test_an_update_must_return_all_its_slots():
    with pytest.raises(CannotCompile, match="check how many numbers it returns"):
        update(lambda g, w, m: (w, m, m), "f4", 1, 0)


@pytest.mark.parametrize("call, error, words", [
    (lambda: activation(relu, "f4", 1), TypeError, r"relu\(x\) must take 2 numbers, \(x, hyper0\)"),
    (lambda: loss(relu, "f4"), TypeError, r"must take 2 numbers, \(y, t\)"),
    (lambda: update(adam, "f4", 2, 3), TypeError, r"must take 7 numbers, \(g, w, slot0, slot1, coefficient0"),
    (lambda: activation(math.exp, "f4"), TypeError, "expected a Python function of numbers"),
    (lambda: activation(relu, "i4"), ValueError, "float32 or float64, got dtype int32"),
])
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()
