"""What can run here: every backend at every CPU level, and one face to the single ops of each."""

import os

import numpy as np

import bpfast as bp
from bpfast.backends import missing


def native_levels():
    """CPU levels of the native backend; where it was not built its tests fail, unless BPFAST_PURE=1 says so."""
    if missing("native"):
        return () if os.environ.get("BPFAST_PURE") == "1" else ("not built",)
    from bpfast.backends import native

    return native.cpu_levels()


NATIVE_LEVELS = native_levels()
BACKENDS = ("numpy", "numba", *(("native",) if NATIVE_LEVELS else ()))
ENGINES = (("numpy", None), ("numba", None), *(("native", level) for level in NATIVE_LEVELS))
DTYPES = ("float32", "float64")
SAME_BITS = tuple(level for level in NATIVE_LEVELS if level in ("v3", "v4"))


def name_of(engine):
    """("native", "v3") -> "native-v3"."""
    return "-".join(part for part in engine if part)


def kernels_of(engine, dtype):
    """The single ops of an engine: activation_forward, activation_adjoint, loss, update."""
    backend, level = engine
    if backend != "native":
        return Texts(backend, dtype)
    from bpfast.backends import native

    return native.Kernels(dtype, level)


class Texts:
    """The face of native.Kernels on a backend that runs the Python texts."""

    def __init__(self, backend, dtype):
        self._dtype = np.dtype(dtype)
        self._plan = bp.Network([bp.Dense(1)], input_shape=1, dtype=dtype).plan(backend)

    def activation_forward(self, op, x):
        return self._run(op, op.forward, x)

    def activation_adjoint(self, op, dy, x, y):
        return self._run(op, op.adjoint, dy, x, y)

    def loss(self, op, y, t, mean):
        compiled = self._plan.compiled_loss(op)
        with np.errstate(all="ignore"):
            values = compiled.per_row(y, t).astype(np.float64)
            return values, (compiled.delta(y, t) * mean[:, None]).astype(self._dtype)

    def update(self, op, g, w, slots, coefficients):
        rule = self._plan.compiled(op, op.rule)
        with np.errstate(all="ignore"):
            return tuple(np.asarray(part, self._dtype) for part in rule(g, w, *slots, *map(float, coefficients)))

    def _run(self, op, function, *arrays):
        with np.errstate(all="ignore"):
            return np.asarray(self._plan.compiled(op, function)(*arrays, *op.values), self._dtype)
