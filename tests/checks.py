"""What must hold of a row of the tables, and of whole networks.  Each check takes what it checks as an argument,
so that test_faults.py can hand it something broken."""

import hashlib
import re

import numpy as np
import papers

import bpfast as bp

# Roundings that a number may be off by, and nine of ten numbers.  What exp makes of the roundings of its argument
# decides: 87 (709) of each in the tail of gelu_tanh; in that of normal_cdf x*x/2 without fused FMA, and x*x in its
# text, which is what float64 is compared with.
WORST = {"float32": 100, "float64": 2000}
USUAL = {"float32": 12, "float64": 100}


def roundings(got, exact, scale, tiny=1.0):
    """How many roundings of `scale` (at least those of `exact`) lie between got and exact; NaN must meet NaN.

    Two of the smallest normal number times `tiny` are allowed on top: compiled runs flush denormals to zero.
    """
    got, exact = np.asarray(got), np.asarray(exact, np.float64)
    assert got.shape == exact.shape
    assert (np.isnan(got) == np.isnan(exact)).all(), "NaN stands in other places"
    info = np.finfo(got.dtype)
    exact = np.where(np.abs(exact) > info.max, np.copysign(np.inf, exact), exact)
    infinite = np.isinf(exact) | np.isinf(got)
    assert (got[infinite] == exact[infinite]).all(), "infinity stands in other places"
    plain = np.isfinite(exact)
    scale = np.maximum(np.abs(exact), np.where(np.isfinite(scale), scale, 0))[plain]
    flushed = 2 * info.tiny * np.broadcast_to(tiny, exact.shape)[plain]
    error = np.abs(got[plain].astype(np.float64) - exact[plain]) - flushed
    return np.maximum(error, 0) / (scale * info.eps + info.smallest_subnormal)


def check_close(got, exact, scale=0.0, tiny=1.0):
    """Every number within WORST roundings, nine of ten within USUAL."""
    errors = roundings(got, exact, scale, tiny)
    if errors.size:
        worst, usual = errors.max(), np.quantile(errors, 0.9)
        assert worst <= WORST[got.dtype.name], f"{worst:.3g} roundings off"
        assert usual <= USUAL[got.dtype.name], f"a tenth is more than {usual:.3g} roundings off"


# -- the rows on one engine, against the reference in float64 ------------------------------------------


def check_forward(kernels, op, x):
    """y of the kernels is f(x)."""
    got = kernels.activation_forward(op, x)
    assert got.dtype == x.dtype
    with np.errstate(all="ignore"):
        exact = op.forward(x.astype(np.float64), *op.values)
    check_close(got, exact, tiny=np.maximum(1, np.abs(x)))  # a factor of x may have been flushed, as in x * sigmoid(x)


def check_adjoint(kernels, op, dy, x):
    """dx of the kernels is g(dy, x, y)."""
    with np.errstate(all="ignore"):
        y = np.asarray(op.forward(x.astype(np.float64), *op.values)).astype(x.dtype)
        exact = op.adjoint(*(array.astype(np.float64) for array in (dy, x, y)), *op.values)
    got = kernels.activation_adjoint(op, dy, x, y)
    assert got.dtype == x.dtype
    scale = np.abs(dy).max(axis=-1, keepdims=True, initial=0) if op.rowwise else np.abs(dy)
    check_close(got, exact, scale)


def check_keeps(kernels, op, dy, x):
    """The adjoint reads no more than its row says: x or y, where it is not kept, may be anything."""
    y = kernels.activation_forward(op, x)
    anything = np.full_like(x, np.nan)
    kept = x if "x" in op.keeps else anything, y if "y" in op.keeps else anything
    expected = kernels.activation_adjoint(op, dy, x, y)
    np.testing.assert_array_equal(kernels.activation_adjoint(op, dy, *kept), expected)


def check_range(y, op):
    """No output is outside the range of its row."""
    low, high = op.range
    assert ((low <= y) & (y <= high)).all(), f"{y.min()} .. {y.max()} is not within {low} .. {high}"


