# cython: language_level=3, cdivision=True, initializedcheck=False
"""The run of a plan: its steps in compiled code without the GIL.

A step has two phases.  Rows: gather, forward, loss and backward, for a block of rows.  Parameters: gradient
and update, for a range of each layer's inputs.  Within a phase nothing depends on the split into blocks or
ranges, and sums go on in index order, so a team of threads may share them and the bits stay the same.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from .plan cimport *
from .tables cimport Arena, Layout, Sequence, Table, address, check_coefficients, find_update, moves_zeros

import numpy as np

from .. import base
from .tables import cpu_level

cdef extern from "dtypes.h" nogil:
    int64_t bp_label(const bp_table *, Py_ssize_t, Py_ssize_t)

ROWS_PER_BLOCK = 1024  # larger batches run in blocks, so that buffers stay small and a run can stop between them
FLOPS_PER_BLOCK = 2e9  # about 20 ms of one core
FLOPS_PER_CLOCK = 2e6  # work between two looks at the clock
SECONDS_BETWEEN_SIGNALS = 0.05
FEW_ROWS = 16  # below it, prediction does not pay for packing the weights


class Plan(base.Plan):
    """A program laid out for one CPU level and dtype."""

    def __init__(self, *args):
        super().__init__(*args)
        self.level = cpu_level()
        flops_per_row = sum(6 * shape[0] * shape[1] for shape in self.program.shapes.values() if len(shape) == 2)
        most_rows = min(ROWS_PER_BLOCK, max(BP_LANES, int(FLOPS_PER_BLOCK / flops_per_row) // BP_LANES * BP_LANES))
        self.block_rows = min(most_rows, max(self.batch_size, 256))
        self.flops_per_row = flops_per_row
        self.clips_norms = min(self.clip.norm, self.clip.global_norm) < float("inf")
        self.limits_norms = any(restraint.max_norm < float("inf") for restraint in self.restraints.values())
        self.layout = Layout(self.level, self.program, self.dtype, self.block_rows, self.restraints)
        self.inference = Sequence(self.layout, self.program, None)
        self.training = Sequence(self.layout, self.trained, self.loss)

    def new_workspace(self):
        return Workspace(self)

    def new_state(self, parameters):
        return State(self, parameters)

    def forward(self, parameters, workspace, X):
        outputs = np.empty((len(X), self.program.n_out), self.dtype)
        (<Buffers>workspace.buffers).infer(self, parameters, Table(X), len(X), outputs, None, None, None)
        return outputs

    def losses(self, parameters, workspace, data, order=None):
        n = len(data.X if order is None else order)
        outputs, values = np.empty((n, self.program.n_out), self.dtype), np.empty(n)
        (<Buffers>workspace.buffers).infer(self, parameters, Table(data.X), n, outputs, data.y, values, order)
        return values, outputs

    def gradient(self, state, workspace, data):
        workspace.start()
        n, begin = len(data.X), 0
        order = np.arange(n)
        while begin < n:  # back in Python now and then, which looks at signals
            begin = (<Buffers>workspace.buffers).train(
                self, state, workspace, data, order, begin, n, None, SECONDS_BETWEEN_SIGNALS)
        return workspace.loss_sum / workspace.weight_sum

    def input_gradient(self, parameters, workspace, data):
        gradient = np.empty((len(data.X), self.program.n_in), self.dtype)
        sequence = Sequence(self.layout, self.trained, self.loss, of_input=True)
        (<Buffers>workspace.buffers).differentiate(sequence, parameters, data, gradient)
        return gradient

    def run(self, state, workspace, data, order, begin, coefficients, seconds):
        return (<Buffers>workspace.buffers).train(
            self, state, workspace, data, order, begin, self.batch_size, coefficients, seconds)

    def permutation(self, n, seed, epoch):
        order = np.empty(n, np.intp)
        cdef Py_ssize_t[::1] c_order = order
        cdef Py_ssize_t size = n
        cdef uint64_t c_seed = seed, c_epoch = epoch
        cdef const bp_kernels *kernels = (<Layout>self.layout).kernels
        if size:
            with nogil:
                kernels.permutation(&c_order[0], size, c_seed, c_epoch)
        return order


class State(base.State):
    """``arenas`` holds the parameters and the slots, all laid out alike; ``gradient`` one more."""

    def __init__(self, plan, parameters):
        self._plan = plan
        self._slot_names = plan.update.slots if plan.update else ()
        size = plan.layout.parameters_size * plan.dtype.itemsize
        self.arenas = [Arena(size) for _ in range(1 + len(self._slot_names))]
        self.gradient = Arena(size)
        self._saved = None
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

    def save(self):
        if self._saved is None:
            self._saved = [Arena(arena.size) for arena in self.arenas]
        for saved, arena in zip(self._saved, self.arenas):
            saved.copy_from(arena)
        self._saved_steps = self.steps

    def go_back(self):
        for saved, arena in zip(self._saved, self.arenas):
            arena.copy_from(saved)
        self.steps = self._saved_steps

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

    cdef void *pack(self, parameters) except NULL:
        """Parameters that are not those of a State, in the layout of one."""
        if self.packed is None:
            self.packed = Arena(self.layout.parameters_size * self.layout.kernels.real_size)
        self.layout.pack(self.packed, parameters)
        return self.packed.data

    cdef bp_job job(self):
        cdef bp_job job
        memset(&job, 0, sizeof(bp_job))
        job.values, job.work, job.scratch = self.layout.values, self.work.data, self.scratch.data
        job.layout, job.n_parameters = self.layout.parameters, len(self.layout.shapes)
        return job

    cdef void gather(self, const bp_table *X, const bp_table *y, Sequence sequence, const Py_ssize_t *order,
                     Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        """Rows of X into value 0 and, with y, their targets."""
        cdef const bp_kernels *kernels = self.layout.kernels
        cdef const bp_value *x = &self.layout.values[0]
        cdef Py_ssize_t i, row
        kernels.gather(self.at(x.value), x.ld, x.n, X, order, begin, end)
        if y == NULL:
            return
        if not sequence.labels:
            kernels.gather(self.targets.data, sequence.output.ld, sequence.output.n, y, order, begin, end)
            return
        for i in range(begin, end):
            row = order[i] if order != NULL else i
            (<int64_t *>self.targets.data)[i - begin] = bp_label(y, row, sequence.output.n)

    cdef void *at(self, Py_ssize_t offset) noexcept nogil:
        return self.work.data + offset * self.layout.kernels.real_size

    cdef void score(self, Sequence sequence, double *losses, Py_ssize_t rows) noexcept nogil:
        """The loss of each row of the output, and its delta."""
        cdef const bp_value *y = sequence.output
        sequence.loss.run(losses, self.at(y.delta), self.at(y.value), self.targets.data, self.shares, rows, y.n, y.ld,
                          sequence.loss_hyper)

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
        cdef Layout layout = self.layout
        cdef const bp_kernels *kernels = layout.kernels
        cdef Sequence sequence = plan.training
        cdef const bp_update *update = find_update(kernels, plan.update.name) if stepping else NULL
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef bp_job job = self.job()
        cdef Py_ssize_t n = len(order), n_scalars = scalars.shape[1] - 1 if stepping else 0
        cdef Py_ssize_t first_step = workspace.steps, step = first_step, batch, batch_end, block_end, i
        cdef double loss_sum = workspace.loss_sum, weight_sum = workspace.weight_sum
        cdef double batch_weight = 0, end, work = 0, clock = FLOPS_PER_CLOCK, per_row = plan.flops_per_row
        cdef bint keeping = not stepping or plan.clips_norms, limiting = plan.limits_norms
        cdef bint diverged = False, cleans = False, whole
        cdef unsigned denormals
        cdef int s
        job.parameters = (<Arena>state.arenas[0]).data
        job.gradient = (<Arena>state.gradient).data
        if stepping:
            check_coefficients(n_scalars)
            job.n_slots = update.n_slots
            job.clip.value, job.clip.norm, job.clip.global_norm = plan.clip
            for s in range(update.n_slots):
                job.slots[s] = (<Arena>state.arenas[1 + s]).data
            if scalars.shape[0] < n // batch_size + (n % batch_size != 0):
                raise ValueError(f"{scalars.shape[0]} rows of coefficients do not reach for the steps of {n} rows")
        with nogil:
            denormals = bp_flush_denormals()
            if stepping and begin < n:
                kernels.convert(reals, &scalars[step, 1], n_scalars)
                cleans = moves_zeros(update, reals)
            end = bp_now() + seconds
            while begin < n:
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
                        kernels.convert(reals, &scalars[step, 1], n_scalars)
                        job.rate, job.coefficients = scalars[step, 0], reals
                    job.update = update if whole and not keeping else NULL
                    job.continues = begin > batch
                    for i in range(begin, block_end):
                        self.shares[i - begin] = (weight[c_order[i]] if weighted else 1) / batch_weight
                    # Phase 1: rows.
                    self.gather(&X.c, &y.c, sequence, &c_order[0], begin, block_end)
                    self.rows_phase(&job, sequence, block_end - begin)
                    for i in range(begin, block_end):
                        loss_sum += self.losses[i - begin] * (weight[c_order[i]] if weighted else 1)
                    diverged = not isfinite(loss_sum)
                    if diverged and stepping:
                        break
                    # Phase 2: parameters.
                    for s in range(sequence.n):
                        if sequence.c[s].op.gradient != NULL:
                            sequence.c[s].op.gradient(&job, &sequence.c[s], block_end - begin, 0,
                                                      layout.values[sequence.c[s].inputs[0]].n)
                    if block_end == batch_end:
                        if job.update == NULL:
                            kernels.add_penalties(&job)
                            if stepping:
                                job.update = update
                                kernels.step_all(&job)
                        if limiting:
                            kernels.limit_norms(&job)
                        if cleans:
                            for s in range(sequence.n):
                                if sequence.c[s].op.clean != NULL:
                                    sequence.c[s].op.clean(&job, &sequence.c[s])
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

    cdef void rows_phase(self, bp_job *job, Sequence sequence, Py_ssize_t rows) noexcept nogil:
        """Forward, loss and backward for the rows of a block."""
        cdef int i
        for i in range(sequence.n):
            sequence.c[i].op.forward(job, &sequence.c[i], 0, rows)
        self.score(sequence, self.losses, rows)
        for i in range(sequence.n - 1, -1, -1):
            sequence.c[i].op.backward(job, &sequence.c[i], 0, rows)

    # -- inference -------------------------------------------------------------------------------------

    cdef int infer(self, plan, parameters, Table X, Py_ssize_t n, outputs, y, values, order) except -1:
        """Outputs of n rows, those of ``order`` or all, and with y the loss of each."""
        cdef Layout layout = self.layout
        cdef const bp_kernels *kernels = layout.kernels
        cdef Sequence sequence = plan.inference, training = plan.training
        cdef const bp_value *output = sequence.output
        cdef Table targets = Table(y if y.ndim == 2 else y[:, None]) if y is not None else None
        cdef const bp_table *y_table = &targets.c if y is not None else NULL
        cdef double *losses = <double *>address(values) if y is not None else NULL
        cdef const Py_ssize_t *c_order = <const Py_ssize_t *>address(order) if order is not None else NULL
        cdef bint plain = n < FEW_ROWS
        cdef char *out = <char *>address(outputs)
        cdef bp_job job = self.job()
        cdef Py_ssize_t begin = 0, end, i, real_size = kernels.real_size
        cdef double seconds = SECONDS_BETWEEN_SIGNALS, stop
        cdef unsigned denormals
        cdef const void **arrays = NULL
        cdef int s
        if not plain:
            job.parameters = self.pack(parameters)
        else:
            arrays = <const void **>calloc(2 * sequence.n, sizeof(void *))
            if arrays == NULL:
                raise MemoryError
            for s, names in enumerate(sequence.names):
                for i, name in enumerate(names):
                    arrays[2 * s + i] = address(parameters[name])
        try:
            while begin < n:
                PyErr_CheckSignals()
                with nogil:
                    denormals = bp_flush_denormals()
                    stop = bp_now() + seconds
                    while begin < n and bp_now() < stop:
                        end = min(begin + self.rows, n)
                        self.gather(&X.c, y_table, training, c_order, begin, end)
                        for s in range(sequence.n):
                            if plain and arrays[2 * s] != NULL:
                                kernels.dense_plain(&job, &sequence.c[s], end - begin, arrays[2 * s], arrays[2 * s + 1])
                            else:
                                sequence.c[s].op.forward(&job, &sequence.c[s], 0, end - begin)
                        if losses != NULL:
                            for i in range(end - begin):
                                self.shares[i] = 1
                            self.score(training, losses + begin, end - begin)
                        kernels.scatter(out + begin * output.n * real_size, self.at(output.value), output.ld, output.n,
                                        end - begin)
                        begin = end
                    bp_restore_denormals(denormals)
        finally:
            free(arrays)
        return 0

    # -- the gradient with respect to the data ---------------------------------------------------------

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef int differentiate(self, Sequence sequence, parameters, data, gradient) except -1:
        """dE/d(input) of all rows into ``gradient`` (n, n_in), E their weighted mean loss."""
        cdef Table X = Table(data.X), y = Table(data.y if data.y.ndim == 2 else data.y[:, None])
        cdef const bp_kernels *kernels = self.layout.kernels
        cdef const bp_value *x = &self.layout.values[0]
        cdef const double[::1] weight = data.weight
        cdef bint weighted = data.weight is not None
        cdef Py_ssize_t n = len(data.X), begin = 0, end, i
        cdef double weight_sum = data.weight.sum() if weighted else n
        cdef char *out = <char *>address(gradient)
        cdef bp_job job = self.job()
        cdef unsigned denormals
        job.parameters = self.pack(parameters)
        while begin < n:
            PyErr_CheckSignals()
            with nogil:
                denormals = bp_flush_denormals()
                end = min(begin + self.rows, n)
                for i in range(begin, end):
                    self.shares[i - begin] = (weight[i] if weighted else 1) / weight_sum
                self.gather(&X.c, &y.c, sequence, NULL, begin, end)
                self.rows_phase(&job, sequence, end - begin)
                kernels.scatter(out + begin * x.n * kernels.real_size, self.at(x.delta), x.ld, x.n, end - begin)
                begin = end
                bp_restore_denormals(denormals)
        return 0
