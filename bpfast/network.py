"""A Network: layers made into shapes, named parameters and a program."""

import copy
import itertools
import math
import os
import threading
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from . import backends, data
from .backends.base import LINEAR, Instruction, Program
from .layers import check_layers
from .ops.regularization import NO_CLIP

NOTHING = MappingProxyType({})
BUILDING = threading.RLock()  # two threads that bring the first data must not draw weights twice
if hasattr(os, "register_at_fork"):  # a process forked within a build would wait for its end for ever
    os.register_at_fork(before=BUILDING.acquire, after_in_parent=BUILDING.release, after_in_child=BUILDING.release)


class Network:
    """A feed-forward network.

    Parameters
    ----------
    layers : sequence of Layer
        ``[Dense(64, "relu"), Dense(10, "softmax")]``.  The same object may stand in it several times: each time it is
        a layer with weights of its own.
    input_shape : int or tuple of int, optional
        Of a row of the data: the number of inputs, (length, channels), or (height, width, channels) of images;
        taken from the first data when not given.
    dtype : "float32" or "float64"
        Of the parameters and of every computation.
    seed : int, optional
        Draws the initial weights; None draws them anew each time.
    """

    def __init__(self, layers, *, input_shape=None, dtype="float32", seed=None):
        self.layers = check_layers("Network", layers)
        self.dtype = data.check_dtype(dtype)
        self.seed = data.check_seed(seed)
        self.program = None
        self._parameters = self._statistics = None
        self._plan = None
        if input_shape is not None:
            self.build(input_shape)

    def build(self, input_shape):
        """Fix the shape of the inputs, and draw the weights: layer by layer, from the seed."""
        return self._build(input_shape, self._drawn)

    def adopt(self, arrays, input_shape):
        """Build a network that is not built yet, with arrays for its parameters, in order, in place of drawn ones.

        They are taken themselves if they are of the dtype, contiguous and writable.
        """

        def taken(builder):
            found = {name: np.require(array, self.dtype, "CAW")
                     for name, array in zip(builder.parameters, arrays, strict=True)}
            for name, array in found.items():
                shape, _ = builder.parameters[name]
                if array.shape != shape:
                    raise ValueError(f"parameter {name!r} has shape {shape}, got {array.shape}")
            return found

        self._build(input_shape, taken)

    def _build(self, input_shape, first_parameters):
        """``first_parameters(builder)`` -> name: array, asked for if there are none yet."""
        input_shape = data.check_input_shape(input_shape)
        if self.program is None:
            with BUILDING:
                if self.program is None:
                    builder = self._builder(input_shape)
                    program = builder.program()
                    self._parameters = Arrays("parameter", first_parameters(builder))
                    self._statistics = Arrays("statistic", self._begun(builder))
                    self.program = program  # last: whoever sees it finds the parameters too
        if input_shape != self.input_shape:
            raise ValueError(f"this network has inputs of shape {self.input_shape}, got {input_shape}")
        return self

    def redraw(self, seed):
        """Draw the weights again, from another seed, into the arrays that there are.

        Biases, the other parameters and the statistics begin again too.
        """
        self._check_built("weights to draw again")
        self.seed = data.check_seed(seed)
        builder = self._builder(self.input_shape)
        for arrays, begun in ((self._parameters, self._drawn(builder)), (self._statistics, self._begun(builder))):
            for name, array in begun.items():
                arrays[name] = array
        return self

    def program_for(self, input_shape):
        """The program that this network is for rows of a shape; changes nothing."""
        return self.program if self.input_shape == input_shape else self._builder(input_shape).program()

    @property
    def input_shape(self):
        """The shape of one row, or None before it is known."""
        return self.program.input_shape if self.program else None

    @property
    def parameters(self):
        """Name -> array, for example ``"0.weight"`` (n_in, n_out) and ``"0.bias"`` (n_out,).

        The arrays are writable and live as long as the network; assigning copies in.
        """
        self._check_built("parameters")
        return self._parameters

    @property
    def statistics(self):
        """Name -> array, what layers learn without a gradient: ``"1.mean"`` and ``"1.variance"`` of a BatchNorm.

        Writable arrays like those of ``parameters``.
        """
        self._check_built("statistics")
        return self._statistics

    @property
    def arrays(self):
        """Name -> array, the parameters and the statistics."""
        self._check_built("parameters")
        # the dicts themselves: Mapping's look-ups take a share of a small prediction
        return {**self._parameters._arrays, **self._statistics._arrays}

    def inputs(self, X):
        """X as an array (n, *input_shape) of numbers; the network is built for it if it was not yet."""
        X = data.check_rows(X, self.input_shape)
        if self.program is None:
            self.build(X.shape[1:])
        return X

    def predict(self, X):
        """Outputs (n, n_out) for the rows of X (n, *input_shape), in the network's dtype; images (n, h, w, c).

        Vectors may be sparse, in CSR or CSC.
        """
        X = self.inputs(X)
        if self._plan is None:
            self._plan = self.plan("auto")
        return self.outputs(self._plan, X)

    def outputs(self, plan, X):
        """What a plan of this network makes of its ``inputs``; numbers that are not finite are found on the way."""
        with plan.workspace() as workspace:
            outputs = plan.forward(self.arrays, workspace, X)
        if outputs is None:
            data.check_finite(X, "X", self.dtype)
            raise ValueError("X was changed while it was read")
        return outputs if len(self.program.output_shape) == 1 else outputs.reshape(-1, *self.program.output_shape)

    def activations(self, X):
        """The outputs of every instruction in order, as the reference computes them in prediction: a list of arrays.

        The first entry is X itself.
        """
        X = self.inputs(X)
        data.check_finite(X, "X", self.dtype)
        values = self.plan("numpy").activations(self.arrays, X.astype(self.dtype), self.program).values
        return [values[0], *(values[instruction.output] for instruction in self.program.instructions)]

    def plan(self, backend, loss=None, update=None, batch_size=1, restraints=NOTHING, clip=NO_CLIP):
        """A backend's Plan for this network."""
        self._check_built("a plan")
        return backends.new_plan(backend, self.program, self.dtype, loss, update, batch_size, restraints, clip)

    def snapshot(self):
        """-> {name: array}, copies of the parameters and statistics, for ``restore``."""
        return {name: array.copy() for name, array in self.arrays.items()}

    def restore(self, snapshot):
        """Copy back what ``snapshot`` gave; also ``restore(np.load(file))`` after ``np.savez(file, **snapshot)``.

        Raises KeyError for a name that is missing or unknown, and ValueError or TypeError for what does not fit its
        array; the network then stays as it was.
        """
        snapshot, own = dict(snapshot), Arrays("parameter or statistic", self.arrays)
        missing = [name for name in own if name not in snapshot]
        if missing:
            raise KeyError(f"the snapshot has no {', '.join(map(repr, missing))}; it has: {', '.join(snapshot)}")
        fitting = {name: own.fitting(name, value) for name, value in snapshot.items()}
        for name, array in fitting.items():
            own[name][...] = array

    def to_vector(self):
        """All parameters in one vector, in the order of ``parameters``; statistics are not in it."""
        return np.concatenate([np.empty(0, self.dtype), *(array.ravel() for array in self.parameters.values())])

    def from_vector(self, vector):
        """Copy a vector like that of ``to_vector`` into the parameters; statistics stay as they are."""
        vector = data.check_numbers(vector, "vector")
        size = sum(array.size for array in self.parameters.values())
        if vector.shape != (size,):
            raise ValueError(f"the parameters need a vector of shape ({size},), got {vector.shape}")
        begin = 0
        for name, array in self.parameters.items():
            self.parameters[name] = vector[begin : begin + array.size].reshape(array.shape)
            begin += array.size

    def summary(self):
        """A table of the layers, their parameters and statistics: shapes and counts, as text."""
        self._check_built("a summary")
        made = self._builder(self.input_shape).made
        rows = [("layer", "output, parameter or statistic", "count")]
        for position, layer in enumerate(self.layers):
            path = layer.name or str(position)
            rows.append((f"{path}  {type(layer).__name__}", str(made[path]), ""))
            rows += [(f"  {name}", str(array.shape), f"{array.size:,}") for name, array in self.arrays.items()
                     if name.split(".")[0] == path]
        rows.append(("total of parameters", "", f"{sum(array.size for array in self.parameters.values()):,}"))
        widths = [max(map(len, column)) + 2 for column in zip(*rows)]
        return "\n".join([repr(self), *("".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip()
                                        for row in rows)])

    def copy(self):
        """A network of its own with the same layers, parameters and statistics."""
        return copy.deepcopy(self)

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return (self.layers, self.dtype, self.input_shape, self._parameters, self._statistics) == (
            other.layers, other.dtype, other.input_shape, other._parameters, other._statistics
        )

    __hash__ = None  # its parameters change

    def __repr__(self):
        shape = "" if self.program is None else f", input_shape={self.input_shape}"
        return f"Network([{', '.join(map(repr, self.layers))}]{shape}, dtype={self.dtype.name!r}, seed={self.seed!r})"

    def __getstate__(self):
        return {**self.__dict__, "_plan": None}  # a plan belongs to the process and its CPU

    def _drawn(self, builder):
        """-> {name: array}, the parameters that the seed begins with."""
        rng = np.random.default_rng(self.seed)
        return {name: draw(rng, shape).astype(self.dtype) for name, (shape, draw) in builder.parameters.items()}

    def _begun(self, builder):
        """-> {name: array}, the statistics of a network that has seen nothing."""
        return {name: np.full(shape, begin, self.dtype) for name, (shape, begin) in builder.statistics.items()}

    def _builder(self, input_shape):
        builder = Builder(input_shape)
        builder.chain(self.layers, 0)
        return builder

    def _check_built(self, wanted):
        if self.program is None:
            raise ValueError(
                f"this network does not know the shape of its inputs yet, so it has not got {wanted}: "
                "give Network(..., input_shape=...), or fit it first"
            )


