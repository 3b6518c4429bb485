"""Does this installation compute what it should?  Every op and a few networks, on everything that runs here."""

import os
from contextlib import contextmanager

import numpy as np

from . import backends
from .gradcheck import check_gradient, check_gradients
from .images import AvgPool2D, Conv2D, MaxPool2D
from .layers import BatchNorm, Dense, Dropout, Flatten, LayerNorm, Residual
from .network import Network
from .ops import ACTIVATIONS, LOSSES, UPDATES
from .optimizers import SGD
from .trainer import Trainer

DTYPES = ("float32", "float64")
ROUNDINGS = 200  # of the largest number, that an op may be off by
NETWORKS = {
    "tanh, softmax": ([Dense(19, "tanh"), Dense(4, "softmax")], "cross_entropy", (6,)),
    "relu, one output": ([Dense(18, "relu"), Dense(9, "leaky_relu"), Dense(1)], "squared_error", (6,)),
    "residual, rowwise": ([Residual(Dense(7, "softmax"), Dense(6)), Dense(2, "sigmoid")], "squared_error", (6,)),
    "norms, dropout": ([LayerNorm(), Dense(19, "tanh"), BatchNorm(), Dropout(0.2), Dense(2)], "squared_error", (6,)),
    "images": ([Conv2D(5, 3, "tanh"), MaxPool2D(2, stride=1), Conv2D(3, 2, stride=2), AvgPool2D(2, padding="same"),
                Flatten(), Dense(4, "softmax")], "cross_entropy", (5, 4, 2)),
}


