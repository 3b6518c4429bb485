# cython: language_level=3, cdivision=True, initializedcheck=False
"""The run of a plan: a program laid out in memory, and its steps in compiled code without the GIL.

A step has two phases.  Rows: gather, forward, loss and backward, for a block of rows.  Parameters: gradient
and update, for a range of each layer's inputs.  Within a phase nothing depends on the split into blocks or
ranges, and sums go on in index order, so a team of threads may share them and the bits stay the same.
"""

cimport cython
from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from ... import config
from .. import base

cdef extern from "plan.h" nogil:
    enum: BP_MAX_SLOTS, BP_MAX_COEFFICIENTS, BP_LANES

    ctypedef struct bp_value:
        Py_ssize_t n, ld, value, before, delta

    ctypedef struct bp_activation:
        const char *name
        void (*forward)(void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *) noexcept nogil
        void (*adjoint)(void *, const void *, const void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                        const double *) noexcept nogil

    ctypedef struct bp_loss:
        const char *name
        void (*run)(double *, void *, const void *, const void *, const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                    const double *) noexcept nogil

    ctypedef struct bp_update:
        const char *name
        int n_slots
        void (*run)(void *, void **, const void *, Py_ssize_t, const void *) noexcept nogil

    ctypedef struct bp_instruction:
        const bp_op *op
        int inputs[2]
        int n_inputs, output, wants_dx
        int adds_dx[2]
        Py_ssize_t weight, bias
        const bp_activation *activation
        double hyper[4]

    ctypedef struct bp_job:
        const bp_value *values
        void *work
        void *scratch
        void *parameters
        void *gradient
        void *slots[BP_MAX_SLOTS]
        const bp_update *update
        const void *coefficients
        int continues

    ctypedef struct bp_op:
        const char *name
        void (*forward)(const bp_job *, const bp_instruction *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*backward)(const bp_job *, const bp_instruction *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*gradient)(const bp_job *, const bp_instruction *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil

    ctypedef struct bp_table:
        const char *data
        Py_ssize_t row_stride, column_stride
        int type

    ctypedef struct bp_kernels:
        const char *level
        int real_size, vector, panel
        const bp_activation *activations
        const bp_loss *losses
        const bp_update *updates
        const bp_op *ops
        Py_ssize_t (*weight_size)(Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*scratch_size)(Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pack)(void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*unpack)(void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*dense_plain)(const bp_job *, const bp_instruction *, Py_ssize_t, const void *, const void *) noexcept nogil
        void (*gather)(void *, Py_ssize_t, Py_ssize_t, const bp_table *, const Py_ssize_t *, Py_ssize_t,
                       Py_ssize_t) noexcept nogil
        void (*scatter)(void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*convert)(void *, const double *, Py_ssize_t) noexcept nogil
        int (*all_finite)(const void *, Py_ssize_t) noexcept nogil
        double (*peak)(Py_ssize_t) noexcept nogil

cdef extern from "levels.h" nogil:
    int bp_runs(const char *)
    const bp_kernels **bp_all_kernels
    unsigned bp_flush_denormals()
    void bp_restore_denormals(unsigned)
    double bp_now()

cdef extern from "../../ops/random.h" nogil:
    void permutation(Py_ssize_t *, Py_ssize_t, uint64_t, uint64_t)

cdef enum: CACHE_LINE = 64
ROWS_PER_BLOCK = 1024  # larger batches run in blocks, so that buffers stay small and a run can stop between them
FLOPS_PER_BLOCK = 2e9  # about 20 ms of one core
FLOPS_PER_CLOCK = 2e6  # work between two looks at the clock
FEW_ROWS = 16  # below it, prediction does not pay for packing the weights

TYPES = {np.dtype(name): code for code, name in
         enumerate(["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])}
TYPES[np.dtype(bool)] = TYPES[np.dtype("u1")]


# -- CPU levels and kernel tables ----------------------------------------------------------------------


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


cdef const bp_activation *find_activation(const bp_kernels *kernels, str name) except NULL:
    cdef const bp_activation *row = kernels.activations
    while row.name != NULL:
        if row.name.decode() == name:
            return row
        row += 1
    raise NotImplementedError(f"activation {name!r} has no native twin; use backend='numpy'")


cdef const bp_loss *find_loss(const bp_kernels *kernels, str name) except NULL:
    cdef const bp_loss *row = kernels.losses
    while row.name != NULL:
        if row.name.decode() == name:
            return row
        row += 1
    raise NotImplementedError(f"loss {name!r} has no native twin; use backend='numpy'")


cdef const bp_update *find_update(const bp_kernels *kernels, str name) except NULL:
    cdef const bp_update *row = kernels.updates
    while row.name != NULL:
        if row.name.decode() == name:
            return row
        row += 1
    raise NotImplementedError(f"update {name!r} has no native twin; use backend='numpy'")


cdef const bp_op *find_op(const bp_kernels *kernels, str name) except NULL:
    cdef const bp_op *row = kernels.ops
    while row.name != NULL:
        if row.name.decode() == name:
            return row
        row += 1
    raise NotImplementedError(f"instruction {name!r} is unknown to the native backend")


def runs(op):
    """Whether the C tables have a twin of this op."""
    kernels = Kernels(np.float32, cpu_level())
    return op.name in kernels.activations() + kernels.losses() + kernels.updates()


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


# -- memory --------------------------------------------------------------------------------------------


cdef class Arena:
    """Zeroed memory that begins at a cache line."""

    cdef void *_memory
    cdef char *data
    cdef readonly Py_ssize_t size  # bytes

    def __cinit__(self, Py_ssize_t size):
        self._memory = calloc(size + CACHE_LINE, 1)
        if self._memory == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.data = <char *>((<size_t>self._memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
        self.size = size

    def __dealloc__(self):
        free(self._memory)

    def copy(self):
        cdef Arena other = Arena(self.size)
        memcpy(other.data, self.data, self.size)
        return other

    def copy_from(self, Arena other):
        memcpy(self.data, other.data, self.size)


cdef class Table:
    """A two-dimensional array from outside, as the kernels gather from it; keeps it alive."""

    cdef Py_buffer _buffer
    cdef bp_table c

    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self._buffer, PyBUF_STRIDED_RO)
        self.c.data = <const char *>self._buffer.buf
        self.c.row_stride, self.c.column_stride = self._buffer.strides[0], self._buffer.strides[1]
        self.c.type = TYPES[array.dtype]

    def __dealloc__(self):
        PyBuffer_Release(&self._buffer)


cdef void *address(array) except? NULL:
    """The first number of a C-contiguous array, which the caller keeps alive."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, 0)
    cdef void *data = buffer.buf
    PyBuffer_Release(&buffer)
    return data


# -- a program in C ------------------------------------------------------------------------------------


cdef class Layout:
    """Where the values of a program lie in a workspace, and its parameters in the arenas of a State."""

    cdef const bp_kernels *kernels
    cdef bp_value *values
    cdef readonly Py_ssize_t work_size, parameters_size, scratch_size  # numbers
    cdef readonly dict offsets

    def __cinit__(self, str level, program, dtype, Py_ssize_t rows):
        self.kernels = find_kernels(level, dtype.itemsize)
        self.values = <bp_value *>calloc(len(program.widths), sizeof(bp_value))
        if self.values == NULL:
            raise MemoryError
        cdef Py_ssize_t line = CACHE_LINE // dtype.itemsize
        keeps_x = {i.output for i in program.instructions if "x" in i.activation.keeps and i.op == "dense"}
        cdef bp_value *value
        for number, width in enumerate(program.widths):
            value = &self.values[number]
            value.n = width
            value.ld = (width + BP_LANES - 1) // BP_LANES * BP_LANES
            if value.ld > line and value.ld // line % 2 == 0:
                value.ld += BP_LANES  # rows an odd number of cache lines apart do not crowd one set of the cache
            value.value = self._take_rows(rows, value.ld)
            value.before = self._take_rows(rows, value.ld) if number in keeps_x else value.value
            value.delta = self._take_rows(rows, value.ld)
        self.offsets = {}
        for name, shape in program.shapes.items():
            self.offsets[name] = self.parameters_size
            self.parameters_size += self._size(shape)
            if len(shape) == 2:
                self.scratch_size = max(self.scratch_size, self.kernels.scratch_size(shape[0], shape[1]))

    def __dealloc__(self):
        free(self.values)

    cdef Py_ssize_t _take_rows(self, Py_ssize_t rows, Py_ssize_t ld):
        cdef Py_ssize_t offset = self.work_size
        self.work_size += rows * ld
        return offset

    cdef Py_ssize_t _size(self, shape):
        cdef Py_ssize_t size = self.kernels.weight_size(shape[0], shape[1]) if len(shape) == 2 else shape[0]
        return (size + BP_LANES - 1) // BP_LANES * BP_LANES

    cdef int pack(self, Arena arena, parameters) except -1:
        """Copy arrays (name -> array) into an arena."""
        cdef char *to
        for name, array in parameters.items():
            array = np.ascontiguousarray(array)
            to = arena.data + <Py_ssize_t>self.offsets[name] * self.kernels.real_size
            if array.ndim == 2:
                self.kernels.pack(to, address(array), array.shape[0], array.shape[1])
            else:
                memcpy(to, address(array), array.nbytes)
        return 0

    cdef int unpack(self, Arena arena, parameters) except -1:
        """Copy an arena out into arrays (name -> array)."""
        cdef const char *begin
        for name, array in parameters.items():
            begin = arena.data + <Py_ssize_t>self.offsets[name] * self.kernels.real_size
            if array.ndim == 2:
                self.kernels.unpack(address(array), begin, array.shape[0], array.shape[1])
            else:
                memcpy(address(array), begin, array.nbytes)
        return 0


cdef class Sequence:
    """The instructions of a program in C."""

    cdef bp_instruction *c
    cdef int n
    cdef readonly list names  # (weight, bias) of each instruction

    def __cinit__(self, Layout layout, program):
        self.n = len(program.instructions)
        self.c = <bp_instruction *>calloc(self.n, sizeof(bp_instruction))
        if self.c == NULL:
            raise MemoryError
        self.names = [instruction.parameters for instruction in program.instructions]
        written = set()  # values whose delta an earlier instruction of the backward pass has written
        cdef bp_instruction *it
        cdef int i, s
        for i in reversed(range(self.n)):
            op, inputs, output, names, activation = program.instructions[i]
            it = &self.c[i]
            it.op = find_op(layout.kernels, op)
            it.n_inputs, it.output = len(inputs), output
            for s, value in enumerate(inputs):
                it.inputs[s], it.adds_dx[s] = value, value in written
                written.add(value)
            it.wants_dx = inputs != (0,)
            if names:
                it.weight, it.bias = layout.offsets[names[0]], layout.offsets[names[1]]
            if activation.name != "linear":
                it.activation = find_activation(layout.kernels, activation.name)
            for s, number in enumerate(activation.values):
                it.hyper[s] = number

    def __dealloc__(self):
        free(self.c)


class Plan(base.Plan):
    """A program laid out for one CPU level and dtype."""

    def __init__(self, *args):
        super().__init__(*args)
        self.level = cpu_level()
        flops_per_row = sum(6 * shape[0] * shape[1] for shape in self.program.shapes.values() if len(shape) == 2)
        most_rows = min(ROWS_PER_BLOCK, max(BP_LANES, int(FLOPS_PER_BLOCK / flops_per_row) // BP_LANES * BP_LANES))
        self.block_rows = min(most_rows, max(self.batch_size, 256))
        self.flops_per_row = flops_per_row
        self.layout = Layout(self.level, self.program, self.dtype, self.block_rows)
        self.inference = Sequence(self.layout, self.program)
        self.training = Sequence(self.layout, self.trained)

    def new_workspace(self):
        return Workspace(self)

    def new_state(self, parameters):
        return State(self, parameters)

    def forward(self, parameters, workspace, X):
        outputs = np.empty((len(X), self.program.n_out), self.dtype)
        (<Buffers>workspace.buffers).infer(self, parameters, Table(X), len(X), outputs, None, None)
        return outputs

    def losses(self, parameters, workspace, data):
        outputs, values = np.empty((len(data.X), self.program.n_out), self.dtype), np.empty(len(data.X))
        (<Buffers>workspace.buffers).infer(self, parameters, Table(data.X), len(data.X), outputs, data.y, values)
        return values, outputs

    def gradient(self, state, workspace, data):
        workspace.start()
        n = len(data.X)
        (<Buffers>workspace.buffers).train(self, state, workspace, data, np.arange(n), 0, n, None, np.inf)
        return workspace.loss_sum / workspace.weight_sum

    def apply(self, state, coefficients):
        cdef Arena parameters = state.arenas[0], gradient = state.gradient
        cdef Layout layout = self.layout
        cdef const bp_update *update = find_update(layout.kernels, self.update.name)
        cdef void *slots[BP_MAX_SLOTS]
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef int s
        for s in range(update.n_slots):
            slots[s] = (<Arena>state.arenas[1 + s]).data
        cdef const double[::1] numbers = np.ascontiguousarray(coefficients, np.float64)
        layout.kernels.convert(reals, &numbers[0], len(numbers))
        update.run(parameters.data, slots, gradient.data, layout.parameters_size, reals)
        state.steps += 1

    def run(self, state, workspace, data, order, begin, coefficients, seconds):
        return (<Buffers>workspace.buffers).train(
            self, state, workspace, data, order, begin, self.batch_size, coefficients, seconds)

    def permutation(self, n, seed, epoch):
        order = np.empty(n, np.intp)
        cdef Py_ssize_t[::1] c_order = order
        cdef Py_ssize_t size = n
        cdef uint64_t c_seed = seed, c_epoch = epoch
        if size:
            with nogil:
                permutation(&c_order[0], size, c_seed, c_epoch)
        return order


class State(base.State):
    """``arenas`` holds the parameters and the slots, all laid out alike; ``gradient`` one more."""

    def __init__(self, plan, parameters):
        self._plan = plan
        self._slot_names = plan.update.slots if plan.update else ()
        size = plan.layout.parameters_size * plan.dtype.itemsize
        self.arenas = [Arena(size) for _ in range(1 + len(self._slot_names))]
        self.gradient = Arena(size)
        self.load(parameters)

    def load(self, parameters):
        (<Layout>self._plan.layout).pack(self.arenas[0], parameters)

    def store(self, parameters):
        (<Layout>self._plan.layout).unpack(self.arenas[0], parameters)

    def gradients(self):
        return self._arrays(self.gradient)

    def slots(self):
        return {slot: self._arrays(arena) for slot, arena in zip(self._slot_names, self.arenas[1:])}

    def load_slots(self, slots):
        for slot, arena in zip(self._slot_names, self.arenas[1:]):
            (<Layout>self._plan.layout).pack(arena, {
                name: np.asarray(array, self._plan.dtype) for name, array in slots[slot].items()})

    def not_finite(self):
        cdef Arena parameters = self.arenas[0]
        cdef Layout layout = self._plan.layout
        return not layout.kernels.all_finite(parameters.data, layout.parameters_size)

    def snapshot(self):
        return [arena.copy() for arena in self.arenas], self.steps

    def restore(self, snapshot):
        for arena, saved in zip(self.arenas, snapshot[0]):
            arena.copy_from(saved)
        self.steps = snapshot[1]

    def _arrays(self, arena):
        arrays = {name: np.empty(shape, self._plan.dtype) for name, shape in self._plan.program.shapes.items()}
        (<Layout>self._plan.layout).unpack(arena, arrays)
        return arrays


class Workspace(base.Workspace):
    def __init__(self, plan):
        self.buffers = Buffers(plan)


cdef class Buffers:
    """The values, deltas and scratch of one caller, and the runs over them."""

    cdef Layout layout
    cdef Py_ssize_t rows
    cdef Arena work, scratch, targets, packed
    cdef double *losses
    cdef double *shares

    def __cinit__(self, plan):
        self.layout, self.rows = plan.layout, plan.block_rows
        cdef Py_ssize_t real_size = plan.dtype.itemsize
        self.work = Arena(self.layout.work_size * real_size)
        self.scratch = Arena(self.layout.scratch_size * real_size)
        self.targets = Arena(self.rows * self.layout.values[plan.trained.output].ld * 8)
        self.losses = <double *>calloc(self.rows, sizeof(double))
        self.shares = <double *>calloc(self.rows, sizeof(double))
        if self.losses == NULL or self.shares == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.losses)
        free(self.shares)

    cdef bp_job job(self):
        cdef bp_job job
        memset(&job, 0, sizeof(bp_job))
        job.values, job.work, job.scratch = self.layout.values, self.work.data, self.scratch.data
        return job

    cdef void gather_targets(self, const bp_table *y, bint labels, const bp_value *output, const Py_ssize_t *order,
                             Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        cdef Py_ssize_t i, row
        if labels:
            for i in range(begin, end):
                row = order[i] if order != NULL else i
                (<int64_t *>self.targets.data)[i - begin] = (<const int64_t *>(y.data + row * y.row_stride))[0]
        else:
            self.layout.kernels.gather(self.targets.data, output.ld, output.n, y, order, begin, end)

    # -- training --------------------------------------------------------------------------------------

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef Py_ssize_t train(self, plan, state, workspace, data, order, Py_ssize_t begin, Py_ssize_t batch_size,
                          coefficients, double seconds) except -1:
        """Batches of ``order`` from row ``begin`` on; without coefficients the gradient is kept, and no step made."""
        cdef Table X = Table(data.X), y = Table(data.y if data.y.ndim == 2 else data.y[:, None])
        cdef const Py_ssize_t[::1] c_order = order
        cdef const double[::1] weight = data.weight
        cdef const double[:, ::1] scalars = coefficients
        cdef bint weighted = data.weight is not None, stepping = coefficients is not None
        cdef bint labels = plan.loss.labels
        cdef Layout layout = self.layout
        cdef const bp_kernels *kernels = layout.kernels
        cdef Sequence sequence = plan.training
        cdef const bp_value *output = &layout.values[plan.trained.output]
        cdef const bp_loss *loss = find_loss(kernels, plan.loss.name)
        cdef const bp_update *update = find_update(kernels, plan.update.name) if stepping else NULL
        cdef double loss_hyper[4]
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef bp_job job = self.job()
        cdef char *real_work = self.work.data
        cdef Py_ssize_t n = len(order), n_scalars = scalars.shape[1] if stepping else 0
        cdef Py_ssize_t first_step = workspace.steps, step = first_step, batch, batch_end, block_end, i
        cdef double loss_sum = workspace.loss_sum, weight_sum = workspace.weight_sum
        cdef double batch_weight = 0, end, work = 0, clock = FLOPS_PER_CLOCK, per_row = plan.flops_per_row
        cdef bint diverged = False, whole
        cdef unsigned denormals
        cdef int s
        for s, number in enumerate(plan.loss.values):
            loss_hyper[s] = number
        job.parameters = (<Arena>state.arenas[0]).data
        job.gradient = (<Arena>state.gradient).data
        if stepping:
            for s in range(update.n_slots):
                job.slots[s] = (<Arena>state.arenas[1 + s]).data
        with nogil:
            denormals = bp_flush_denormals()
            end = bp_now() + seconds
            while begin < n and not diverged:
                batch = begin - begin % batch_size
                batch_end = min(batch + batch_size, n)
                batch_weight = batch_end - batch
                if weighted:
                    batch_weight = 0
                    for i in range(batch, batch_end):
                        batch_weight += weight[c_order[i]]
                block_end = min(begin + self.rows, batch_end)
                if batch_weight > 0:
                    whole = begin == batch and block_end == batch_end
                    if stepping:
                        kernels.convert(reals, &scalars[step, 0], n_scalars)
                        job.coefficients = reals
                    job.update = update if whole else NULL
                    job.continues = begin > batch
                    for i in range(begin, block_end):
                        self.shares[i - begin] = (weight[c_order[i]] if weighted else 1) / batch_weight
                    # Phase 1: rows.
                    kernels.gather(real_work + layout.values[0].value * kernels.real_size, layout.values[0].ld,
                                   layout.values[0].n, &X.c, &c_order[0], begin, block_end)
                    self.gather_targets(&y.c, labels, output, &c_order[0], begin, block_end)
                    rows_phase(&job, sequence.c, sequence.n, loss, loss_hyper, output, self.losses, self.targets.data,
                               self.shares, kernels.real_size, block_end - begin)
                    for i in range(begin, block_end):
                        loss_sum += self.losses[i - begin] * (weight[c_order[i]] if weighted else 1)
                    if not isfinite(loss_sum):
                        diverged = True
                        break
                    # Phase 2: parameters.
                    for s in range(sequence.n):
                        if sequence.c[s].op.gradient != NULL:
                            sequence.c[s].op.gradient(&job, &sequence.c[s], block_end - begin, 0,
                                                      layout.values[sequence.c[s].inputs[0]].n)
                    if block_end == batch_end:
                        if stepping and not whole:
                            update.run(job.parameters, job.slots, job.gradient, layout.parameters_size, reals)
                        step += 1
                        weight_sum += batch_weight
                work += per_row * (block_end - begin)
                begin = block_end
                if work > clock:
                    work = 0
                    if bp_now() >= end:
                        break
            bp_restore_denormals(denormals)
        workspace.loss_sum, workspace.weight_sum, workspace.diverged = loss_sum, weight_sum, diverged
        if stepping:
            workspace.steps = step
            state.steps += step - first_step
        return begin

    # -- inference -------------------------------------------------------------------------------------

    cdef int infer(self, plan, parameters, Table X, Py_ssize_t n, outputs, y, values) except -1:
        """Outputs of n rows, and with y the loss of each."""
        cdef Layout layout = self.layout
        cdef const bp_kernels *kernels = layout.kernels
        cdef Sequence sequence = plan.inference
        cdef const bp_value *input = &layout.values[0]
        cdef const bp_value *output = &layout.values[plan.program.output]
        cdef const bp_value *scored = &layout.values[plan.trained.output]
        cdef Table targets
        cdef const bp_loss *loss = NULL
        cdef bint labels = False, plain = n < FEW_ROWS
        cdef double loss_hyper[4]
        cdef double *losses = NULL
        cdef char *out = <char *>address(outputs)
        cdef bp_job job = self.job()
        cdef char *work = self.work.data
        cdef Py_ssize_t begin = 0, end, i, real_size = kernels.real_size
        cdef unsigned denormals
        cdef const void **arrays = NULL
        cdef int s
        if y is not None:
            targets = Table(y if y.ndim == 2 else y[:, None])
            loss, labels = find_loss(kernels, plan.loss.name), plan.loss.labels
            losses = <double *>address(values)
            for s, number in enumerate(plan.loss.values):
                loss_hyper[s] = number
        if not plain:
            if self.packed is None:
                self.packed = Arena(layout.parameters_size * real_size)
            layout.pack(self.packed, parameters)
            job.parameters = self.packed.data
        else:
            arrays = <const void **>calloc(2 * sequence.n, sizeof(void *))
            if arrays == NULL:
                raise MemoryError
            for s, names in enumerate(sequence.names):
                for i, name in enumerate(names):
                    arrays[2 * s + i] = address(parameters[name])
        with nogil:
            denormals = bp_flush_denormals()
            while begin < n:
                end = min(begin + self.rows, n)
                kernels.gather(work + input.value * real_size, input.ld, input.n, &X.c, NULL, begin, end)
                for s in range(sequence.n):
                    if plain and arrays[2 * s] != NULL:
                        kernels.dense_plain(&job, &sequence.c[s], end - begin, arrays[2 * s], arrays[2 * s + 1])
                    else:
                        sequence.c[s].op.forward(&job, &sequence.c[s], 0, end - begin)
                if loss != NULL:
                    self.gather_targets(&targets.c, labels, scored, NULL, begin, end)
                    for i in range(end - begin):
                        self.shares[i] = 1
                    loss.run(losses + begin, work + scored.delta * real_size, work + scored.value * real_size,
                             self.targets.data, self.shares, end - begin, scored.n, scored.ld, loss_hyper)
                kernels.scatter(out + begin * output.n * real_size, work + output.value * real_size, output.ld, output.n,
                                end - begin)
                begin = end
            bp_restore_denormals(denormals)
            free(arrays)
        return 0


cdef void rows_phase(bp_job *job, const bp_instruction *instructions, int n, const bp_loss *loss, const double *hyper,
                     const bp_value *output, double *losses, const void *targets, const double *shares,
                     Py_ssize_t real_size, Py_ssize_t rows) noexcept nogil:
    """Forward, loss and backward for the rows of a block."""
    cdef char *work = <char *>job.work
    cdef int i
    for i in range(n):
        instructions[i].op.forward(job, &instructions[i], 0, rows)
    loss.run(losses, work + output.delta * real_size, work + output.value * real_size, targets, shares, rows,
             output.n, output.ld, hyper)
    for i in range(n - 1, -1, -1):
        instructions[i].op.backward(job, &instructions[i], 0, rows)


# -- single kernels, for tests and benchmarks ----------------------------------------------------------


cdef class Kernels:
    """The kernels of one CPU level and dtype, on arrays."""

    cdef const bp_kernels *kernels
    cdef object dtype

    def __cinit__(self, dtype, str level):
        self.dtype = np.dtype(dtype)
        self.kernels = find_kernels(level, self.dtype.itemsize)

    def activations(self):
        """The names in the table, in order."""
        names, i = [], 0
        while self.kernels.activations[i].name != NULL:
            names.append(self.kernels.activations[i].name.decode())
            i += 1
        return names

    def losses(self):
        """The names in the table, in order."""
        names, i = [], 0
        while self.kernels.losses[i].name != NULL:
            names.append(self.kernels.losses[i].name.decode())
            i += 1
        return names

    def updates(self):
        """The names in the table, in order."""
        names, i = [], 0
        while self.kernels.updates[i].name != NULL:
            names.append(self.kernels.updates[i].name.decode())
            i += 1
        return names

    def activation_forward(self, op, x):
        """y = f(x) for x (n,) or rows (batch, n)."""
        rows, n, (padded,) = self._pad(op.rowwise, x)
        y = np.zeros_like(padded)
        cdef double hyper[4]
        self._hyper(hyper, op)
        find_activation(self.kernels, op.name).forward(address(y), address(padded), rows, n, padded.shape[1], hyper)
        return y[:rows, :n].reshape(np.shape(x))

    def activation_adjoint(self, op, dy, x, y):
        """dx = g(dy, x, y), shapes as above."""
        rows, n, (pdy, px, py) = self._pad(op.rowwise, dy, x, y)
        dx = np.zeros_like(pdy)
        cdef double hyper[4]
        self._hyper(hyper, op)
        find_activation(self.kernels, op.name).adjoint(
            address(dx), address(pdy), address(px), address(py), rows, n, pdy.shape[1], hyper)
        return dx[:rows, :n].reshape(np.shape(x))

    def loss(self, op, y, t, mean):
        """-> (values (batch,) float64, dy = mean * dvalue/dy) for outputs y (batch, n)."""
        rows, n, (padded,) = self._pad(True, y)
        targets = np.ascontiguousarray(t, np.int64) if op.labels else self._pad(True, t)[2][0]
        values, dy, mean = np.zeros(rows), np.zeros_like(padded), np.ascontiguousarray(mean, np.float64)
        cdef double hyper[4]
        self._hyper(hyper, op)
        if rows:
            find_loss(self.kernels, op.name).run(
                <double *>address(values), address(dy), address(padded), address(targets), <double *>address(mean),
                rows, n, padded.shape[1], hyper)
        return values, dy[:, :n].copy()

    def update(self, op, g, w, slots, coefficients):
        """-> (w, *slots) after a step with these scalars."""
        arrays = [np.array(array, self.dtype, order="C") for array in (w, *slots)]
        g = np.ascontiguousarray(g, self.dtype)
        cdef const double[::1] scalars = np.ascontiguousarray(coefficients, np.float64)
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef void *pointers[BP_MAX_SLOTS]
        cdef int s
        for s in range(len(slots)):
            pointers[s] = address(arrays[1 + s])
        self.kernels.convert(reals, &scalars[0], len(scalars))
        if g.size:
            find_update(self.kernels, op.name).run(address(arrays[0]), pointers, address(g), g.size, reals)
        return tuple(arrays)

    def _pad(self, rowwise, *arrays):
        """-> (rows, n, copies whose rows are padded as in a workspace)."""
        shaped = [np.atleast_2d(np.asarray(array, self.dtype)) for array in arrays]
        rows, n = shaped[0].shape
        padded = [np.zeros((rows, -(-max(n, 1) // BP_LANES) * BP_LANES), self.dtype) for _ in shaped]
        for to, array in zip(padded, shaped):
            to[:, :n] = array
        return rows, n, padded

    cdef int _hyper(self, double *hyper, op) except -1:
        for i, number in enumerate(op.values):
            hyper[i] = number
        return 0
