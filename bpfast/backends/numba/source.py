"""Source text of kernels: loops over the elements of arrays around the text of a row, and the door to each kernel.

A kernel is a function of matrices that it reads and writes, each (rows, columns) and contiguous, and of what these
names stand for:
    settings   float64   constants of this call, such as hyperparameters
    now        int64     of this step, by the names below
    scalars    float64   the learning rate and the scalars of the update's rule in this step
    shares     float64   of each row: IN its share of the batch's weight, OUT (from the loss) this times its loss;
                         behind those of the largest batch, its weight
"""

from collections.abc import Callable
from inspect import signature
from typing import NamedTuple

import numba
from numba import types

from .texts import OPTIONS, compiled_once, inline, on_scalars

COMMON = ("settings", "now", "scalars", "shares")
ROWS, SEED, STEP = range(3)  # rows in the batch, seed, number of the step
RUNS, RECORD, KEPT_FOR = range(3, 6)  # which kernels run, by bits; its record; the step that a gradient was kept for
ALWAYS, RECORDED, KEPT, UNSEEN = 1, 2, 4, 8  # conditions, as recorder.py sets them


class Elementwise(NamedTuple):
    """The kernel ``written[r, j] = text(read[r, j], ..., numbers)``; a tuple is written by a text that gives one.

    Arrays may be both read and written; of those that are ``columns`` the element is [0, j]; ``numbers`` are
    expressions.  One without ``columns`` is given its matrices as single rows, so that its loop is long.
    """

    text: Callable
    read: tuple
    written: str | tuple
    numbers: tuple = ()
    columns: tuple = ()

    def function(self, dtype):
        written = self.written if isinstance(self.written, tuple) else (self.written,)
        arrays = [*dict.fromkeys((*self.read, *written))]
        constants = [f"c{k}" for k, _ in enumerate(self.numbers)]
        read, to = ([f"{name}[{0 if name in self.columns else 'r'}, j]" for name in names]
                    for names in (self.read, written))
        lines = [
            *(f"{name} = real({number})" for name, number in zip(constants, self.numbers)),
            f"for r in range(len({arrays[0]})):",
            f"    for j in range({arrays[0]}.shape[1]):",
            f"        {', '.join(to)}{',' * (written == self.written)} = text({', '.join(read + constants)})",
        ]
        return defined(f"def loop({', '.join((*arrays, *COMMON))}):\n    " + "\n    ".join(lines),
                       text=on_scalars(self.text, dtype), real=numba.from_dtype(dtype))


class ElementwiseLoss(NamedTuple):
    """The kernel of a loss whose values of the outputs of a row are added up, or averaged."""

    value: Callable
    gradient: Callable
    n_hyper: int
    mean: bool

    def function(self, dtype):
        arguments = ", ".join(["y[r, j], t[r, j]", *(f"real(settings[{k}])" for k in range(self.n_hyper))])
        return defined(f"""
def loss(y, t, delta, settings, shares):
    for r in range(len(y)):
        share, total = shares[r] / {'y.shape[1]' if self.mean else '1'}, 0.0
        factor = real(share)
        for j in range(y.shape[1]):
            total += value({arguments})
            delta[r, j] = gradient({arguments}) * factor
        shares[r] = share * total
""", value=on_scalars(self.value, dtype), gradient=on_scalars(self.gradient, dtype), real=numba.from_dtype(dtype))


def defined(source, **scope):
    """The last function that a source text defines."""
    exec(source, scope)
    return scope[source[source.index("def ") + 4 : source.index("(")]]


@inline
def matrix(memory, place, n):
    """What lies at a Place of the tape, in a batch of n rows."""
    rows, columns = place[1] + place[2] * n, place[3] + place[4] * n
    return memory[place[0] : place[0] + rows * columns].reshape(rows, columns)


@compiled_once
def operands(kernel, dtype):
    """The names of the matrices that a kernel takes."""
    return [name for name in signature(_function(kernel, dtype)).parameters if name not in COMMON]


@compiled_once
def _function(kernel, dtype):
    return kernel.function(dtype) if isinstance(kernel, (Elementwise, ElementwiseLoss)) else kernel


@compiled_once
def door_to(kernel, dtype):
    """-> the compiled C function of (memory, places, *COMMON) that calls a kernel; it must outlive its ``address``.

    Kernels that differ in no more than sizes, places and hyperparameters are one.
    """
    matrices = iter(range(99))
    function = _function(kernel, dtype)
    arguments = (name if name in COMMON else f"matrix(memory, places[{next(matrices)}], now[{ROWS}])"
                 for name in signature(function).parameters)
    source = f"def door(memory, places, {', '.join(COMMON)}):\n    function({', '.join(arguments)})"
    door = defined(source, function=inline(function), matrix=matrix)
    return numba.cfunc(types.void(*arguments_of(dtype)), **OPTIONS)(door)


def arguments_of(dtype):
    """The types of memory, places, *COMMON."""
    real, whole, double = numba.from_dtype(dtype), types.int64, types.float64
    return real[::1], whole[:, ::1], double[::1], whole[::1], double[::1], double[::1]