def check_range_is_reached(y, op):
    """A finite end of the range is no further off than 0.01."""
    low, high = op.range
    assert np.isinf(low) or y.min() < low + 0.01, f"the least output is {y.min()}, the range begins at {low}"
    assert np.isinf(high) or y.max() > high - 0.01, f"the greatest output is {y.max()}, the range ends at {high}"


def check_loss(kernels, op, y, t, weight):
    """Values and gradients of the kernels are those of the row, the gradients weighted."""
    mean = weight / weight.sum()
    values, dy = kernels.loss(op, y, t, mean)
    assert values.dtype == np.float64 and dy.dtype == y.dtype
    exact_y, exact_t = y.astype(np.float64), t if op.labels else t.astype(np.float64)
    size = 1 + np.abs(np.where(np.isfinite(exact_y), exact_y, 0)).max(axis=-1)
    size += 0 if op.labels else np.abs(exact_t).max(axis=-1)
    with np.errstate(all="ignore"):
        exact = op.per_row(exact_y, exact_t)
        gradient = op.delta(exact_y, exact_t) * mean[:, None]
    check_close(values.astype(y.dtype), exact, size)
    check_close(dy, gradient, scale=(mean * (1 if op.labels else size))[:, None])


def check_update(kernels, op, w, rng, learning_rate=0.01, steps=5):
    """Every one of several steps is what the rule says, from where the step before ended."""
    dtype, slots = w.dtype, tuple(np.zeros_like(w) for _ in op.slots)
    for t in range(1, steps + 1):
        g = rng.normal(size=w.shape).astype(dtype)
        coefficients = np.array(op.coefficients(np.float64(t), learning_rate, *op.values))
        arrays = [array.astype(np.float64) for array in (g, w, *slots)]
        sizes = [np.abs(g) * min(1, np.abs(g).max(initial=0)) / 10 + np.abs(before) for before in arrays[2:]]
        exact_w, *exact_slots = op.rule(*arrays, *coefficients)
        w, *slots = kernels.update(op, g, w, tuple(slots), coefficients)
        assert w.dtype == dtype and len(slots) == len(op.slots)
        check_close(w, exact_w, scale=learning_rate * (1 + np.abs(g)))
        for slot, exact, size in zip(slots, exact_slots, sizes, strict=True):
            check_close(slot, exact, scale=size)


# -- the rows by themselves: differentiation knows nothing of an adjoint's text -------------------------


def slope(f, x, v):
    """-> f'(x) v: by a complex step where f is analytic, else by differences."""
    try:
        return np.imag(f(x + 1e-40j * v)) / 1e-40
    except TypeError:  # the text calls a function of real numbers alone
        return differences(f, x, v)


def check_pair(forward, gradients, inputs, rng):
    """The adjoint of a forward: <dy, f'(a) v> = <da, v> for every input a, for random dy and v; in every dtype.

    forward(*inputs) -> y, gradients(dy, *inputs) -> one array for each input, in its shape and dtype.
    """
    y = forward(*inputs)
    for _ in range(3):
        dy = rng.normal(size=y.shape)
        for i, (array, gradient) in enumerate(zip(inputs, gradients(dy, *inputs), strict=True)):
            v = rng.normal(size=array.shape)
            expected = (dy * slope(lambda moved, i=i: forward(*inputs[:i], moved, *inputs[i + 1 :]), array, v)).sum()
            assert gradient.shape == array.shape
            np.testing.assert_allclose((gradient * v).sum(), expected, rtol=1e-12, atol=1e-11)
    exact = [y, *gradients(dy, *inputs)]
    for dtype, tolerance in (("f8", 1e-12), ("f4", 1e-4), ("g", 1e-12), ("c16", 1e-12), ("c8", 1e-4)):
        others = [array.astype(dtype) for array in inputs]
        for array, expected in zip([forward(*others), *gradients(dy.astype(dtype), *others)], exact, strict=True):
            assert array.dtype == dtype
            np.testing.assert_allclose(array, expected, rtol=tolerance, atol=tolerance)