class Arrays(Mapping):
    """Name -> array.  Reading gives the array itself, assigning copies into it.  ``kind`` is what messages call one."""

    def __init__(self, kind, arrays):
        self.kind, self._arrays = kind, arrays

    def __getitem__(self, name):
        return self._arrays[name]

    def __setitem__(self, name, value):
        self._arrays[name][...] = self.fitting(name, value)

    def fitting(self, name, value):
        """-> value as an array that may be copied into the one of this name."""
        if name not in self._arrays:
            raise KeyError(f"no {self.kind} {name!r}; there are: {', '.join(self._arrays)}")
        value, shape = data.check_numbers(value, f"{self.kind} {name!r}"), self._arrays[name].shape
        if value.shape != shape:
            raise ValueError(f"{self.kind} {name!r} has shape {shape}, got {value.shape}")
        return value

    def __setstate__(self, state):  # arrays may come back read-only or misaligned, as joblib's memory maps do
        self.kind = state["kind"]
        self._arrays = {name: np.require(array, requirements="CAW") for name, array in state["_arrays"].items()}

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self):
        return len(self._arrays)

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return list(self) == list(other) and all(np.array_equal(self[name], other[name]) for name in self)

    __hash__ = None  # they change

    def __repr__(self):
        return f"{self.kind.title()}s({', '.join(f'{name}: {array.shape}' for name, array in self._arrays.items())})"


