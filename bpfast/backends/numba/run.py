"""The run of a tape: batch after batch without Python; and the gather of a batch's rows from the caller's arrays."""

import math
import platform

import numba
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from ...sparse import SparseRows
from ..recorder import is_due
from .source import ALWAYS, KEPT, RECORDED, ROWS, RUNS, STEP
from .texts import OPTIONS, compiled_once, inline

STEPS, ROW, DONE, DIVERGED = range(4)  # of ``counts``: see ``_run``
LOSS, WEIGHT = range(2)  # of ``sums``
WORD = ir.IntType(32)
WHOLE, DOUBLE = types.int64, types.float64
READ_WHOLE, READ_DOUBLE = (types.Array(number, 1, "A", readonly=True) for number in (WHOLE, DOUBLE))


@intrinsic
def call(typing, address, arguments):
    """Call the C function at an address with a tuple of arguments; pointers are whole numbers."""

    def generate(context, builder, signature, values):
        values = [values[0], *cgutils.unpack_tuple(builder, values[1])]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values[1:]])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(address, arguments), generate


@intrinsic
def flush_denormals(typing):
    """From now on denormals are zeros, as in native: moments of dead units become such, and cost a step twice its time.

    -> what ``restore_denormals`` takes.
    """

    def generate(context, builder, signature, values):
        register = _control(builder, "stmxcsr")
        if register is None:
            return ir.Constant(WORD, 0)
        before = builder.load(register)
        builder.store(builder.or_(before, ir.Constant(WORD, 0x8040)), register)
        _control(builder, "ldmxcsr", register)
        return before

    return types.int32(), generate


@intrinsic
def restore_denormals(typing, before):
    """As they were before."""

    def generate(context, builder, signature, values):
        register = cgutils.alloca_once_value(builder, values[0])
        _control(builder, "ldmxcsr", register)
        return context.get_dummy_value()

    return types.void(types.int32), generate


def _control(builder, instruction, register=None):
    """Read x86's control register into memory, or write it from there; -> the memory, or None: it has no such."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    if register is None:
        register = cgutils.alloca_once(builder, WORD)
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{instruction}")
    builder.call(function, [builder.bitcast(register, byte)])
    return register


due = inline(is_due)


def _run(memory, kernels, conditions, places, settings, passes, sources, strides, weight, rows, batch, left, every,
         coefficients, now, shares, counts, sums):
    """Train on the batches of ``rows``; -> how many rows are done, all or those before a loss that is not finite.

    memory, conditions (kernels,), places (kernels, operands, 5), settings (kernels, ...), passes    see tape.py
    kernels, sources, strides    the kernels' addresses; the addresses and strides of X and y
    left, every                  rows to the end of the epoch; steps between two that are recorded
    coefficients                 (steps, 1 + k): the learning rate of every step, the scalars of its update
    counts                       steps of the state, the row of the next in ``coefficients``, rows of the steps made
                                 here, whether a loss was not finite
    sums                         of weight * loss, and of weight
    """
    begin, before = 0, flush_denormals()
    while begin < rows.size:
        of_batch = rows[begin : begin + batch]
        n, total, loss = of_batch.size, 0.0, 0.0
        for r in range(n):
            shares[r] = weight[of_batch[r]]
            total += shares[r]
        if total > 0:
            step, rest = counts[STEPS], left - begin - n
            now[ROWS], now[STEP], now[RUNS] = n, step, ALWAYS
            if due(step, every, rest == 0):
                now[RUNS] |= RECORDED
            if due(step + 1, every, rest <= batch):
                now[RUNS] |= KEPT
            scalars = coefficients[counts[ROW]]
            shares[-1] = total
            for r in range(n):
                shares[r] /= total
            for i in range(2):
                call(kernels[i], (sources[i], strides[i], of_batch, memory, places[i, 0], now))
            for i in range(2, passes):
                if conditions[i] & now[RUNS]:
                    call(kernels[i], (memory, places[i], settings[i], now, scalars, shares))
            for r in range(n):
                loss += shares[r]
            if not math.isfinite(loss):
                counts[DIVERGED] = 1
                break
            for i in range(passes, kernels.size):
                if conditions[i] & now[RUNS]:
                    call(kernels[i], (memory, places[i], settings[i], now, scalars, shares))
            sums[LOSS] += loss * total
            sums[WEIGHT] += total
            counts[STEPS] += 1
            counts[ROW] += 1
            counts[DONE] += n
        begin += n
    restore_denormals(before)
    return begin


@compiled_once
def runner(dtype):
    """``_run`` in a dtype, compiled; it lets go of the GIL."""
    return numba.njit(
        WHOLE(numba.from_dtype(dtype)[::1], WHOLE[::1], WHOLE[::1], WHOLE[:, :, ::1], DOUBLE[:, ::1], WHOLE, WHOLE[::1],
              WHOLE[:, ::1], READ_DOUBLE, READ_WHOLE, WHOLE, WHOLE, WHOLE, DOUBLE[:, ::1], WHOLE[::1], DOUBLE[::1],
              WHOLE[::1], DOUBLE[::1]),
        nogil=True, **OPTIONS)(_run)


@compiled_once
def shuffle():
    """-> shuffle(order, drawn), which puts an order (n,) into that of ``random.permutation`` by its n draws."""

    def swaps(order, drawn):
        for k in range(order.size - 1):
            last = order.size - 1 - k
            chosen = numba.intp(numba.uint64(drawn[k]) * numba.uint64(last + 1) >> numba.uint64(32))
            order[last], order[chosen] = order[chosen], order[last]

    return numba.njit(types.void(types.intp[::1], types.uint32[::1]), nogil=True, **OPTIONS)(swaps)


@compiled_once
def gather(source, dtype):
    """The C function that converts rows of an array of one dtype into memory of another."""
    real = numba.from_dtype(dtype)

    def rows_of(source, strides, rows, memory, place, now):
        elements = carray(source, (1 << 60,))
        columns = place[3]
        for r in range(rows.size):
            first, to = rows[r] * strides[0], memory[place[0] + r * columns : place[0] + (r + 1) * columns]
            if strides[1] == 1:
                row = elements[first : first + columns]
                for j in range(columns):
                    to[j] = real(row[j])
            else:
                for j in range(columns):
                    to[j] = real(elements[first + j * strides[1]])

    return numba.cfunc(
        types.void(types.CPointer(numba.from_dtype(source)), WHOLE[::1], READ_WHOLE, real[::1], WHOLE[::1],
                   WHOLE[::1]), **OPTIONS)(rows_of)


def can_gather(array):
    """Whether ``gather`` can read an array as it lies; sparse rows it cannot."""
    if isinstance(array, SparseRows):
        return False
    size = array.itemsize
    return (array.dtype.isnative and array.dtype.char in "?bBhHiIlLqQfd" and array.flags.aligned
            and (array.ndim <= 2 or array.flags.c_contiguous)
            and all(stride >= 0 and stride % size == 0 for stride in array.strides))
