"""The reference: every instruction as its formula is written, readable first."""

import time
from typing import NamedTuple

import numpy as np

from ...ops.regularization import NO_RESTRAINT, add_penalty, clip_norm, clip_value, decayed, limit_columns
from .. import base
from .instructions import KINDS
from .recorder import Recorder

QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is told by DivergenceError
ROWS_PER_BLOCK = 1024  # looked at together in inference, so that memory stays small


def runs(op):
    return True


class Kernels:
    """The rows of the tables, each alone, on arrays of one dtype: the face that the kernels of every backend have."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)

    def compiled(self, op, function):
        """A function of arrays from the text of a row: here the text itself."""
        return function

    def compiled_loss(self, op):
        """A loss with its two functions compiled."""
        return op.with_parts(value=self.compiled(op, op.value), gradient=self.compiled(op, op.gradient))

    def cast(self, array):
        """The array in this dtype."""
        return np.asarray(array).astype(self.dtype, copy=False)

    @QUIET
    def activation_forward(self, op, x):
        """y = f(x) for x (n,) or rows (batch, n)."""
        return self.cast(self.compiled(op, op.forward)(x, *op.values))

    @QUIET
    def activation_adjoint(self, op, dy, x, y):
        """dx = g(dy, x, y), shapes as above."""
        return self.cast(self.compiled(op, op.adjoint)(dy, x, y, *op.values))

    @QUIET
    def loss(self, op, y, t, mean):
        """-> (values (batch,) in double precision, dy = mean * dvalue/dy) for outputs y (batch, n)."""
        op = self.compiled_loss(op)
        values = op.per_row(y, t).astype(np.promote_types(self.dtype, np.float64))  # complex stays complex
        return values, self.cast(op.delta(y, t) * mean[:, None].astype(self.dtype))

    @QUIET
    def update(self, op, g, w, slots, coefficients):
        """-> (w, *slots) after a step with these scalars."""
        return tuple(map(self.cast, self.compiled(op, op.rule)(g, w, *slots, *map(float, coefficients))))


class Pass(NamedTuple):
    """A forward pass: lists with an entry per value of the program."""

    before: list  # pre-activations
    values: list
    kept: list  # what instructions need on the way back besides


class Plan(base.Plan):
    """Runs a program on NumPy arrays.  Deltas are a list with an entry per value of the program, too."""

    Kernels = Kernels

    def __init__(self, *args):
        super().__init__(*args)
        self.kernels = self.Kernels(self.dtype)
        activations = {i.activation for i in (*self.program.instructions, *self.trained.instructions)}
        activations.add(base.LINEAR)  # of the network's own program, where activations are apart
        self._forward = {op: self.kernels.compiled(op, op.forward) for op in activations}
        self._adjoint = {op: self.kernels.compiled(op, op.adjoint) for op in activations}
        self._loss = self.kernels.compiled_loss(self.loss) if self.loss else None
        self._rule = self.kernels.compiled(self.update, self.update.rule) if self.update else None

    def new_workspace(self):
        return base.Workspace()

    def new_state(self, parameters):
        return State(self, parameters)

    def new_recorder(self, every):
        return Recorder(self, every)

    # -- the network -------------------------------------------------------------------------------

    @QUIET
    def activations(self, arrays, x, program=None, draw=None):
        """-> Pass of a program: in training with ``draw``, the seed and the step of the noise; else in prediction."""
        program = program or self.program
        before, values, kept = ([None] * len(program.value_shapes) for _ in Pass._fields)
        values[0] = x
        for i in program.instructions:
            parts = self._parts(i, arrays, values)
            before[i.output], kept[i.output] = KINDS[i.op].forward(i, *parts, draw)
            activated = self._forward[i.activation](before[i.output], *i.activation.values)
            values[i.output] = self._same_dtype(activated)
        return Pass(before, values, kept)

    def _backward(self, arrays, forward, delta):
        """From dE/d(output) to dE/d(value), a list, and dE/d(parameter), by name, the chain rule in reverse order."""
        deltas, gradients = [None] * len(forward.values), {}
        deltas[self.trained.output] = delta
        for i in reversed(self.trained.instructions):
            y = forward.values[i.output]
            dz = self._adjoint[i.activation](deltas[i.output], forward.before[i.output], y, *i.activation.values)
            parts = self._parts(i, arrays, forward.values)
            dxs, of_parameters = KINDS[i.op].backward(i, self._same_dtype(dz), *parts, forward.kept[i.output])
            gradients.update(zip(i.parameters, of_parameters))
            for value, dx in zip(i.inputs, dxs):
                deltas[value] = dx if deltas[value] is None else deltas[value] + dx
        return deltas, gradients

    def _parts(self, i, arrays, values):
        """-> the inputs, parameters and statistics of an instruction."""
        return ([values[value] for value in i.inputs], [arrays[name] for name in i.parameters],
                [arrays[name] for name in i.statistics])

    def _same_dtype(self, array):
        return self.kernels.cast(array)

    # -- the verbs ---------------------------------------------------------------------------------

    @QUIET
    def forward(self, arrays, workspace, X):
        outputs = np.empty((len(X), self.program.n_out), self.dtype)
        for rows in self._blocks(len(X)):
            x = self._numbers(X[rows])
            if not np.isfinite(x).all():
                return None
            outputs[rows] = self.activations(arrays, x).values[self.program.output]
        return outputs

    @QUIET
    def losses(self, arrays, workspace, data, order=None):
        n = len(data.X if order is None else order)
        losses = np.empty(n, np.promote_types(self.dtype, np.float64))  # complex numbers stay complex
        outputs = np.empty((n, self.program.n_out), self.dtype)
        for rows in self._blocks(n):
            x, t, _ = data.take(rows if order is None else order[rows])
            values = self.activations(arrays, self._numbers(x)).values
            losses[rows] = self._loss.per_row(values[self.trained.output], self._targets(t))
            outputs[rows] = values[self.program.output]
        return losses, outputs

    @QUIET
    def training_losses(self, arrays, data):
        """-> (n,) float64, the loss of every row in the training whose gradient ``gradient`` is."""
        outputs = self.activations(arrays, self._numbers(data.X), self.trained, base.FIRST_DRAW).values
        losses = self._loss.per_row(outputs[self.trained.output], self._targets(data.y))
        return losses.astype(np.promote_types(self.dtype, np.float64))  # complex numbers stay complex

    def _blocks(self, n):
        """n rows some at a time, as slices."""
        return [slice(begin, begin + ROWS_PER_BLOCK) for begin in range(0, n, ROWS_PER_BLOCK)]

    def gradient(self, state, workspace, data):
        loss, _, state.gradient, _ = self.differentiate(state.all_arrays, data)
        return loss

    def input_gradient(self, arrays, workspace, data):
        return self.differentiate(arrays, data)[1][0]

    @QUIET
    def differentiate(self, arrays, data, draw=base.FIRST_DRAW):
        """-> E, dE/d(value), a list, dE/d(parameter), and the forward pass."""
        weight = np.ones(len(data.X)) if data.weight is None else data.weight
        x, targets = self._numbers(data.X), self._targets(data.y)
        forward = self.activations(arrays, x, self.trained, draw)
        y = forward.values[self.trained.output]
        mean = weight / data.weight_sum
        row_losses, delta = self.kernels.loss(self.loss, y, targets, mean)
        deltas, gradients = self._backward(arrays, forward, self._same_dtype(delta))
        for name, restraint in self.restraints.items():
            l2 = restraint.l2 + restraint.l2_of_sum / data.weight_sum
            gradients[name] = add_penalty(gradients[name], arrays[name], restraint.l1, l2)
        return float(row_losses @ mean), deltas, gradients, forward

    @QUIET
    def _step(self, state, gradients, forward, coefficients):
        rate, *scalars = map(float, coefficients)
        gradients, updated, learned = self._clipped(gradients), {}, {}
        for name, (w, *slots) in state.arrays.items():
            *_, decay, max_norm = self.restraints.get(name, NO_RESTRAINT)
            if decay:
                w = decayed(w, decay, rate)
            w, *slots = map(self._same_dtype, self._rule(gradients[name], w, *slots, *scalars))
            if max_norm < np.inf:
                w = limit_columns(w, max_norm)
            updated[name] = (w, *slots)
        for i in self.trained.instructions:
            if KINDS[i.op].learn:
                statistics = [state.statistics[name] for name in i.statistics]
                new = KINDS[i.op].learn(i, statistics, forward.kept[i.output])
                learned.update(zip(i.statistics, map(self._same_dtype, new)))
        # One assignment, so that an interrupt leaves the state before the step or after it.
        state.arrays, state.statistics, state.steps = updated, {**state.statistics, **learned}, state.steps + 1

    def run_batches(self, state, workspace, data, rows, begin, coefficients, seconds):
        end = time.monotonic() + seconds
        if workspace.recorder and begin == 0:
            workspace.recorder.begin_epoch()
        while begin < len(rows) and not workspace.diverged:
            batch = data.take(rows[begin : begin + self.batch_size])
            n = len(batch.X)
            weight = batch.weight_sum
            if weight > 0:
                loss, _, gradients, forward = self.differentiate(
                    state.all_arrays, batch, (workspace.seed, state.steps))
                workspace.diverged = not np.isfinite(loss)
                if workspace.diverged:
                    break
                before = state.arrays
                self._step(state, gradients, forward, coefficients[workspace.steps])
                if workspace.recorder:
                    workspace.recorder.step(state, forward, gradients, before, begin, len(rows))
                workspace.steps += 1
                workspace.loss_sum += loss * weight
                workspace.weight_sum += weight
            begin += n
            if time.monotonic() >= end:
                break
        return begin

    def _clipped(self, gradients):
        """The gradients (name -> array) within the plan's bounds."""
        value, norm, global_norm = self.clip
        if value < np.inf:
            gradients = {name: clip_value(g, value) for name, g in gradients.items()}
        if norm < np.inf:
            gradients = {name: clip_norm([g], norm)[0] for name, g in gradients.items()}
        if global_norm < np.inf:
            gradients = dict(zip(gradients, clip_norm(gradients.values(), global_norm)))
        return gradients

    def _numbers(self, array):
        return array.astype(self.dtype, order="C")  # BLAS adds up in another order where rows lie otherwise

    def _targets(self, y):
        return y.astype(np.int64) if self.loss.labels else self._numbers(y)