class Builder:
    """Collects the values, instructions, parameters and statistics that layers ask for, under the path of each."""

    def __init__(self, input_shape):
        self._shapes, self._instructions = [input_shape], []
        self._path, self._layers = [], []
        self._noises = itertools.count()
        self.made = {}  # path of a layer -> the shape that it makes
        self.parameters, self.statistics = {}, {}  # name -> (shape, Initializer), (shape, number to begin at)

    def chain(self, layers, x, *within):
        """Build one layer after the other, on paths that begin ``within``; returns the last one's output value."""
        for name in within:
            self._enter(name)
        for position, layer in enumerate(layers):
            self._enter(layer.name or str(position))
            self._layers.append(layer)
            x = layer.build(self, x)
            self.made[self.path] = self.shape(x)
            self._layers.pop()
            self._path.pop()
        del self._path[len(self._path) - len(within) :]
        return x

    def _enter(self, name):
        """Lengthen the path by a name that is the only one of its kind."""
        self._path.append(name)
        if self.path in self.made:
            raise ValueError(f"two layers are called {self.path!r}; names must differ")
        self.made[self.path] = None

    @property
    def path(self):
        """Of the layer being built: "0", or "3.1" in a block."""
        return ".".join(self._path)

    def refuse(self, why):
        """Raise the error of the layer being built."""
        raise ValueError(f"layer {self.path} ({type(self._layers[-1]).__name__}): {why}")

    # -- shapes ----------------------------------------------------------------------------------------

    def shape(self, x):
        """Of a row of a value: (n,), (length, channels) or (height, width, channels)."""
        return self._shapes[x]

    def vector(self, x):
        """The shape of a value that must be a vector."""
        return self._dimensions(x, 1)

    def sequence(self, x):
        """The shape of a value that must be a sequence."""
        return self._dimensions(x, 2)

    def image(self, x):
        """The shape of a value that must be an image."""
        return self._dimensions(x, 3)

    def _dimensions(self, x, n):
        shape = self.shape(x)
        if len(shape) != n:
            needed = ("a vector (n,)", "a sequence (length, channels)", "an image (height, width, channels)")[n - 1]
            self.refuse(f"it needs {needed}, but gets {shape}; {_cure(shape, n, of_data=x == 0)}")
        return shape

    # -- parts -----------------------------------------------------------------------------------------

    def parameter(self, kind, shape, initializer):
        """Declare a parameter; -> its name."""
        return self._declare(self.parameters, kind, shape, initializer)

    def statistic(self, kind, shape, begin):
        """Declare what is learned without a gradient, and the number that it begins with; -> its name."""
        return self._declare(self.statistics, kind, shape, begin)

    def _declare(self, arrays, kind, *what):
        name = f"{self.path}.{kind}"
        arrays[name] = what
        return name

    def next_noise(self):
        """A number for one more noise of this network."""
        return next(self._noises)

    def emit(self, op, inputs, shape, activation=LINEAR, *, layer=None, **parts):
        """Add an instruction, of the layer being built if none is named; -> the value, rows of this shape."""
        self._shapes.append(shape)
        output, layer = len(self._shapes) - 1, self.path if layer is None else layer
        self._instructions.append(Instruction(op, inputs, output, activation=activation, layer=layer, **parts))
        return output

    def activated(self, op, inputs, shape, activation, **parts):
        """An instruction and its activation: in one, where this works on each number."""
        if not activation.rowwise:
            return self.emit(op, inputs, shape, activation, **parts)
        return self.activation(self.emit(op, inputs, shape, **parts), activation)

    def activation(self, x, activation):
        """y = f(x), an instruction of its own."""
        if activation.rowwise and len(self.shape(x)) > 1:
            self.refuse(f"its activation {activation!r} is of whole rows, which images and sequences have not: "
                        f"use Activation({activation!r}) after Flatten() or a global pool")
        return self.emit("activation", (x,), self.shape(x), activation)

    def reshape(self, x, shape):
        """The same numbers in rows of another shape."""
        return x if shape == self.shape(x) else self.emit("reshape", (x,), shape, settings=shape)

    def flatten(self, x):
        """The same numbers as a vector."""
        return self.reshape(x, (math.prod(self.shape(x)),))

    def program(self):
        """-> Program, whose output is a vector: an image is flattened."""
        if not self._instructions:
            raise ValueError("the layers of this network compute nothing; add one such as Dense(10)")
        last = self._instructions[-1]
        output_shape = self.shape(last.output)
        if len(output_shape) > 1:
            flat = (math.prod(output_shape),)
            self.emit("reshape", (last.output,), flat, settings=flat, layer=last.layer)
        self._activate_last()
        shapes, statistics = (
            {name: shape for name, (shape, _) in arrays.items()} for arrays in (self.parameters, self.statistics))
        return Program(tuple(self._shapes), tuple(self._instructions), shapes, statistics, output_shape)

    def _activate_last(self):
        """Move an activation behind the reshapes at the end, which change none of its numbers: losses may fuse it."""
        place = len(self._instructions) - 1
        while place and self._instructions[place].op == "reshape":
            place -= 1
        maker = self._instructions[place]
        if maker.activation == LINEAR or maker is self._instructions[-1]:
            return
        if maker.op == "activation":
            self._instructions[place + 1] = self._instructions[place + 1]._replace(inputs=maker.inputs)
            del self._instructions[place]
        else:
            self._instructions[place] = maker._replace(activation=LINEAR)
        flat = self._instructions[-1].output
        self.emit("activation", (flat,), self.shape(flat), maker.activation, layer=maker.layer)


def _cure(shape, n, of_data):
    """What to do where a layer needs n dimensions and gets this shape, of the data or of what a layer made of them."""
    if n == 1:
        return f"put Flatten() or GlobalAvgPool{len(shape) - 1}D() before it"
    fitting = {2: "Conv1D, MaxPool1D and GlobalAvgPool1D are for sequences",
               3: "Conv2D, MaxPool2D and GlobalAvgPool2D are for images"}.get(len(shape))
    if of_data and len(shape) == n - 1:
        one = f"X[..., None] has one channel, X[None] is one {'image' if n == 3 else 'sequence'}"
        return f"{one}; {fitting}" if fitting else one
    if of_data and len(shape) == 1:
        side = math.isqrt(shape[0])
        sizes = f"{side}, {side}, 1" if side * side == shape[0] else "height, width, channels"
        return f"X.reshape(-1, {sizes}) makes images"
    return fitting or "it must come before what makes vectors, such as Flatten() and Dense()"