def differences(f, x, v, step=1e-3):
    """-> f'(x) v by central differences of fourth order."""
    near, far = (f(x + h * v) - f(x - h * v) for h in (step, 2 * step))
    return (8 * near - far) / (12 * step)


def check_derivative(op, x, rng):
    """dx of the row is the derivative of its forward: <dy, f'(x) v> = <dx, v> in every row of x, kinks aside.

    Where there is no derivative, dx is dy.
    """
    dy, v = rng.normal(size=(2, *x.shape))
    v /= np.abs(v).max(axis=-1, keepdims=True)
    for kink in op.kinks:
        x = np.where(np.abs(x - kink) < 0.01, kink + 0.01, x)
    y = op.forward(x, *op.values)
    if not op.differentiable:
        np.testing.assert_array_equal(op.adjoint(dy, x, y, *op.values), dy)
        return
    expected = (dy * slope(lambda x: op.forward(x, *op.values), x, v)).sum(axis=-1)
    np.testing.assert_allclose((op.adjoint(dy, x, y, *op.values) * v).sum(axis=-1), expected, rtol=1e-9, atol=1e-10)


def check_loss_derivative(op, y, t, rng):
    """The delta of a loss row is the derivative of its loss per row, kinks aside."""
    v = rng.normal(size=y.shape)
    if op.kinks:
        v = np.where(np.abs(op.kinks(y, t, *op.values)) < 0.01, 0, v)
    expected = slope(lambda y: op.per_row(y, t), y, v)
    np.testing.assert_allclose((op.delta(y, t) * v).sum(axis=-1), expected, rtol=1e-11, atol=1e-11)


def check_paper(op, rng):
    """Every step of the row is that of papers.py, which knows nothing of its text."""
    gradients, w = papers.starting_point(rng)
    slots = [np.zeros_like(w) for _ in op.slots]
    for t, exact in enumerate(getattr(papers, op.name)(gradients, w, papers.RATE, *op.values), 1):
        w, *slots = op.rule(gradients[t - 1], w, *slots, *op.coefficients(t, papers.RATE, *op.values))
        np.testing.assert_allclose(w, exact, rtol=1e-12, atol=1e-13)


def c_names(header):
    """The names of the rows in the text of a C table, in order."""
    return re.findall(r"^(?:ROW|RULE|SAME|ROWWISE|SUM|MEAN|UPDATE\d)\((\w+)", header, re.MULTILINE)


def check_twins(table, names):
    """The C table has the rows of the Python table in the same order."""
    assert list(names) == list(table)


# -- networks -------------------------------------------------------------------------------------------


def check_metric(function, expected, t, y, weight):
    """A metric is what another library makes of the same predictions, with weights and without."""
    for w in (None, weight):
        np.testing.assert_allclose(function(t, y, w), expected(t, y, w), rtol=1e-12, atol=1e-15)


def check_held_out(hold_out, labels, share):
    """Every row is on one side, as many as asked for are held out, and of each class alike."""
    training, held = hold_out(len(labels), share, 3, labels)
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held])), np.arange(len(labels)))
    assert len(held) == round(share * len(labels))
    assert np.abs(np.bincount(labels[held]) - share * np.bincount(labels)).max() <= 1
    assert set(labels[training]) == set(labels)


def flat(arrays):
    """A dict of arrays as one vector."""
    return np.concatenate([array.ravel() for array in arrays.values()])
def check_gradients(backend, layers, loss, X, y, sample_weight=None, **settings):
    """The gradient of a network in float64 is the derivative of its loss."""
    net = bp.Network(layers, input_shape=X.shape[1], dtype="float64", seed=3)
    settings = {"sample_weight": sample_weight, "backend": backend, "entries": 4, **settings}
    bp.check_gradients(net, loss, X, y, **settings).raise_if_failed()


def digest(network):
    """SHA-256 of all parameters, bit for bit."""
    return hashlib.sha256(network.to_vector().tobytes()).hexdigest()
