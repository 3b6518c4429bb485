"""The reference: every instruction as its formula is written, readable first."""

import time

import numpy as np

from ...ops.dense import dense_backward, dense_forward
from ...ops.regularization import NO_RESTRAINT, add_penalty, clip_norm, clip_value, decayed, limit_columns
from .. import base

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


class Plan(base.Plan):
    """Runs a program on NumPy arrays.  Values and deltas are lists with an entry per value of the program."""

    Kernels = Kernels

    def __init__(self, *args):
        super().__init__(*args)
        self.kernels = self.Kernels(self.dtype)
        activations = {i.activation for i in (*self.program.instructions, *self.trained.instructions)}
        self._forward = {op: self.kernels.compiled(op, op.forward) for op in activations}
        self._adjoint = {op: self.kernels.compiled(op, op.adjoint) for op in activations}
        self._loss = self.kernels.compiled_loss(self.loss) if self.loss else None
        self._rule = self.kernels.compiled(self.update, self.update.rule) if self.update else None

    def new_workspace(self):
        return base.Workspace()

    def new_state(self, parameters):
        return State(self, parameters)

    # -- the network -------------------------------------------------------------------------------

    @QUIET
    def activations(self, parameters, x, program=None):
        """-> (pre-activations, values): lists with an entry per value of the program."""
        program = program or self.program
        before, values = [None] * len(program.widths), [None] * len(program.widths)
        values[0] = x
        for op, inputs, output, names, activation, _ in program.instructions:
            if op == "dense":
                z = dense_forward(values[inputs[0]], *(parameters[name] for name in names))
            elif op == "add":
                z = values[inputs[0]] + values[inputs[1]]
            else:
                z = values[inputs[0]]
            before[output] = z
            values[output] = self._same_dtype(self._forward[activation](z, *activation.values))
        return before, values

    def _backward(self, parameters, before, values, delta):
        """From dE/d(output) to dE/d(input) and dE/d(parameter), name -> array, by the chain rule in reverse order."""
        deltas, gradients = [None] * len(values), {}
        deltas[self.trained.output] = delta
        for op, inputs, output, names, activation, _ in reversed(self.trained.instructions):
            adjoint, dy = self._adjoint[activation], deltas[output]
            dz = self._same_dtype(adjoint(dy, before[output], values[output], *activation.values))
            if op == "dense":
                dx, *of_parameters = dense_backward(dz, values[inputs[0]], parameters[names[0]])
                gradients.update(zip(names, of_parameters))
                contributions = (dx,)
            else:
                contributions = (dz,) * len(inputs)
            for value, dx in zip(inputs, contributions):
                deltas[value] = dx if deltas[value] is None else deltas[value] + dx
        return deltas[0], gradients

    def _same_dtype(self, array):
        return self.kernels.cast(array)

    # -- the verbs ---------------------------------------------------------------------------------

    @QUIET
    def forward(self, parameters, workspace, X):
        outputs = np.empty((len(X), self.program.n_out), self.dtype)
        for rows in self._blocks(len(X)):
            x = self._numbers(X[rows])
            if not np.isfinite(x).all():
                return None
            outputs[rows] = self.activations(parameters, x)[1][self.program.output]
        return outputs

    @QUIET
    def losses(self, parameters, workspace, data, order=None):
        n = len(data.X if order is None else order)
        losses = np.empty(n, np.promote_types(self.dtype, np.float64))  # complex numbers stay complex
        outputs = np.empty((n, self.program.n_out), self.dtype)
        for rows in self._blocks(n):
            x, t, _ = data.take(rows if order is None else order[rows])
            values = self.activations(parameters, self._numbers(x))[1]
            losses[rows] = self._loss.per_row(values[self.trained.output], self._targets(t))
            outputs[rows] = values[self.program.output]
        return losses, outputs

    def _blocks(self, n):
        """n rows some at a time, as slices."""
        return [slice(begin, begin + ROWS_PER_BLOCK) for begin in range(0, n, ROWS_PER_BLOCK)]

    def gradient(self, state, workspace, data):
        loss, _, state.gradient = self._differentiate(state.parameters, data)
        return loss

    def input_gradient(self, parameters, workspace, data):
        return self._differentiate(parameters, data)[1]

    @QUIET
    def _differentiate(self, parameters, data):
        """-> E, dE/d(input), dE/d(parameter)."""
        weight = np.ones(len(data.X)) if data.weight is None else data.weight
        x, targets = self._numbers(data.X), self._targets(data.y)
        before, values = self.activations(parameters, x, self.trained)
        y = values[self.trained.output]
        mean = weight / weight.sum()
        row_losses, delta = self.kernels.loss(self.loss, y, targets, mean)
        dx, gradients = self._backward(parameters, before, values, self._same_dtype(delta))
        for name, (l1, l2, _, _) in self.restraints.items():
            gradients[name] = add_penalty(gradients[name], parameters[name], l1, l2)
        return float(row_losses @ mean), dx, gradients

    @QUIET
    def _step(self, state, coefficients):
        rate, *scalars = map(float, coefficients)
        gradients, updated = self._clipped(state.gradient), {}
        for name, (w, *slots) in state.arrays.items():
            _, _, decay, max_norm = self.restraints.get(name, NO_RESTRAINT)
            if decay:
                w = decayed(w, decay, rate)
            w, *slots = map(self._same_dtype, self._rule(gradients[name], w, *slots, *scalars))
            if max_norm < np.inf:
                w = limit_columns(w, max_norm)
            updated[name] = (w, *slots)
        # One assignment, so that an interrupt leaves the state before the step or after it.
        state.arrays, state.steps = updated, state.steps + 1

    def run_batches(self, state, workspace, data, rows, begin, coefficients, seconds):
        end = time.monotonic() + seconds
        while begin < len(rows) and not workspace.diverged:
            batch = data.take(rows[begin : begin + self.batch_size])
            n = len(batch.X)
            weight = float(n) if batch.weight is None else batch.weight.sum()
            if weight > 0:
                loss = self.gradient(state, workspace, batch)
                workspace.diverged = not np.isfinite(loss)
                if workspace.diverged:
                    break
                self._step(state, coefficients[workspace.steps])
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
    """``arrays`` maps a parameter's name to (parameter, *slots)."""

    def __init__(self, plan, parameters):
        self._slot_names = plan.update.slots if plan.update else ()
        self.gradient = {}
        self.arrays = {
            name: (array.copy(), *(np.zeros_like(array) for _ in self._slot_names))
            for name, array in parameters.items()
        }

    @property
    def parameters(self):
        return {name: arrays[0] for name, arrays in self.arrays.items()}

    def load(self, parameters):
        self.arrays = {name: (array.copy(), *self.arrays[name][1:]) for name, array in parameters.items()}

    def store(self, parameters):
        for name, (array, *_) in self.arrays.items():
            parameters[name][...] = array

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
        return not all(np.isfinite(array).all() for array, *_ in self.arrays.values())

    def save(self):
        self._saved = self.arrays, self.steps  # a step makes new arrays and never writes into old ones

    def go_back(self):
        self.arrays, self.steps = self._saved
