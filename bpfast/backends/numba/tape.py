"""A plan's step of training as a tape: a flat list of kernels, each with the places in memory that it works on.

The memory of a training begins with its parameters and statistics, which a copy for each slot of the optimizer follows,
then the gradient, and what belongs to a batch: the values of the program, their derivatives, what kernels keep.
"""

import math
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ...ops.dropout import alpha_dropout_constants, dropout_backward, dropout_constants
from ...ops.figures import POSITIVE, SUMS
from ...ops.norms import batch_norm_learn, standardize_backward, standardize_forward
from ...ops.regularization import add_penalty, clip_value, decayed
from ..base import LINEAR
from . import kernels, recorder, written
from .source import ALWAYS, KEPT, RECORDED, ROWS, UNSEEN, Elementwise, ElementwiseLoss, door_to, operands

LINE = 16  # numbers: places begin at cache lines


def copy(x):
    return x


def plus(x, x2):
    return x + x2


def times(x, scale):
    return x * scale


def one(dy):
    return 1.0


class Kind(NamedTuple):
    """Kernels of an instruction: z = op(x), dE/d(parameter), dE/d(input) for each input, and of what it learns."""

    forward: object
    gradient: object
    deltas: tuple
    learn: object = None


COPY, COPY_BACK = Elementwise(copy, ("x",), "z"), Elementwise(copy, ("dz",), "dx")
ONES = Elementwise(one, ("dy",), "dy")
ADD, ADD_TO = (Elementwise(plus, ("x", "x2"), to) for to in ("z", "x"))
TIMES = Elementwise(times, ("dy", "x"), "dy")
SCALE = Elementwise(times, ("x", "scale"), "z", columns=("scale",))
SCALE_BACK = Elementwise(times, ("dz", "scale"), "dx", columns=("scale",))
STANDARDIZE = Elementwise(standardize_forward, ("x", "mean", "deviation"), "z", columns=("mean", "deviation"))
STANDARDIZE_BACK = Elementwise(standardize_backward, ("dz", "deviation"), "dx", columns=("deviation",))
DROPOUT = Kind(kernels.dropout, None, (Elementwise(dropout_backward, ("dz", "factor"), "dx"),))
PENALTY = Elementwise(add_penalty, ("g", "w"), "g", ("settings[0]", "settings[1] + settings[2] / shares[-1]"))
LEARN = Elementwise(batch_norm_learn, ("mean", "variance", "batch_mean", "batch_variance"), ("mean", "variance"),
                    (f"settings[2] * now[{ROWS}]", "settings[1]"))
KINDS = {
    "dense": Kind(kernels.dense_forward, kernels.dense_gradient, (kernels.dense_delta,)),
    "activation": Kind(None, None, (COPY_BACK,)),
    "reshape": Kind(COPY, None, (COPY_BACK,)),
    "add": Kind(ADD, None, (COPY_BACK, COPY_BACK)),
    "scale": Kind(SCALE, kernels.scale_gradient, (SCALE_BACK,)),
    "standardize": Kind(STANDARDIZE, None, (STANDARDIZE_BACK,)),
    "dropout": DROPOUT,
    "alpha_dropout": DROPOUT,
    "batch_norm": Kind(kernels.batch_norm_forward, kernels.batch_norm_gradient, (kernels.batch_norm_delta,), LEARN),
    "layer_norm": Kind(kernels.layer_norm_forward, kernels.layer_norm_gradient, (kernels.layer_norm_delta,)),
}
ROWWISE = {  # name of a row -> its kernels
    "softmax": (kernels.softmax, kernels.softmax_adjoint),
    "cross_entropy": kernels.cross_entropy,
    "softmax_cross_entropy": kernels.softmax_cross_entropy,
}
ON_LINES = written.forward, written.forward_slope, written.update  # take their places as single rows


class Place(NamedTuple):
    """Where a matrix lies in memory: (rows + n rows_each, columns + n columns_each) in a batch of n rows."""

    offset: int
    rows: int
    rows_each: int
    columns: int
    columns_each: int = 0

    def line(self):
        """The same numbers as one row."""
        return Place(self.offset, 1, 0, self.rows * self.columns, self.rows_each * self.columns)

    def of(self, memory):
        """The matrix, of a place whose size is fixed."""
        return memory[self.offset : self.offset + self.rows * self.columns].reshape(self.rows, self.columns)


