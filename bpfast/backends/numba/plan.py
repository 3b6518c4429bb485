"""The Python texts of the ops, compiled by Numba: batches of training in one call without the GIL, products by BLAS."""

import time

import numba
import numpy as np

from ...ops import random
from ...ops.table import Update
from ...sparse import SparseRows
from .. import base
from .. import numpy as reference
from .recorder import Recorder
from .run import DIVERGED, DONE, ROW, STEPS, can_gather, gather, runner, shuffle
from .source import SEED, Elementwise
from .tape import KINDS, LINE, Layout, Tape, numbers
from .texts import OPTIONS, compiled_once, ufunc

SECONDS_PER_CALL = 0.02  # of compiled code, in which Python looks at no signal


def runs(op):
    return True


@compiled_once
def _update_loop(rule, n_arrays, dtype):
    """The text of an update as a loop over arrays g, w, *slots, of which it writes all but g."""
    names = rule.__code__.co_varnames[: rule.__code__.co_argcount]
    arrays, scalars = names[: 1 + n_arrays], names[1 + n_arrays :]
    kernel = Elementwise(rule, arrays, arrays[1:], numbers("scalars", len(scalars)))
    real, double = numba.from_dtype(dtype)[:, ::1], numba.float64[::1]
    signature = numba.void(*[real] * len(arrays), double, numba.int64[::1], double, double)
    return numba.njit(signature, **OPTIONS)(kernel.function(dtype))


class Kernels(reference.Kernels):
    """Elementwise rows compiled; rowwise rows, and what users wrote, run as their texts stand."""

    def compiled(self, op, function):
        if op.function is not None:
            return function
        if isinstance(op, Update):
            n_arrays = 1 + len(op.slots)
            return lambda g, *others: self._updated(function, g, others[:n_arrays], others[n_arrays:])
        if not op.rowwise:
            return lambda *arguments: ufunc(function, self.dtype)(*map(self.cast, arguments))
        return function

    def _updated(self, rule, g, arrays, scalars):
        """-> what the rule makes of w and the slots."""
        flat = [np.array(array, self.dtype).reshape(1, -1) for array in (g, *arrays)]
        none = np.empty(0)
        _update_loop(rule, len(arrays), self.dtype)(*flat, none, np.empty(0, np.int64), np.array(scalars), none)
        return tuple(array.reshape(np.shape(g)) for array in flat[1:])