class State(base.State):
    """``arrays`` maps a parameter's name to (parameter, *slots), ``statistics`` the name of one to it."""

    def __init__(self, plan, arrays):
        self._slot_names = plan.update.slots if plan.update else ()
        self._names = plan.program.shapes, plan.program.statistics
        self.gradient = {}
        self.arrays = {name: (None, *(np.zeros_like(arrays[name]) for _ in self._slot_names))
                       for name in plan.program.shapes}
        self.load(arrays)

    @property
    def all_arrays(self):
        """Name -> parameter or statistic."""
        return {**{name: arrays[0] for name, arrays in self.arrays.items()}, **self.statistics}

    def load(self, arrays):
        parameters, statistics = self._names
        self.arrays = {name: (arrays[name].copy(), *self.arrays[name][1:]) for name in parameters}
        self.statistics = {name: arrays[name].copy() for name in statistics}

    def store(self, arrays):
        for name, array in self.all_arrays.items():
            arrays[name][...] = array

    def gradients(self):
        return {name: self.gradient[name] for name in self.arrays}

    def slots(self):
        return {
            slot: {name: arrays[i].copy() for name, arrays in self.arrays.items()}
            for i, slot in enumerate(self._slot_names, 1)
        }

    def load_slots(self, slots):
        self.arrays = {
            name: (arrays[0], *(np.array(slots[slot][name], arrays[0].dtype) for slot in self._slot_names))
            for name, arrays in self.arrays.items()
        }

    def not_finite(self):
        return not all(np.isfinite(array).all() for array in self.all_arrays.values())

    def save(self):  # a step makes new arrays and never writes into old ones
        self._saved = self.arrays, self.statistics, self.steps

    def go_back(self):
        self.arrays, self.statistics, self.steps = self._saved