class Layout:
    """Places of parameters and statistics: name -> Place; ``n_trained`` numbers of parameters, ``size`` of both."""

    def __init__(self, program):
        self.places, self.size = {}, 0
        for shapes in (program.shapes, program.statistics):
            for name, shape in shapes.items():
                self.places[name] = Place(self.size, math.prod(shape[:-1]), 0, shape[-1])
                self.size += -(-math.prod(shape) // LINE) * LINE
            if shapes is program.shapes:
                self.n_trained = self.size


class Tape:
    """The kernels of a step of at most ``capacity`` rows, in order; the first two gather X and y.

    ``addresses`` (kernels,), ``places`` (kernels, operands, 5) and ``settings`` (kernels, ...) are those of each;
    ``conditions`` (kernels,) tell in which steps.  ``passes`` of them find the gradient, the others make the step.
    ``size`` is that of the memory, ``constants`` tells what must stand there.  Where ``layers`` are looked at there are
    ``records`` (MOST_RECORDS, columns) and ``seen``, places (1, units), 1 for units that have been active: recorder.py.
    """

    def __init__(self, plan, capacity, layers=()):
        self.layers, self._when, self.seen = layers, ALWAYS, []
        ends = {layer.last.output: n for n, layer in enumerate(layers)}
        self.dtype, self.program, self.layout, self.capacity = plan.dtype, plan.trained, plan.layout, capacity
        n_slots = len(plan.update.slots)
        self.gradient, self.size = (1 + n_slots) * self.layout.size, (2 + n_slots) * self.layout.size
        self.constants, self.calls = [], []
        self.values = [self._take(1, math.prod(shape[:-1]), shape[-1]) for shape in self.program.value_shapes]
        self.befores, self.deltas, self.kept = {}, {}, {}
        self.trained = set()  # values that depend on parameters
        self.target = self._take(1, 1, 1 if plan.loss.labels else self.program.n_out)
        if layers:
            self.records = self._take(0, recorder.MOST_RECORDS, recorder.columns(len(self.layers), self.dtype))
            self._record(recorder.begin, {})
        for i in self.program.instructions:
            self._forward(i, ends.get(i.output))
        self._loss(plan.loss)
        for i in reversed(self.program.instructions):
            if i.output in self.trained:
                self._backward(i)
        self.passes = 2 + len(self.calls)
        self._step(plan)
        if layers:
            self._record(recorder.end, {})
        self._close()

    # -- places ------------------------------------------------------------------------------------

    def _take(self, batch, rows, columns):
        """A place of so many rows, for each row of the batch or in all."""
        offset, n = self.size, rows * columns * (self.capacity if batch else 1)
        self.size += -(-n // LINE) * LINE
        return Place(offset, 0, rows, columns) if batch else Place(offset, rows, 0, columns)

    def _like(self, place):
        return self._take(1, place.rows_each, place.columns)

    def _gradient_of(self, name):
        place = self.layout.places[name]
        return place._replace(offset=self.gradient + place.offset)

    @contextmanager
    def _when_it_is(self, condition):
        """Kernels entered from here on run in such steps alone."""
        self._when = condition
        yield
        self._when = ALWAYS

    def _call(self, kernel, places, settings=()):
        """Enter a kernel; ``places``: name -> Place, of which it takes those that it names."""
        chosen = [places[name] for name in operands(kernel, self.dtype)]
        if kernel in ON_LINES or (isinstance(kernel, Elementwise) and not kernel.columns):
            chosen = [place.line() for place in chosen]
        self.calls.append((door_to(kernel, self.dtype).address, self._when, chosen, settings))

    # -- passes ------------------------------------------------------------------------------------

    def _forward(self, i, n_layer):
        """The values of an instruction, which is the last of the layer of this number or, None, of none."""
        x, y = self.values[i.inputs[0]], self.values[i.output]
        z = x if i.op == "activation" else y if i.activation.keeps == "y" else self._like(y)
        # what the adjoint reads of the pre-activation; of what users wrote, its slope
        before = self.befores[i.output] = self._like(z) if i.activation.has_slopes and z == x else z
        if i.parameters or not self.trained.isdisjoint(i.inputs):
            self.trained.add(i.output)
        self.kept[i.output] = {"x": x, "x2": self.values[i.inputs[-1]], "z": z, **self._parts(i)}
        if KINDS[i.op].forward:
            self._call(KINDS[i.op].forward, self.kept[i.output], settings_of(i, y))
        if n_layer is not None:
            self._record(recorder.moments, {"x": z}, n_layer, "pre_activation")
        if z != y or i.activation != LINEAR:
            self._activate(i.activation, {"x": z, "y": y, "slope": before}, "x" if z == y else "y")
        if n_layer is not None:
            self._look(n_layer, before, y)

    def _parts(self, i):
        """Name -> Place of the instruction's parameters, their gradients, its statistics, and what it keeps."""
        x = self.values[i.inputs[0]]
        parts = {}
        if i.op in ("dropout", "alpha_dropout"):
            parts["factor"] = self._like(x)
        if i.op in ("batch_norm", "layer_norm"):
            names = "scale", "shift", "dscale", "dshift", "batch_mean", "batch_variance"
            parts = {name: self._take(0, 1, x.columns) for name in names}
            self.constants.append((parts["scale"], 1))
        for name in (*i.parameters, *i.statistics):
            parts[name.rpartition(".")[2]] = self.layout.places[name]
        for name in i.parameters:
            parts["d" + name.rpartition(".")[2]] = self._gradient_of(name)
        return parts

    def _activate(self, op, places, to):
        if op.function:
            kernel = written.forward_slope if op.has_slopes else written.forward
            code = getattr(written.c_functions(op, self.dtype), kernel.__name__)
            return self._call(kernel, places, written.settings_for(code, op.values))
        if op.rowwise:
            kernel, _ = ROWWISE[op.name]
        else:
            kernel = Elementwise(op.forward, ("x",), to, numbers("settings", len(op.hyper)))
        self._call(kernel, places, op.values)

    def _adjoin(self, op, places, to):
        """dE/dx of an activation y = f(x) from dE/dy."""
        if op.rowwise:
            _, kernel = ROWWISE[op.name]
        elif op.has_slopes:
            kernel = TIMES
        else:
            kernel = Elementwise(op.adjoint, ("dy", "x", "y"), to, numbers("settings", len(op.hyper)))
        self._call(kernel, places, op.values)

    def _loss(self, op):
        y = self.values[self.program.output]
        delta = self.deltas[self.program.output] = self._like(y)
        places = {"y": y, "t": self.target, "delta": delta}
        if op.function:
            self._take(0, 1, LINE)  # beyond delta's end, where it writes
            code = written.c_functions(op, self.dtype)
            return self._call(written.loss, places, written.settings_for(code.run, op.values))
        kernel = ROWWISE[op.name] if op.rowwise else ElementwiseLoss(
            op.value, op.gradient, len(op.hyper), op.reduction == "mean")
        self._call(kernel, places, op.values)

    def _backward(self, i):
        kind, dz, settings = KINDS[i.op], self.deltas[i.output], settings_of(i, self.values[i.output])
        if i.activation != LINEAR:
            places = {"dy": dz, "dx": dz, "x": self.befores[i.output], "y": self.values[i.output]}
            self._adjoin(i.activation, places, "dy")
        places = {"dz": dz, **self.kept[i.output]}
        if kind.gradient:
            self._call(kind.gradient, places, settings)
        for value, kernel in zip(i.inputs, kind.deltas):
            if value in self.trained:
                first, dx = value not in self.deltas, self._like(self.values[value])
                self.deltas.setdefault(value, dx)
                self._call(kernel, {**places, "dx": dx}, settings)
                if not first:
                    self._call(ADD_TO, {"x": self.deltas[value], "x2": dx})

    # -- the step ----------------------------------------------------------------------------------

    def _step(self, plan):
        rule, slots, size = plan.update.rule, plan.update.slots, self.layout.size
        w = Place(0, 1, 0, self.layout.n_trained)
        g = w._replace(offset=self.gradient)
        restraints = plan.restraints
        for name, (*penalties, _, _) in restraints.items():
            if any(penalties):
                self._call(PENALTY, {"g": self._gradient_of(name), "w": self.layout.places[name]}, penalties)
        parts = self._look_at_gradients()
        if plan.clip.value < np.inf:
            self._call(Elementwise(clip_value, ("g",), "g", numbers("settings", 1)), {"g": g}, plan.clip[:1])
        if plan.clip.norm < np.inf:
            for name in plan.program.shapes:
                self._call(kernels.clip_norm, {"g": self._gradient_of(name)}, (plan.clip.norm,))
        if plan.clip.global_norm < np.inf:
            self._call(kernels.clip_norm, {"g": g}, (plan.clip.global_norm,))
        for name, (*_, decay, _) in restraints.items():
            if decay:
                self._call(Elementwise(decayed, ("w",), "w", ("settings[0]", "scalars[0]")),
                           {"w": self.layout.places[name]}, (decay,))
        arrays = {"g": g, "w": w, **{slot: w._replace(offset=k * size) for k, slot in enumerate(slots, 1)}}
        if plan.update.function:
            code = written.c_functions(plan.update, self.dtype)
            places = {**dict.fromkeys(("slot0", "slot1", "slot2"), w), "coefficients": self._take(0, 1, LINE)}
            places.update(zip(("g", "w", "slot0", "slot1", "slot2"), arrays.values()))
            self._call(written.update, places, written.settings_for(code.run))
        else:
            n_scalars = rule.__code__.co_argcount - len(arrays)
            self._call(Elementwise(rule, tuple(arrays), ("w", *slots), numbers("scalars", n_scalars, 1)), arrays)
        for name, (*_, max_norm) in restraints.items():
            if max_norm < np.inf:
                self._call(kernels.limit_columns, {"w": self.layout.places[name]}, (max_norm,))
        for n, of_layer in enumerate(parts):
            self._record(recorder.of_weights, of_layer, n, "weight_squares")
        for i in self.program.instructions:
            if KINDS[i.op].learn:
                self._call(KINDS[i.op].learn, self.kept[i.output], settings_of(i, self.values[i.output]))

    # -- recordings --------------------------------------------------------------------------------

    def _record(self, kernel, places, n_layer=0, name=SUMS[0], *settings):
        """Enter a kernel that writes sums of a layer, from that of this name on."""
        with self._when_it_is(RECORDED):
            self._call(kernel, {"records": self.records, **places}, (recorder.column(n_layer, name), *settings))

    def _look(self, n_layer, before, y):
        """Enter what looks at the y = f(x) of a layer; ``before`` has what the adjoint of f reads, x or f'(x)."""
        layer = self.layers[n_layer]
        f = layer.activation
        if f != layer.last.activation:  # the loss reads logits
            before, y = y, self._like(y)
            with self._when_it_is(RECORDED):
                self._activate(f, {"x": before, "y": y}, "y")
        self._record(recorder.moments, {"x": y}, n_layer, "activation")
        if layer.saturates:
            with self._when_it_is(RECORDED):
                slope = self._slope(f, before, y)
            self._record(recorder.flat, {"slope": slope}, n_layer, "flat", layer.least)
        if layer.is_rectifier:
            seen = self._take(0, 1, y.columns)
            self.seen.append(seen)
            self._call(recorder.look_for_unseen, {"seen": seen})
            with self._when_it_is(UNSEEN):
                slope = y if layer.is_gate else self._slope(f, before, y)
                least = POSITIVE if layer.is_gate else layer.least
                self._call(recorder.mark, {"slope": slope, "seen": seen}, (least,))
            self._record(recorder.dead, {"seen": seen}, n_layer, "dead")

    def _slope(self, f, before, y):
        """-> where f'(x) is."""
        if f.has_slopes:
            return before
        slope = self._like(y)
        self._call(ONES, {"dy": slope})
        self._adjoin(f, {"dy": slope, "x": before, "y": y}, "dy")
        return slope

    def _look_at_gradients(self):
        """Enter what looks at the gradients; -> for each layer the Places of its weight w, the gradient g, the ``last``
        gradient, of the step before, and the ``old`` weight, before this step.
        """
        parts = []
        for n, layer in enumerate(self.layers):
            w = self.layout.places[layer.weight]
            g, last, old = self._gradient_of(layer.weight), *(self._take(0, w.rows, w.columns) for _ in range(2))
            parts.append({"w": w, "g": g, "last": last, "old": old})
            self._record(recorder.of_gradients, parts[n], n, "gradient_squares")
            with self._when_it_is(RECORDED):
                self._call(COPY, {"x": w, "z": old})
        with self._when_it_is(KEPT):
            for of_layer in parts:
                self._call(recorder.keep, of_layer)
        return parts

    def _close(self):
        """The calls as arrays."""
        columns = [math.prod(self.program.input_shape), self.target.columns]
        gathered = [(0, ALWAYS, [Place(place.offset, 0, 1, n)], ())
                    for place, n in zip((self.values[0], self.target), columns)]
        calls = gathered + self.calls
        self.addresses, self.conditions = (np.array(column) for column in list(zip(*calls))[:2])
        self.places = np.zeros((len(calls), max(len(places) for *_, places, _ in calls), 5), np.int64)
        self.settings = np.zeros((len(calls), max(1, *(len(settings) for *_, settings in calls))))
        for n, (*_, places, settings) in enumerate(calls):
            self.places[n, : len(places)] = places
            self.settings[n, : len(settings)] = settings


def numbers(array, n, first=0):
    """Expressions of so many numbers of an array."""
    return tuple(f"{array}[{k}]" for k in range(first, first + n))


def settings_of(i, y):
    """The constants that the kernels of an instruction read."""
    if i.op in ("batch_norm", "layer_norm"):
        return (*i.settings, y.rows_each)
    if i.op in ("dropout", "alpha_dropout"):
        constants = dropout_constants if i.op == "dropout" else alpha_dropout_constants
        return (i.settings.number, round(i.settings.rate * 2**32), *constants(i.settings.rate))
    return ()
