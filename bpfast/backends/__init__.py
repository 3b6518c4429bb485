"""How a network is run: numpy (the reference), numba (the same texts, compiled), native (Cython and C)."""

import importlib
import importlib.util
import platform
import sys
import warnings
from functools import lru_cache

from .. import config

BACKENDS = ("native", "numba", "numpy")  # in the order in which "auto" prefers them


def missing(name):
    """Why a backend cannot run here and what to do about it, or None."""
    if name == "native":
        try:
            importlib.import_module(f"{__name__}.native")
        except ImportError as error:
            return f"its modules are missing ({error}): reinstall bpfast with a C compiler, without BPFAST_PURE"
    elif name == "numba":
        for package in ("numba", "scipy"):  # whose BLAS Numba calls
            if importlib.util.find_spec(package) is None:
                return f'{package} is not installed: python -m pip install "bpfast[numba]"'
    return None


@lru_cache
def warn_once(message):
    warnings.warn(message, stacklevel=3)


def choose(name):
    """The name of the backend to use for "auto" or a name; an error says why one cannot run."""
    if name == "auto":
        chosen = next(candidate for candidate in BACKENDS if not missing(candidate))
        if chosen != "native":
            warn_once(f"bpfast runs on its {chosen} backend, slower than native: {missing('native')}")
        return chosen
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; choose one of: auto, {', '.join(BACKENDS)}")
    why = missing(name)
    if why:
        raise RuntimeError(f"backend {name!r} cannot run here: {why}")
    return name


def new_plan(name, *args):
    """A Plan of the named backend."""
    return importlib.import_module(f"{__name__}.{choose(name)}").Plan(*args)


def kernels(name, dtype, *level):
    """The rows of the tables, each alone, on arrays of one dtype, in the named backend; native: at a CPU level."""
    return importlib.import_module(f"{__name__}.{choose(name)}").Kernels(dtype, *level)


def runs(name, op):
    """Whether a backend is here and runs an op."""
    return missing(name) is None and importlib.import_module(f"{__name__}.{name}").runs(op)


def show_config(file=None):
    """Print versions, CPU, threads and backends: what to paste into a bug report."""
    import numpy

    from .. import __version__

    print(f"bpfast   {__version__}", file=file)
    print(f"python   {sys.version.split()[0]} on {platform.system()} {platform.machine()}", file=file)
    print(f"numpy    {numpy.__version__}", file=file)
    print(f"threads  {config.n_threads()}", file=file)
    for name in BACKENDS:
        why = missing(name)
        state = f"not available: {why}" if why else "available"
        if name == "native" and not why:
            from .native import cpu_level, cpu_levels

            state += f", CPU level {cpu_level()} of {', '.join(cpu_levels())}"
        print(f"{name:<8} {state}", file=file)