def self_test(file=None):
    """Check every formula, and the gradients and training of small networks, on all that can run here; -> bool.

    For every backend, CPU level and dtype: activations, losses and updates against their texts in float64,
    derivatives against differentiation, networks by ``check_gradients`` and by three epochs of training.
    Prints a table, what is wrong below it, and ``show_config()``; takes a few seconds, and sets BPFAST_CPU meanwhile.
    """
    engines = list(_engines())
    columns = ["", *(f"{'-'.join(filter(None, engine))} {dtype.replace('float', 'f')}" for *engine, dtype in engines)]
    rows, faults = [columns], []
    for kind, check, subjects in CHECKS:
        for name, subject in subjects.items():
            rows.append([f"{kind} {name}", *(_cell(check, subject, engine, faults, kind, name) for engine in engines)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip(), file=file)
    print("-: not in this backend, or not looked at: of numba networks alone, for it compiles slowly\n", file=file)
    for fault in faults:
        print(fault, end="\n\n", file=file)
    backends.show_config(file)
    print(f"\n{len(faults)} checks FAILED" if faults else "\nall checks passed", file=file)
    return not faults


def _engines():
    """(backend, CPU level or None, dtype) of all that runs here."""
    for backend in reversed(backends.BACKENDS):
        if backends.missing(backend):
            continue
        levels = (None,)
        if backend == "native":
            from .backends.native import cpu_levels as levels_of

            levels = levels_of()
        for level in levels:
            for dtype in DTYPES:
                yield backend, level, dtype


def _cell(check, subject, engine, faults, kind, name):
    """"ok", "-" where an engine does not run a subject, or "WRONG" with a word to ``faults``."""
    if engine[0] == "numba" and check is not check_network:
        return "-"  # compiling every formula would take longer than all the rest
    try:
        with np.errstate(all="ignore"):
            check(subject, *engine)
    except NotImplementedError:
        return "-"
    except Exception as error:  # whatever it is, the other checks go on
        faults.append(f"{'-'.join(filter(None, engine))}: {kind} {name}: {type(error).__name__}: {error}")
        return "WRONG"
    return "ok"


# -- single ops ----------------------------------------------------------------------------------------


def check_activation(op, *engine):
    """y = f(x), and dx against the derivative of f."""
    kernels, exact, dtype = _kernels(*engine)
    rng = np.random.default_rng(0)
    dy, x = rng.normal(size=(2, 5, 19)).astype(dtype)
    wide = x.astype(np.float64)
    y = kernels.activation_forward(op, x)
    exact_y = exact.activation_forward(op, wide)
    _check_close("y", y, exact_y)
    dx = kernels.activation_adjoint(op, dy, x, y)
    _check_close("dx", dx, exact.activation_adjoint(op, dy.astype(np.float64), wide, exact_y))
    if op.differentiable:
        _check_slope(lambda x: (dy * op.forward(x, *op.values)).sum(), dx, wide)


def check_loss(op, *engine):
    """The value of every row, and dy against the derivative of their mean."""
    kernels, exact, dtype = _kernels(*engine)
    rng = np.random.default_rng(0)
    y, t = rng.uniform(0.05, 0.95, size=(2, 7, 19)).astype(dtype)  # in the domain of every loss
    t = rng.integers(19, size=7) if op.labels else t
    wide, targets = y.astype(np.float64), t if op.labels else t.astype(np.float64)
    mean = rng.uniform(0.5, 1.5, 7) / 7
    values, dy = kernels.loss(op, y, t, mean)
    exact_values, exact_dy = exact.loss(op, wide, targets, mean)
    _check_close("value", values.astype(dtype), exact_values)
    _check_close("dy", dy, exact_dy)
    _check_slope(lambda y: backends.kernels("numpy", y.dtype).loss(op, y, targets, mean)[0] @ mean, dy, wide)


def check_update(op, *engine):
    """Three steps, each from where the one before ended."""
    kernels, exact, dtype = _kernels(*engine)
    rng = np.random.default_rng(0)
    w = rng.normal(size=67).astype(dtype)
    slots = tuple(np.zeros_like(w) for _ in op.slots)
    for t in (1.0, 2.0, 3.0):
        g = rng.normal(size=67).astype(dtype)
        coefficients = np.array(op.coefficients(np.float64(t), 0.01, *op.values))
        wide = [array.astype(np.float64) for array in (g, w, *slots)]
        expected = exact.update(op, wide[0], wide[1], wide[2:], coefficients)
        w, *slots = found = kernels.update(op, g, w, slots, coefficients)
        for name, array, right in zip(("w", *op.slots), found, expected):
            _check_close(f"{name} after step {t:.0f}", array, right)


def _kernels(backend, level, dtype):
    """-> those of an engine, those of the reference in float64, the dtype."""
    return backends.kernels(backend, dtype, *filter(None, [level])), backends.kernels("numpy", "float64"), dtype


def _check_close(what, found, exact):
    error = np.abs(found - exact).max() / (np.finfo(found.dtype).eps * np.abs(exact).max())
    if not error <= ROUNDINGS:
        raise AssertionError(f"{what} is off by {error:.3g} roundings of its largest number")


def _check_slope(f, found, x):
    rtol = ROUNDINGS * np.finfo(found.dtype).eps + 1e-8
    check_gradient(f, found, x, rtol=rtol, entries=8, directions=2).raise_if_failed()


# -- networks ------------------------------------------------------------------------------------------


def check_network(subject, backend, level, dtype):
    """Its gradients, and that three epochs of training end where the reference in float64 does."""
    layers, loss, input_shape = subject
    rng = np.random.default_rng(0)
    network = Network(layers, input_shape=input_shape, dtype=dtype, seed=0)
    X, weight = rng.normal(size=(41, *input_shape)).astype("f4"), rng.uniform(0.5, 2, 41)
    n_out = network.program.n_out
    y = rng.integers(n_out, size=41) if loss == "cross_entropy" else rng.normal(size=(41, n_out)).astype("f4")
    with _cpu_level(level):
        report = check_gradients(network, loss, X, y, sample_weight=weight, backend=backend, entries=4, directions=2)
        report.raise_if_failed()
        found = _losses(layers, loss, X, y, backend, dtype)
    exact = _losses(layers, loss, X, y, "numpy", "float64")
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    if not np.allclose(found, exact, rtol=tolerance, atol=0):
        raise AssertionError(f"the losses of three epochs are {found}, not {exact}")


def _losses(layers, loss, X, y, backend, dtype):
    network = Network(layers, dtype=dtype, seed=0)
    trainer = Trainer(network, loss=loss, optimizer=SGD(0.05), batch_size=8, seed=0, backend=backend)
    return trainer.fit(X, y, epochs=3, verbose=False)["loss"]


@contextmanager
def _cpu_level(level):
    """Plans made within are for this level, if one is given."""
    before = os.environ.get("BPFAST_CPU")
    try:
        if level:
            os.environ["BPFAST_CPU"] = level
        yield
    finally:
        if level:
            os.environ.pop("BPFAST_CPU")
            if before is not None:
                os.environ["BPFAST_CPU"] = before


CHECKS = (
    ("activation", check_activation, ACTIVATIONS),
    ("loss", check_loss, LOSSES),
    ("update", check_update, UPDATES),
    ("network", check_network, NETWORKS),
)
