# cython: language_level=3
"""The kernels of every CPU level: which there are, which this processor runs, a program laid out for them, and each
alone, on arrays.
"""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strcmp

from .plan cimport *

import math
from collections import Counter
from functools import cache

import numpy as np

from ... import config
from ...ops.regularization import NO_RESTRAINT
from ...ops.table import Activation, Loss
from ...sparse import SparseRows
from ..base import ACTIVATES, LINEAR, RELU, Noise, Norm, Window, gates, native_dtype

cdef extern from "levels.h" nogil:
    int bp_runs(const char *)
    const bp_kernels **bp_all_kernels

cdef extern from "dtypes.h" nogil:
    bp_translate *bp_translation(char, Py_ssize_t, int)

TYPES = {np.dtype(name): code for code, name in
         enumerate(["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])}
TYPES[np.dtype(bool)] = TYPES[np.dtype("u1")]


PRODUCTS = "dense", "conv"
MASKS_DX = *PRODUCTS, "max_pool", "avg_pool"  # which can do the adjoint of the relu before them, too
NOISES = "dropout", "alpha_dropout"


def cpu_levels():
    """The CPU levels that this processor runs, lowest first."""
    names = []
    cdef int i = 0
    while bp_all_kernels[i] != NULL:
        if bp_runs(bp_all_kernels[i].level):
            names.append(bp_all_kernels[i].level.decode())
        i += 1
    return tuple(sorted(set(names)))


def cpu_level():
    """The CPU level in use: the highest that this processor runs and BPFAST_CPU allows."""
    levels, cap = cpu_levels(), config.cpu_cap()
    allowed = [level for level in levels if cap is None or level <= cap]
    if not allowed:
        raise ValueError(f"BPFAST_CPU={cap} allows no level of this processor, which runs: {', '.join(levels)}")
    return allowed[-1]


cdef const bp_kernels *find_kernels(str level, int real_size) except NULL:
    cdef int i = 0
    while bp_all_kernels[i] != NULL:
        if bp_all_kernels[i].level.decode() == level and bp_all_kernels[i].real_size == real_size:
            if not bp_runs(bp_all_kernels[i].level):
                break
            return bp_all_kernels[i]
        i += 1
    raise ValueError(f"this processor has no CPU level {level!r}; it runs: {', '.join(cpu_levels())}")


cdef list row_names(const void *table, size_t row_size):
    """The names in a table of kernels; each row begins with its name, and the last one has none."""
    names, row = [], <const char *>table
    while (<const char **>row)[0] != NULL:
        names.append((<const char **>row)[0].decode())
        row += row_size
    return names


cdef const void *find_row(const void *table, size_t row_size, str name) except NULL:
    wanted, row = name.encode(), <const char *>table
    while (<const char **>row)[0] != NULL:
        if strcmp((<const char **>row)[0], wanted) == 0:
            return row
        row += row_size
    raise NotImplementedError(f"{name!r} has no native twin; use backend='numpy'")


cdef class Written:
    """An op that a user wrote, compiled for one dtype, as a row of its table."""

    cdef object code  # whose addresses these are
    cdef bytes name
    cdef bp_activation activation
    cdef bp_loss loss
    cdef bp_update update

    def __cinit__(self, op, own_slope, str level, int real_size):
        cdef const bp_kernels *kernels = find_kernels(level, real_size)
        self.code, self.name = op.compiled(np.dtype(f"f{real_size}")), op.name.encode()
        cdef size_t run = getattr(self.code, "run", 0)
        if isinstance(op, Activation):
            self.activation.name = self.name
            self.activation.forward = <bp_forward *><size_t>self.code.forward
            if op.has_slopes:
                self.activation.forward_slope = <bp_forward_slope *><size_t>self.code.forward_slope
                self.activation.adjoint = kernels.by_slope
            else:
                self.activation.adjoint = find_activation(kernels, RELU).adjoint
        elif isinstance(op, Loss):
            self.loss.name, self.loss.run = self.name, <bp_loss_run *>run
        else:
            self.update.name, self.update.n_slots, self.update.run = self.name, len(op.slots), <bp_update_run *>run


_written = cache(Written)  # for as long as the process lives, as the tables


cdef Written written(op, const bp_kernels *kernels):
    """The row; an op may be given another derivative, so that the op alone does not tell it."""
    return _written(op, op.own_slope, kernels.level.decode(), kernels.real_size)


cdef const bp_activation *find_activation(const bp_kernels *kernels, op) except NULL:
    if op.function is not None:
        return &written(op, kernels).activation
    return <const bp_activation *>find_row(kernels.activations, sizeof(bp_activation), op.name)


cdef const bp_loss *find_loss(const bp_kernels *kernels, op) except NULL:
    if op.function is not None:
        return &written(op, kernels).loss
    return <const bp_loss *>find_row(kernels.losses, sizeof(bp_loss), op.name)


cdef const bp_update *find_update(const bp_kernels *kernels, op) except NULL:
    if op.function is not None:
        return &written(op, kernels).update
    return <const bp_update *>find_row(kernels.updates, sizeof(bp_update), op.name)


cdef int copy_hyper(double *hyper, op) except -1:
    """The hyperparameters of an op, as kernels take them."""
    if len(op.values) > BP_MAX_HYPER:
        raise NotImplementedError(f"{op.name} has {len(op.values)} hyperparameters; kernels take {BP_MAX_HYPER}")
    for i, number in enumerate(op.values):
        hyper[i] = number
    return 0


cdef bint moves_zeros(const bp_update *update, const void *coefficients) noexcept nogil:
    """Whether steps change a zero parameter of zero gradient, such as Adam's 0 / 0 with epsilon = 0.

    Slots may leave zero where that ends at once: what the second step does not change, no later one will.
    """
    cdef double numbers[(BP_MAX_SLOTS + 2) * BP_LANES]
    cdef double before[(BP_MAX_SLOTS + 2) * BP_LANES]
    cdef double zero = 0
    cdef void *slots[BP_MAX_SLOTS]
    cdef int s
    memset(numbers, 0, sizeof(numbers))
    for s in range(BP_MAX_SLOTS):
        slots[s] = &numbers[(2 + s) * BP_LANES]
    update.run(&numbers[0], slots, &numbers[BP_LANES], BP_LANES, coefficients)
    memcpy(before, numbers, sizeof(numbers))
    update.run(&numbers[0], slots, &numbers[BP_LANES], BP_LANES, coefficients)
    return memcmp(numbers, &zero, sizeof(zero)) != 0 or memcmp(numbers, before, sizeof(before)) != 0


cdef int copy_settings(bp_instruction *it, settings) except -1:
    """The settings of an instruction, as its kernel takes them."""
    cdef int s
    if isinstance(settings, Window):
        (it.window.height, it.window.width), (it.window.stride_y, it.window.stride_x) = settings.size, settings.stride
        (it.window.top, _), (it.window.left, _) = settings.padding
    elif isinstance(settings, (Norm, Noise)):
        for s, number in enumerate(settings):
            it.settings[s] = number
    return 0


cdef int check_coefficients(Py_ssize_t n) except -1:
    if n > BP_MAX_COEFFICIENTS:
        raise NotImplementedError(f"the update has {n} coefficients; kernels take {BP_MAX_COEFFICIENTS}")
    return 0


cdef const bp_op *find_op(const bp_kernels *kernels, str name) except NULL:
    return <const bp_op *>find_row(kernels.ops, sizeof(bp_op), name)


def runs(op):
    """Whether the C tables have a twin of this op, or Numba makes one of the function that a user wrote."""
    kernels = Kernels(np.float32)
    return op.function is not None or op.name in kernels.activations() + kernels.losses() + kernels.updates()


def fma_peak(dtype=np.float32):
    """GFLOP/s of fused multiply-adds in registers on this core, at the CPU level in use; takes about 20 ms."""
    cdef const bp_kernels *kernels = find_kernels(cpu_level(), np.dtype(dtype).itemsize)
    cdef double begin, done = 0, seconds = 0
    with nogil:
        begin = bp_now()
        while seconds < 0.02:
            done += kernels.peak(100000)
            seconds = bp_now() - begin
    return 2e-9 * done / seconds


include "arrays.pxi"


# -- a program in C ------------------------------------------------------------------------------------


cdef Py_ssize_t whole_lanes(Py_ssize_t n):
    return (n + BP_LANES - 1) // BP_LANES * BP_LANES


def replaced_values(program, makers):
    """-> {value: input}: an input that nothing else reads gives its place to a sum, or to the same numbers reshaped.

    A sum writes there, so the way back to that input must not need what it was.
    """
    readers = Counter(value for i in program.instructions for value in i.inputs)
    alone = {value for value in makers if readers[value] == 1}
    unneeded = {value for value in alone if makers[value].op in ACTIVATES and makers[value].activation == LINEAR}
    return {i.output: i.inputs[-1] for i in program.instructions
            if i.op == "add" and i.inputs[-1] in unneeded or i.op == "reshape" and i.inputs[-1] in alone}


def fuses_relu(program, instruction):
    """Whether an instruction stores relu of its numbers as it makes them."""
    return (instruction.op in ACTIVATES and instruction.activation.name == "relu"
            and program.width(instruction.output) > 1)


def fused_adjoints(program):
    """-> {value: (reader, how its product ends)}: where the reader of a value does the adjoint of its activation.

    Of what gates that is the first reader, whose dx is the last part of the delta.  A written function's slopes lie where
    its delta will: then nothing else may read it.
    """
    readers, fused = {}, {}
    for number, instruction in enumerate(program.instructions):
        for value in instruction.inputs:
            readers.setdefault(value, []).append(number)
    for maker in program.instructions:
        first, *others = readers.get(maker.output, [None])
        reader = None if first is None else program.instructions[first].op
        if maker.op not in ACTIVATES:
            continue
        if gates(maker.activation):
            if program.width(maker.output) > 1 and reader in MASKS_DX:
                fused[maker.output] = first, BP_MASKED
        elif maker.activation.has_slopes and reader in PRODUCTS and not others:
            fused[maker.output] = first, BP_SCALED
    return fused


cdef class Layout:
    """Where the values of a program lie in a workspace, and its parameters and statistics in the arenas of a State.

    Offsets of values are those of a workspace of one row.  ``of_input``: kernels write a delta of the data.
    """

    def __cinit__(self, str level, program, dtype, restraints, bint of_input=False):
        self.of_input = of_input
        self.kernels = find_kernels(level, dtype.itemsize)
        self.n_values, self.n_parameters = len(program.value_shapes), len(program.shapes)
        self.shapes, self.numbers = {**program.shapes, **program.statistics}, {}
        self.values = <bp_value *>calloc(self.n_values, sizeof(bp_value))
        self.parameters = <bp_parameter *>calloc(len(self.shapes), sizeof(bp_parameter))
        if self.values == NULL or self.parameters == NULL:
            raise MemoryError
        makers = {i.output: i for i in program.instructions}
        replaced, fused = replaced_values(program, makers), fused_adjoints(program)
        # The data lie without padding, but where a delta is written or what reads them goes over rows as they lie.
        self.pads_data = of_input or any(i.op in ("activation", "add") and 0 in i.inputs for i in program.instructions)
        cdef const bp_value *place
        for number, shape in enumerate(program.value_shapes):
            place = &self.values[<int>replaced[number]] if number in replaced else NULL
            _, end = fused.get(number, (None, BP_SUM))
            self._place(&self.values[number], shape, makers.get(number), place, end,
                        CACHE_LINE // <Py_ssize_t>dtype.itemsize)
        cdef bp_parameter *p
        for number, (name, shape) in enumerate(self.shapes.items()):
            self.numbers[name] = number
            p = &self.parameters[number]
            p.n_in, p.n_out = math.prod(shape[:-1]) if len(shape) > 1 else 0, shape[-1]
            p.offset = self.parameters_size
            p.size = whole_lanes(self.kernels.weight_size(p.n_in, p.n_out) if p.n_in else p.n_out)
            self.parameters_size += p.size
            p.l1, p.l2, p.l2_of_sum, p.decay, p.max_norm = restraints.get(name, NO_RESTRAINT)
            if p.n_in:
                self.scratch_size = max(self.scratch_size, self.kernels.scratch_size(p.n_in, p.n_out))

    def __dealloc__(self):
        free(self.values)
        free(self.parameters)

    cdef int _place(self, bp_value *value, shape, maker, const bp_value *replaced, int delta_end, Py_ssize_t line) except -1:
        """Pixels lie whole vectors apart, so that kernels may store their last channels with padding; the data do not.

        ``replaced``: a value whose place this one may take, or NULL; ``delta_end``: how its delta is made.
        """
        op = maker.op if maker else "gather"
        value.h, value.w, value.c = (1,) * (3 - len(shape)) + shape
        cdef Py_ssize_t pixels = value.h * value.w, channels = whole_lanes(value.c)
        value.pitch = value.c if pixels == 1 or op == "gather" and not self.pads_data else channels
        value.n = pixels * value.pitch
        value.ld = whole_lanes(value.n)
        if value.ld > 8 * line and value.ld // line % 2 == 0:
            value.ld += BP_LANES  # rows an odd number of cache lines apart do not crowd one set of the cache
        if replaced and replaced.n != value.n:  # the same numbers, but not in the same places
            replaced = NULL
        value.delta = replaced.delta if replaced else self._take(value.ld)
        value.before = (value.delta if delta_end == BP_SCALED else
                        replaced.value if replaced else self._take(value.ld))
        value.value = self._take(value.ld) if op in ACTIVATES and "x" in maker.activation.keeps else value.before
        if op == "batch_norm":
            value.noted = self._take(2 * channels)  # sums of each row
            value.kept, self.kept_size = self.kept_size, self.kept_size + 3 * channels  # and of the batch
            self.scratch_size = max(self.scratch_size, 3 * channels)
        elif op == "layer_norm":
            value.noted = self._take(whole_lanes(2 * pixels))  # mean and 1 / deviation of each pixel
        elif op in NOISES or op == "activation" and maker.activation.has_slopes:
            value.noted = self._take(value.ld)  # factors, slopes
        return 0

    cdef Py_ssize_t _take(self, Py_ssize_t n):
        cdef Py_ssize_t offset = self.row_size
        self.row_size += n
        return offset

    cdef const bp_parameter *find(self, name) except NULL:
        return &self.parameters[<Py_ssize_t>self.numbers[name]]

    cdef checked(self, name, array):
        """The array, C-contiguous, of the shape and dtype that this layout was made for."""
        if array.shape != self.shapes[name] or array.itemsize != self.kernels.real_size:
            raise ValueError(f"parameter {name!r} has become {array.dtype} {array.shape}, not {self.shapes[name]}")
        return np.ascontiguousarray(array)

    cdef int pack(self, Arena arena, arrays) except -1:
        """Copy arrays (name -> array) into an arena."""
        cdef char *to
        for name, array in arrays.items():
            array = self.checked(name, array)
            to = arena.data + self.find(name).offset * self.kernels.real_size
            if array.ndim > 1:
                self.kernels.pack(to, address(array), self.find(name).n_in, self.find(name).n_out)
            else:
                memcpy(to, address(array), array.nbytes)
        return 0

    cdef int unpack(self, Arena arena, parameters) except -1:
        """Copy an arena out into arrays (name -> array)."""
        cdef const char *begin
        for name, array in parameters.items():
            self.checked(name, array)
            begin = arena.data + self.find(name).offset * self.kernels.real_size
            if array.ndim > 1:
                self.kernels.unpack(address(array, PyBUF_WRITABLE), begin, self.find(name).n_in, self.find(name).n_out)
            else:
                memcpy(address(array, PyBUF_WRITABLE), begin, array.nbytes)
        return 0


cdef class Sequence:
    """The instructions of a program in C, and the loss that reads its output."""

    def __cinit__(self, Layout layout, program, loss):
        self.n = len(program.instructions)
        self.c = <bp_instruction *>calloc(self.n, sizeof(bp_instruction))
        if self.c == NULL:
            raise MemoryError
        self.names = [instruction.parameters for instruction in program.instructions]
        written = set()  # values whose delta an earlier instruction of the backward pass has written
        learned = set()  # values that a parameter has had a part in
        for instruction in program.instructions:
            if instruction.parameters or not learned.isdisjoint(instruction.inputs):
                learned.add(instruction.output)
        cdef bp_instruction *it
        cdef int i, s
        self.reads_entries, self.reads_in_place = not layout.of_input, True
        for i in reversed(range(self.n)):
            instruction = program.instructions[i]
            it = &self.c[i]
            if 0 in instruction.inputs:
                self.reads_entries = self.reads_entries and instruction.op == "dense"
                self.reads_in_place = (self.reads_in_place and instruction.op == "dense"
                                       and program.width(instruction.output) > 1)
            it.op = find_op(layout.kernels, instruction.op)
            self.mixes_rows |= it.op.mixes_rows
            it.n_inputs, it.output = len(instruction.inputs), instruction.output
            for s, value in enumerate(instruction.inputs):
                it.inputs[s], it.adds_dx[s] = value, value in written
                written.add(value)
            it.wants_dx = layout.of_input or not learned.isdisjoint(instruction.inputs)
            for s, name in enumerate(instruction.parameters):
                if s == 0:
                    it.weight = layout.find(name)
                else:
                    it.bias = layout.find(name)
            for s, name in enumerate(instruction.statistics):
                it.statistics[s] = layout.find(name)
            copy_settings(it, instruction.settings)
            if instruction.op == "conv":
                layout.scratch_size = max(layout.scratch_size, layout.kernels.conv_scratch_size(
                    &it.window, &layout.values[it.inputs[0]], &layout.values[it.output]))
            it.activation = find_activation(layout.kernels, instruction.activation)
            copy_hyper(it.hyper, instruction.activation)
            it.fused_relu = fuses_relu(program, instruction)
        fused = fused_adjoints(program)
        for i, instruction in enumerate(program.instructions):
            if instruction.output in fused:
                reader, end = fused[instruction.output]
                self.c[i].fused_adjoint, self.c[<int>reader].dx_end = True, end
        for i in range(self.n):
            bp_find_passes(&self.c[i])
        self.is_plain = all(i.op == "dense" or not (i.parameters or i.statistics) for i in program.instructions)
        self.output = program.output
        if loss is not None:
            self.loss, self.labels = find_loss(layout.kernels, loss), loss.labels
            copy_hyper(self.loss_hyper, loss)

    def __dealloc__(self):
        free(self.c)


include "single.pxi"
