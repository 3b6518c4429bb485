"""C functions from plain Python functions of numbers: activations, losses and optimizers that a user writes.

    activation    f(x, *hyper)                                          -> .forward, .forward_slope
    loss          f(y, t, *hyper)                                       -> .run
    update        (w, *slots) = rule(g, w, *slots, *coefficients)       -> .run

Each gives a Compiled: addresses (int) of C functions with the arguments of native/plan.h, valid as long as it lives.
The function may use numbers, + - * / ** // %, comparisons, if, loops over ranges, abs, max, min, the functions in
ops/dual.py by their names in math or numpy, variables from around it, and functions of its own that do likewise.
Derivatives are taken by dual numbers.  All runs in the dtype given; division by zero gives inf or nan.

Compiled once in a process for each function (by what it does, not by its name), and kept in the cache folder (cache.py)
where the function depends on nothing but numbers and other functions.
"""

import hashlib
import inspect
import os
import platform
import weakref
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from ... import __version__
from ...ops import dual, rewire
from . import cache as files
from .locks import COMPILING
from .refusals import CannotCompile

__all__ = ["CannotCompile", "Compiled", "activation", "loss", "update"]

PREFIX = "bpfast_"
_alive = weakref.WeakValueDictionary()  # key -> Compiled


class Compiled:
    """Addresses of C functions: ``forward`` and ``forward_slope``, or ``run``.

    They are valid as long as this object lives.  ``from_file``: whether the cache had them.
    """

    def __init__(self, code, names, from_file):
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.from_file = from_file
        for name in names:
            setattr(self, name, self._engine.get_function_address(PREFIX + name))


def _checked(function, arguments):
    """The Python function, if it can be called with so many numbers."""
    plain = rewire.plain_function(function)
    if plain is None:
        raise TypeError(f"expected a Python function of numbers, got {function!r}")
    try:
        inspect.signature(plain).bind(*range(len(arguments)))
        return plain
    except TypeError as error:
        raise TypeError(f"{plain.__name__}{inspect.signature(plain)} must take {len(arguments)} numbers, "
                        f"({', '.join(arguments)}): {error}") from None


def _numbers(name, n):
    return tuple(f"{name}{i}" for i in range(n))


def activation(function, dtype, n_hyper=0, derivative=None, clears=True):
    """f(x, *hyper): -> Compiled with ``forward`` and ``forward_slope``.

    ``derivative``(x, *hyper) is taken in the place of f's own.  ``clears``: padding is set to zero, as it must be where
    f or its slope is not finite at zero.
    """
    arguments = ("x", *_numbers("hyper", n_hyper))
    function, derivative = _checked(function, arguments), derivative and _checked(derivative, arguments)
    return _compiled(dtype, {"forward": ("forward", function, n_hyper, clears),
                             "forward_slope": ("forward_slope", function, n_hyper, clears, derivative)})


def loss(function, dtype, n_hyper=0, averages=False, derivative=None):
    """f(y, t, *hyper) of an output and its target: -> Compiled with ``run``, which sums over the outputs, or averages.

    ``derivative``(y, t, *hyper) is taken in the place of df/dy.
    """
    arguments = ("y", "t", *_numbers("hyper", n_hyper))
    function, derivative = _checked(function, arguments), derivative and _checked(derivative, arguments)
    return _compiled(dtype, {"run": ("loss", function, n_hyper, averages, derivative)})


def update(rule, dtype, n_slots, n_coefficients):
    """(w, *slots) = rule(g, w, *slots, *coefficients): -> Compiled with ``run``; without slots, w alone will do."""
    rule = _checked(rule, ("g", "w", *_numbers("slot", n_slots), *_numbers("coefficient", n_coefficients)))
    return _compiled(dtype, {"run": ("update", rule, n_slots, n_coefficients)})


@cache
def _here():
    """What code depends on beside the function: our own texts, versions, the processor."""
    import llvmlite
    import llvmlite.binding as llvm

    texts = [*Path(__file__).parent.glob("*.py"), Path(dual.__file__), Path(rewire.__file__)]
    digests = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(texts) if path.exists()]
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return (digests, __version__, metadata.version("numba"), llvmlite.__version__, platform.python_version(),
            platform.python_implementation(), llvm.get_default_triple(), llvm.get_host_cpu_name(),
            llvm.get_host_cpu_features().flatten(), settings)


def _key(bits, jobs):
    """Text that is the same where the same code would come out, or None."""
    try:
        parts = [(name, kind, *(rewire.key_of(part) if callable(part) else part for part in parts))
                 for name, (kind, *parts) in jobs.items()]
    except rewire.NoKey:
        return None
    return hashlib.sha256(repr((bits, parts, _here())).encode()).hexdigest()


def _compiled(dtype, jobs):
    """Jobs: name of a C function -> (kind, function, *others)."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"functions are compiled for float32 or float64, got dtype {dtype}")
    with COMPILING, np.errstate(all="ignore"):  # rules run on constants, too
        key = _key(dtype.itemsize * 8, jobs)
        known = _alive.get(key) if key else None
        if known is None:
            code = files.read(key) if key else None
            from_file = code is not None
            if not from_file:
                from .loops import machine_code

                code = machine_code(dtype.itemsize * 8, jobs.values())
                if key:
                    files.write(key, code)
            known = Compiled(code, jobs, from_file)
            if key:
                _alive[key] = known
        return known
