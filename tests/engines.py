"""What can run here: every backend at every CPU level, and one face to the single ops of each."""

import os

from bpfast import backends
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
    backend, *level = filter(None, engine)
    return backends.kernels(backend, dtype, *level)