class Plan(reference.Plan):
    """The reference with these kernels, whose training runs in compiled code.

    A program with instructions beyond ``tape.KINDS``, convolution and pooling, is trained as the reference does, a step
    at a time in Python.
    """

    Kernels = Kernels

    def __init__(self, *args):
        super().__init__(*args)
        self.runs_compiled = self.update is not None and all(i.op in KINDS for i in self.trained.instructions)
        self.layout = Layout(self.program)

    def new_workspace(self):
        return Workspace()

    def new_state(self, arrays):
        return State(self, arrays) if self.runs_compiled else reference.State(self, arrays)

    def new_recorder(self, every):
        return Recorder(self, every) if self.runs_compiled else super().new_recorder(every)

    def permutation(self, n, seed, epoch):
        order = np.arange(n, dtype=np.intp)
        shuffle()(order, random.words(n, seed, random.SHUFFLE, epoch))
        return order

    def run_batches(self, state, workspace, data, rows, begin, coefficients, seconds):
        if not self.runs_compiled:
            return super().run_batches(state, workspace, data, rows, begin, coefficients, seconds)
        end = time.monotonic() + seconds
        batch = min(self.batch_size, len(rows))
        training = Training(self, state, workspace, batch, np.ascontiguousarray(coefficients, np.float64))
        while begin < len(rows) and not workspace.diverged:
            most = workspace.rows_per_second * min(seconds, SECONDS_PER_CALL)
            n = max(1, int(most) // batch)
            if workspace.recorder:
                begin += workspace.recorder.run(training, data, rows, begin, n)
            else:
                begin += training.run(data, rows, begin, n)
            seconds = end - time.monotonic()
            if seconds <= 0:
                break
        return begin


class Training:
    """Steps of a state by a plan's tape, which continue what the workspace has added up."""

    def __init__(self, plan, state, workspace, batch, coefficients):
        self.plan, self.state, self.workspace = plan, state, workspace
        self.batch, self.coefficients = batch, coefficients
        recorder = workspace.recorder
        self.every, layers = (recorder.every, recorder.layers) if recorder else (1, ())
        self.tape = state.tape(batch, layers)
        self.addresses, self.shares, self.now = self.tape.addresses.copy(), np.empty(batch + 1), np.zeros(6, np.int64)
        self.now.view(np.uint64)[SEED] = workspace.seed

    def run(self, data, rows, begin, n):
        """Up to n batches of an epoch's rows, from row ``begin`` on, in one call; -> how many rows are done."""
        state, workspace, tape = self.state, self.workspace, self.tape
        n = 1 if isinstance(data.X, SparseRows) else n  # a batch of such rows is dense at a time
        left, rows = len(rows) - begin, rows[begin : begin + n * self.batch]
        if not (can_gather(data.X) and can_gather(data.y)):  # NumPy converts these rows
            X, y, weight = data.take(rows)
            data, rows = base.Data(X.astype(self.plan.dtype), y.astype(self.plan.dtype), weight), np.arange(len(rows))
        tables = [array.reshape(len(array), -1) for array in data[:2]]
        self.addresses[:2] = [gather(table.dtype, self.plan.dtype).address for table in tables]
        weight = np.broadcast_to(1.0, len(tables[0])) if data.weight is None else data.weight
        counts, sums = state.counts, np.array([workspace.loss_sum, workspace.weight_sum])
        counts[ROW], counts[DONE], counts[DIVERGED] = workspace.steps, 0, 0
        began = time.monotonic()
        done = runner(self.plan.dtype)(
            state.memory, self.addresses, tape.conditions, tape.places, tape.settings, tape.passes,
            np.array([table.ctypes.data for table in tables]),
            np.array([np.array(table.strides) // table.itemsize for table in tables]),
            weight, rows, self.batch, left, self.every, self.coefficients, self.now, self.shares, counts, sums)
        if counts[DONE]:
            workspace.rows_per_second = counts[DONE] / (time.monotonic() - began)
        workspace.loss_sum, workspace.weight_sum = sums.tolist()
        workspace.steps, workspace.diverged = int(counts[ROW]), bool(counts[DIVERGED])
        return done


class Workspace(base.Workspace):
    """Knows besides how fast its last steps were."""

    rows_per_second = 0.0


class State(reference.State):
    """All arrays are views of ``memory``, in which compiled code makes its steps; tape.py says what lies there."""

    def __init__(self, plan, arrays):
        self._plan, self._tape, self._slot_names, self.gradient = plan, None, plan.update.slots, {}
        self._kept = (1 + len(self._slot_names)) * plan.layout.size  # numbers that outlive a batch
        self.counts = np.zeros(4, np.int64)
        self.memory = np.zeros(self._kept, plan.dtype)
        self._move(self._kept)
        self.load(arrays)

    def _move(self, size):
        """Take a memory of so many numbers, with what is kept; it begins at a cache line."""
        plan, layout = self._plan, self._plan.layout
        memory = np.zeros(size + LINE, plan.dtype)
        memory = memory[-memory.ctypes.data % 64 // memory.itemsize :][:size]
        memory[: self._kept] = self.memory[: self._kept]

        def view(name, shape, copy=0):
            return layout.places[name].of(memory[copy * layout.size :]).reshape(shape)

        arrays = {name: tuple(view(name, shape, copy) for copy in range(1 + len(self._slot_names)))
                  for name, shape in plan.program.shapes.items()}
        statistics = {name: view(name, shape) for name, shape in plan.program.statistics.items()}
        self.memory, self.arrays, self.statistics = memory, arrays, statistics

    def tape(self, rows, layers):
        """The plan's tape for batches of so many rows, or of more, that looks at these layers or none; its memory."""
        if self._tape is None or self._tape.capacity < rows or bool(self._tape.layers) != bool(layers):
            tape, self._tape = Tape(self._plan, rows, layers), None
            self._move(tape.size)
            for place, value in tape.constants:
                place.of(self.memory)[...] = value
            self._tape = tape
        return self._tape

    @property
    def steps(self):
        """Counted where they are made, so that an interrupt finds as many as there are."""
        return int(self.counts[STEPS])

    @steps.setter
    def steps(self, steps):
        self.counts[STEPS] = steps

    def load(self, arrays):
        for name, array in self.all_arrays.items():
            array[...] = arrays[name]

    def load_slots(self, slots):
        for name, (_, *views) in self.arrays.items():
            for slot, view in zip(self._slot_names, views):
                view[...] = slots[slot][name]

    def save(self):
        self._saved = self.memory[: self._kept].copy(), self.steps

    def go_back(self):
        self.memory[: self._kept], self.steps = self._saved
