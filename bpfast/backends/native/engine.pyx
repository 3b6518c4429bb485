# cython: language_level=3, cdivision=True, initializedcheck=False
"""The run of a plan, in compiled code without the GIL: epochs, prediction, and single gradients (run.h)."""

import math
from contextlib import contextmanager

from cpython.buffer cimport PyBUF_WRITABLE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.unistd cimport getpid

from .run cimport *
from .tables cimport Arena, Layout, Sequence, address, check_coefficients, copy_hyper, find_activation, find_update, moves_zeros, numbers, table_of

import numpy as np

from ... import config
from .. import base, recorder
from ..base import FIRST_DRAW
from .tables import PRODUCTS, cpu_level

ROWS_PER_BLOCK = 1024  # larger batches run in blocks, so that buffers stay small and a run can stop between them
FLOPS_PER_BLOCK = 2e9  # about 20 ms of one core
FLOPS_PER_THREAD = 4e6  # of a step: with less, a thread waits for the others for too long
FLOPS_TO_SHARE_UNITS = 4e6  # of a layer: with less, cutting it by units does not pay for two more phases
SECONDS_BETWEEN_SIGNALS = 0.05
FEW_ROWS = 16  # below it, prediction does not pay for packing the weights


class Plan(base.Plan):
    """A program laid out for one CPU level and dtype."""

    def __init__(self, *args):
        super().__init__(*args)
        self.level = cpu_level()
        self.flops_per_row = sum(map(self._flops, self.program.instructions))
        most_rows = min(ROWS_PER_BLOCK, max(BP_LANES, int(FLOPS_PER_BLOCK / self.flops_per_row) // BP_LANES * BP_LANES))
        self.block_rows = min(most_rows, max(self.batch_size, 256))
        self.clips_norms = min(self.clip.norm, self.clip.global_norm) < float("inf")
        self.limits_norms = any(restraint.max_norm < float("inf") for restraint in self.restraints.values())
        self.layout = Layout(self.level, self.program, self.dtype, self.restraints)
        self.inference = Sequence(self.layout, self.program, None)
        self.training = Sequence(self.layout, self.trained, self.loss)

    def _flops(self, i):
        """Of one row, forward and backward, about."""
        weight = max((math.prod(self.program.shapes[name]) for name in i.parameters), default=0)
        pixels = math.prod(self.program.value_shapes[i.output][:-1])
        return 6 * weight * pixels if i.op in PRODUCTS else 20 * self.program.width(i.output)

    def new_workspace(self):
        return Workspace(self)

    def new_state(self, arrays):
        return State(self, arrays)

    def new_recorder(self, every):
        return Recorder(self, every)

    def forward(self, arrays, workspace, X):
        outputs = np.empty((len(X), self.program.n_out), self.dtype)
        return outputs if (<Buffers>workspace.buffers).infer(arrays, X, None, None, outputs, None) else None

    def losses(self, arrays, workspace, data, order=None):
        n = len(data.X if order is None else order)
        outputs, values = np.empty((n, self.program.n_out), self.dtype), np.empty(n)
        (<Buffers>workspace.buffers).infer(arrays, data.X, data, order, outputs, values)
        return values, outputs

    def gradient(self, state, workspace, data):
        return (<Buffers>workspace.buffers).gradient(self, state, data)

    def input_gradient(self, arrays, workspace, data):
        gradient = np.empty((len(data.X), *self.program.input_shape), self.dtype)
        layout = Layout(self.level, self.program, self.dtype, self.restraints, of_input=True)
        sequence = Sequence(layout, self.trained, self.loss)
        Buffers(self, layout, sequence, sequence).differentiate(arrays, data, gradient)
        return gradient

    def run(self, state, workspace, data, order, coefficients, seconds):
        (<Buffers>workspace.buffers).epochs(self, state, workspace, data, order, coefficients, seconds)

    def run_batches(self, state, workspace, data, rows, begin, coefficients, seconds):
        return (<Buffers>workspace.buffers).batches(self, state, workspace, data, rows, begin, coefficients, seconds)

    def permutation(self, n, seed, epoch):
        order = np.empty(n, np.intp)
        cdef Py_ssize_t *c_order = <Py_ssize_t *>address(order, PyBUF_WRITABLE)
        cdef Py_ssize_t size = n
        cdef uint64_t c_seed = seed, c_epoch = epoch
        cdef const bp_kernels *kernels = (<Layout>self.layout).kernels
        with nogil:
            kernels.permutation(c_order, size, c_seed, c_epoch)
        return order


class State(base.State):
    """``arenas`` holds the parameters and the slots, all laid out alike; ``gradient`` is one more, ``saved`` copies."""

    def __init__(self, plan, arrays):
        self._plan = plan
        self._slot_names = plan.update.slots if plan.update else ()
        size = plan.layout.parameters_size * plan.dtype.itemsize
        self.arenas = [Arena(size) for _ in range(1 + len(self._slot_names))]
        self.saved = [Arena(size) for _ in self.arenas]
        self.gradient = Arena(size)
        self.load(arrays)

    def load(self, arrays):
        (<Layout>self._plan.layout).pack(self.arenas[0], arrays)

    def store(self, arrays):
        (<Layout>self._plan.layout).unpack(self.arenas[0], arrays)

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
        for saved, arena in zip(self.saved, self.arenas):
            saved.copy_from(arena)
        self.saved_steps = self.steps

    def go_back(self):
        for saved, arena in zip(self.saved, self.arenas):
            arena.copy_from(saved)
        self.steps = self.saved_steps

    def _arrays(self, arena):
        arrays = {name: np.empty(shape, self._plan.dtype) for name, shape in self._plan.program.shapes.items()}
        (<Layout>self._plan.layout).unpack(arena, arrays)
        return arrays


class Workspace(base.Workspace):
    def __init__(self, plan):
        self.buffers = Buffers(plan, plan.layout, plan.training, plan.inference)

    @contextmanager
    def threads(self, n):
        with config.cores.take(n, (<Buffers>self.buffers).most_threads()) as n:
            try:
                if n > 1:
                    self.buffers.begin_team(n)
                yield
            finally:
                self.buffers.end_team()


cdef class Buffers:
    """The values, deltas and scratch of one caller, and the runs over them."""

    cdef Layout layout
    cdef Sequence training, inference
    cdef Py_ssize_t n_rows, fewest_rows, unused
    cdef double flops_per_step
    cdef Arena values, work, scratch, targets, losses, shares, packed, entries
    cdef bp_entries x[2]
    cdef bp_run run
    cdef int process  # that the team's threads belong to

    def __cinit__(self, plan, layout, training, inference):
        self.layout, self.training, self.inference = layout, training, inference
        self.flops_per_step = plan.flops_per_row * min(plan.batch_size, ROWS_PER_BLOCK)
        cdef bp_run *run = &self.run
        run.kernels, run.scratch_size = self.layout.kernels, self.layout.scratch_size * <Py_ssize_t>plan.dtype.itemsize
        run.job.layout, run.job.n_parameters = self.layout.parameters, self.layout.n_parameters
        self.values = Arena(self.layout.n_values * sizeof(bp_value))
        self.fewest_rows = plan.block_rows
        self.reserve(0, 0)
        self.scratch_for(1)

    cdef int reserve(self, Py_ssize_t n_rows, Py_ssize_t unused) except -1:
        """Make room for blocks of so many rows, of each of which the first ``unused`` numbers get none."""
        cdef bp_value *values = <bp_value *>self.values.data
        cdef const bp_value *of_one_row = self.layout.values
        cdef int i
        n_rows = max(n_rows, self.fewest_rows)
        if n_rows <= self.n_rows and unused == self.unused:
            return 0
        self.unused = unused
        cdef Py_ssize_t size = self.run.kernels.real_size
        self.work = Arena((n_rows * (self.layout.row_size - unused) + self.layout.kept_size) * size)
        self.targets = Arena(n_rows * of_one_row[self.training.output].ld * 8)
        self.losses, self.shares = Arena(n_rows * sizeof(double)), Arena(n_rows * sizeof(double))
        for i in range(self.layout.n_values):
            values[i] = of_one_row[i]
            values[i].value, values[i].before = n_rows * of_one_row[i].value, n_rows * of_one_row[i].before
            values[i].noted, values[i].delta = n_rows * of_one_row[i].noted, n_rows * of_one_row[i].delta
            values[i].kept = n_rows * self.layout.row_size + of_one_row[i].kept
        self.run.job.values, self.run.job.work = values, self.work.data - n_rows * unused * size
        self.run.targets, self.run.shares = self.targets.data, <double *>self.shares.data
        self.n_rows = n_rows
        return 0

    cdef int scratch_for(self, int n_threads) except -1:
        self.scratch = Arena(n_threads * self.run.scratch_size)
        self.run.job.scratch = self.scratch.data
        return 0

    # -- threads ---------------------------------------------------------------------------------------

    cdef int most_threads(self):
        """As many as a step has work for."""
        return <int>max(1, min(BP_MAX_THREADS, self.flops_per_step / FLOPS_PER_THREAD))

    def __dealloc__(self):
        self.end_team()

    def begin_team(self, int n):
        self.end_team()  # one that an interrupt has left
        self.scratch_for(n)
        self.run.team = bp_new_team(n)
        if self.run.team == NULL:
            raise MemoryError
        self.process = getpid()

    cpdef end_team(self):
        if self.run.team != NULL and self.process == getpid():  # a forked child has none of its threads
            with nogil:
                bp_end_team(self.run.team)
        self.run.team = NULL

    # -- a run -----------------------------------------------------------------------------------------

    cdef bp_run *begin(self, Sequence sequence, X, data, void *parameters, Py_ssize_t batch) except NULL:
        """The run over these rows, as they lie, which must stay alive; data: their targets and weights, or None.

        A block holds a whole ``batch`` (so many rows; 0: in no batches) where an instruction mixes its rows, and of
        sparse rows up to ROWS_PER_BLOCK of it.
        """
        cdef bp_run *run = &self.run
        cdef const bp_value *x = self.layout.values
        cdef Py_ssize_t most
        run.X, run.job.x = table_of(X), NULL
        if run.X.starts != NULL and sequence.reads_entries:
            self.reserve(batch if sequence.mixes_rows else min(batch, ROWS_PER_BLOCK), x.value + x.ld)
            most = X.most_in(self.n_rows)
            self.entries = Arena(bp_size_of_entries(run.kernels, self.n_rows, x.n, most))
            bp_place_entries(self.x, run.kernels, self.entries.data, self.n_rows, x.n, most)
            run.job.x = self.x
        else:
            self.reserve(batch if sequence.mixes_rows else 0, 0)
        if data is not None:
            run.y = table_of(data.y if data.y.ndim == 2 else data.y[:, None])
        run.weight = NULL
        if data is not None and data.weight is not None:
            run.weight = <const double *>numbers(data.weight, np.float64)
        run.instructions, run.n_instructions, run.job.values = sequence.c, sequence.n, <bp_value *>self.values.data
        run.output, run.loss, run.hyper, run.labels = sequence.output, sequence.loss, sequence.loss_hyper, sequence.labels
        run.order, run.losses = NULL, <double *>self.losses.data
        run.job.parameters, run.job.update, run.job.continues = parameters, NULL, False
        run.job.trains, run.job.first_row = data is not None, 0
        run.job.seed, run.job.step = FIRST_DRAW
        run.flops_to_share_units, run.cut_rows = FLOPS_TO_SHARE_UNITS, 0
        if self.process != getpid():  # a forked child has no threads
            run.team = NULL
        return run

    cdef void *pack(self, parameters) except NULL:
        """Parameters that are not those of a State, in the layout of one."""
        if self.packed is None:
            self.packed = Arena(self.layout.parameters_size * self.layout.kernels.real_size)
        self.layout.pack(self.packed, parameters)
        return self.packed.data

    # -- training --------------------------------------------------------------------------------------

    cdef bp_run *begin_steps(self, plan, state, data, Py_ssize_t n_rows, Py_ssize_t batch, coefficients,
                             Py_ssize_t n_steps, bp_course *at) except NULL:
        """A run of n_rows, in batches, that changes a state, up to its n_steps-th step, and where it begins."""
        cdef Arena parameters = state.arenas[0], gradient = state.gradient
        cdef bp_run *run
        cdef const bp_kernels *kernels
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef int s
        memset(at, 0, sizeof(bp_course))
        run = self.begin(self.training, data.X, data, parameters.data, min(batch, n_rows))
        at.n_rows, at.batch_size, at.most_rows, at.flops_per_row = n_rows, batch, self.n_rows, plan.flops_per_row
        kernels = run.kernels
        run.job.gradient = gradient.data
        if coefficients is not None:
            if len(coefficients) < n_steps:
                raise ValueError(f"{len(coefficients)} rows of coefficients do not reach for {n_steps} steps")
            at.update = find_update(kernels, plan.update)
            at.coefficients, at.n_columns = <const double *>numbers(coefficients, np.float64), coefficients.shape[1]
            check_coefficients(at.n_columns - 1)
            at.keeps_gradient, at.limits_norms = plan.clips_norms, plan.limits_norms
            kernels.convert(reals, at.coefficients + 1, at.n_columns - 1)
            at.cleans = moves_zeros(at.update, reals)
            run.job.n_slots = at.update.n_slots
            run.job.clip.value, run.job.clip.norm, run.job.clip.global_norm = plan.clip
            for s in range(at.update.n_slots):
                run.job.slots[s] = (<Arena>state.arenas[1 + s]).data
        return run

    cdef int epochs(self, plan, state, workspace, data, order, coefficients, double seconds) except -1:
        """Epochs of ``order``, from where the workspace stands."""
        cdef bp_course at
        cdef Py_ssize_t first_step = workspace.steps, n_batches = (order.n - 1) // plan.batch_size + 1
        cdef Py_ssize_t n_steps = first_step + workspace.left * n_batches - workspace.begun * (workspace.begin // plan.batch_size)
        cdef bp_run *run = self.begin_steps(plan, state, data, order.n, plan.batch_size, coefficients, n_steps, &at)
        cdef bp_epochs epochs
        cdef int i
        if workspace.rows is None or len(workspace.rows) != order.n:
            workspace.rows = np.empty(order.n, np.intp)
        memset(&epochs, 0, sizeof(bp_epochs))
        epochs.seed, epochs.epoch, epochs.shuffles = order.seed, workspace.epoch, order.shuffle
        epochs.n_epochs, epochs.begun, epochs.began = workspace.left, workspace.begun, workspace.began
        epochs.penalties[0], epochs.penalties[1] = workspace.penalties
        epochs.order = <Py_ssize_t *>numbers(workspace.rows, np.intp, PyBUF_WRITABLE)
        if order.among is not None:
            epochs.among = <const Py_ssize_t *>numbers(order.among, np.intp)
        epochs.n_arenas, epochs.arena_size = len(state.arenas), state.gradient.size
        for i in range(epochs.n_arenas):
            epochs.arenas[i], epochs.copies[i] = (<Arena>state.arenas[i]).data, (<Arena>state.saved[i]).data
        cdef Arena done = Arena(epochs.n_epochs * sizeof(bp_epoch))
        epochs.done = <bp_epoch *>done.data
        at.begin, at.step, at.first_draw = workspace.begin, first_step, state.steps - first_step
        run.job.seed = order.seed
        at.loss_sum, at.weight_sum = workspace.loss_sum, workspace.weight_sum
        epochs.first_step = -1
        cdef Recording recording = self.begin_record(workspace, n_steps - first_step, &at)
        with nogil:
            bp_train_epochs(run, &at, &epochs, self.layout.parameters_size, seconds)
        if recording is not None:
            recording.end(workspace.recorder.records)
        if epochs.first_step >= 0:
            state.saved_steps = state.steps + epochs.first_step - first_step
        state.steps += at.step - first_step
        workspace.begun, workspace.began, workspace.begin = bool(epochs.begun), epochs.began, at.begin
        workspace.penalties = epochs.penalties[0], epochs.penalties[1]
        workspace.epoch, workspace.left, workspace.steps = epochs.epoch, epochs.n_epochs - epochs.n_done, at.step
        workspace.loss_sum, workspace.weight_sum, workspace.diverged = at.loss_sum, at.weight_sum, bool(at.diverged)
        for i in range(epochs.n_done):
            workspace.finished.append((epochs.done[i].loss, epochs.done[i].seconds, epochs.done[i].steps))
        return 0

    cdef int batches(self, plan, state, workspace, data, rows, Py_ssize_t begin, coefficients, double seconds) except -1:
        """The batches of ``rows`` from row ``begin`` on; -> the row to go on from."""
        cdef bp_course at
        cdef Py_ssize_t first_step = workspace.steps, n_batches = (len(rows) - 1) // plan.batch_size + 1
        cdef bp_run *run = self.begin_steps(
            plan, state, data, len(rows), plan.batch_size, coefficients,
            first_step + n_batches - begin // <Py_ssize_t>plan.batch_size, &at)
        run.order = <const Py_ssize_t *>numbers(rows, np.intp)
        at.begin, at.step, at.first_draw = begin, first_step, state.steps - first_step
        run.job.seed = workspace.seed
        at.loss_sum, at.weight_sum = workspace.loss_sum, workspace.weight_sum
        cdef Recording recording = self.begin_record(workspace, n_batches, &at)
        with nogil:
            bp_train_for(run, &at, seconds)
        if recording is not None:
            recording.end(workspace.recorder.records)
        state.steps += at.step - first_step
        workspace.loss_sum, workspace.weight_sum, workspace.diverged = at.loss_sum, at.weight_sum, bool(at.diverged)
        workspace.steps = at.step
        return at.begin

    cdef Recording begin_record(self, workspace, Py_ssize_t n_steps, bp_course *at):
        """What looks at the next n_steps, or None."""
        if workspace.recorder is None:
            return None
        cdef Recording recording = workspace.recorder.native
        at.recorder = recording.begin(&self.run.job, self.n_rows, n_steps, workspace.left)
        return recording

    cdef double gradient(self, plan, state, data) except? -1:
        """The mean loss over all rows, as one batch; the state then holds its gradient."""
        cdef bp_course at
        cdef double seconds = SECONDS_BETWEEN_SIGNALS
        cdef bp_run *run = self.begin_steps(plan, state, data, len(data.X), len(data.X), None, 0, &at)
        while at.begin < at.n_rows:
            PyErr_CheckSignals()
            with nogil:
                bp_train_for(run, &at, seconds)
        return at.loss_sum / at.weight_sum

    # -- inference -------------------------------------------------------------------------------------

    cdef bint holds_rows(self, const bp_table *X, Py_ssize_t n) noexcept nogil:
        """Whether X holds rows of n reals as they are in a workspace, but for the padding."""
        cdef Py_ssize_t size = self.run.kernels.real_size
        if X.starts != NULL:
            return False
        return (X.is_flat and X.translate == NULL and X.type == (BP_float if size == 4 else BP_double) and X.column_stride == size
                and X.row_stride == n * size and (X.data - self.work.data) % size == 0)

    cdef bint infer(self, parameters, X, data, order, outputs, values) except -1:
        """Outputs of the rows, or of those of ``order``, and where there are targets the losses into ``values``.

        -> False as soon as a number of a row is not finite.
        """
        cdef Py_ssize_t n = len(outputs)
        cdef bint plain = n < FEW_ROWS and self.inference.is_plain, scoring = data is not None
        cdef bp_run *run = self.begin(self.training if scoring else self.inference, X, data, NULL, 0)
        cdef Sequence sequence = self.inference
        cdef const bp_kernels *kernels = run.kernels
        cdef const bp_value *output = run.job.values + sequence.output
        cdef bp_value *x = <bp_value *>self.values.data
        cdef bp_value gathered = x[0]
        cdef const bp_instruction *it
        cdef bint finite = True, in_place = order is None and sequence.reads_in_place and self.holds_rows(&run.X, x.n)
        cdef char *out = <char *>address(outputs)
        cdef double *losses = <double *>address(values) if scoring else NULL
        cdef double seconds = SECONDS_BETWEEN_SIGNALS, end
        cdef unsigned denormals
        cdef const void **arrays = NULL
        cdef int s, i
        run.weight, run.weight_sum, run.job.trains = NULL, 1, False
        run.order = <const Py_ssize_t *>address(order) if order is not None else NULL
        if not plain:
            run.job.parameters = self.pack(parameters)
        else:
            arrays = <const void **>calloc(2 * sequence.n, sizeof(void *))
            if arrays == NULL:
                raise MemoryError
            for s, names in enumerate(sequence.names):
                for i, name in enumerate(names):
                    arrays[2 * s + i] = address(parameters[name])
        run.first = 0
        try:
            while run.first < n and finite:
                PyErr_CheckSignals()
                with nogil:
                    denormals = bp_flush_denormals()
                    end = bp_now() + seconds
                    while run.first < n and bp_now() < end:
                        run.rows = min(self.n_rows, n - run.first)
                        if in_place:
                            x.value = (run.X.data - self.work.data) // kernels.real_size + run.first * x.n
                            x.ld = x.n
                        elif run.job.x != NULL:
                            bp_gather_entries(kernels, run.job.x, &run.X, run.order, run.first, run.first + run.rows)
                        else:
                            bp_gather_inputs(run, 0, run.rows)
                        finite = bp_inputs_are_finite(run)
                        if not finite:
                            break
                        for s in range(sequence.n):
                            it = &sequence.c[s]
                            if plain and arrays[2 * s] != NULL:
                                kernels.dense_plain(&run.job, it, run.rows, arrays[2 * s], arrays[2 * s + 1])
                            else:
                                it.op.forward(&run.job, it, bp_rows(0, run.rows))
                        if scoring:
                            run.losses = losses + run.first
                            bp_gather_targets(run, 0, run.rows)
                            bp_score(run, 0, run.rows)
                        kernels.scatter(out + run.first * output.n * kernels.real_size,
                                        bp_row_of(run, output.value, output, 0), output.ld, output.n, run.rows)
                        run.first += run.rows
                    bp_restore_denormals(denormals)
        finally:
            x[0] = gathered
            free(arrays)
        return finite

    # -- the gradient with respect to the data ---------------------------------------------------------

    cdef int differentiate(self, arrays, data, gradient) except -1:
        """dE/d(input) of all rows into ``gradient`` (n, *input_shape), E their weighted mean loss."""
        cdef Py_ssize_t n = len(data.X)
        cdef bp_run *run = self.begin(self.training, data.X, data, self.pack(arrays), n)
        cdef const bp_value *x = run.job.values
        cdef Py_ssize_t r, pixel, pixels = x.h * x.w
        cdef char *out = <char *>address(gradient)
        cdef unsigned denormals
        run.weight_sum = data.weight.sum() if data.weight is not None else n
        run.first = 0
        while run.first < n:
            PyErr_CheckSignals()
            with nogil:
                denormals = bp_flush_denormals()
                run.rows = run.job.rows = min(self.n_rows, n - run.first)
                run.job.first_row = run.first
                bp_do_stages(run, &run.job, 0, bp_n_stages(run), bp_rows(0, run.rows))
                for r in range(run.rows):
                    run.kernels.scatter(out + (run.first + r) * pixels * x.c * run.kernels.real_size,
                                        bp_row_of(run, x.delta, x, r), x.pitch, x.c, pixels)
                run.first += run.rows
                bp_restore_denormals(denormals)
        return 0


include "recorder.pxi"
