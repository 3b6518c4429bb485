"""A Network: layers made into shapes, named parameters and a program."""

import copy
import os
import threading
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from . import backends, data
from .backends.base import Instruction, Program
from .layers import check_layers
from .ops import ACTIVATIONS
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
        ``[Dense(64, "relu"), Dense(10, "softmax")]``.
    input_shape : int or tuple of int, optional
        The number of inputs; taken from the first data when not given.
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
        self._parameters = None
        self._plan = None
        if input_shape is not None:
            self.build(input_shape)

    def build(self, input_shape):
        """Fix the number of inputs, and draw the weights: layer by layer, from the seed."""
        n_in = data.check_input_shape(input_shape)
        if self.program is None:
            with BUILDING:
                if self.program is None:
                    builder = self._builder(n_in)
                    self._parameters = Parameters(self._drawn(builder))
                    self.program = builder.program()  # last: whoever sees it finds the parameters too
        if n_in != self.program.n_in:
            raise ValueError(f"this network has {self.program.n_in} inputs, got {n_in}")
        return self

    def redraw(self, seed):
        """Draw the weights again, from another seed, into the arrays that there are; biases begin again too."""
        self._check_built("weights to draw again")
        self.seed = data.check_seed(seed)
        for name, array in self._drawn(self._builder(self.n_in)).items():
            self._parameters[name] = array
        return self

    def program_for(self, n_in):
        """The program that this network is for so many inputs; changes nothing."""
        return self.program if self.program and self.program.n_in == n_in else self._builder(n_in).program()

    @property
    def input_shape(self):
        """The shape of one row, or None before it is known."""
        return None if self.n_in is None else (self.n_in,)

    @property
    def parameters(self):
        """Name -> array, for example ``"0.weight"`` (n_in, n_out) and ``"0.bias"`` (n_out,).

        The arrays are writable and live as long as the network; assigning copies in.
        """
        self._check_built("parameters")
        return self._parameters

    @property
    def n_in(self):
        """The number of inputs, or None before it is known."""
        return self.program.n_in if self.program else None

    def inputs(self, X):
        """X as an array (n, n_in) of numbers; the network is built for it if it was not yet."""
        X = data.check_rows(X, self.n_in)
        if self.program is None:
            self.build(X.shape[1])
        return X

    def predict(self, X):
        """Outputs (n, n_out) for the rows of X (n, n_in), in the network's dtype."""
        X = self.inputs(X)
        if self._plan is None:
            self._plan = self.plan("auto")
        return self.outputs(self._plan, X)

    def outputs(self, plan, X):
        """What a plan of this network makes of its ``inputs``; numbers that are not finite are found on the way."""
        with plan.workspace() as workspace:
            # the dict itself: Mapping's look-ups take a share of a small prediction
            outputs = plan.forward(self._parameters._arrays, workspace, X)
        if outputs is None:
            data.check_finite(X, "X", self.dtype)
            raise ValueError("X was changed while it was read")
        return outputs

    def activations(self, X):
        """The outputs of every instruction in order, as the reference computes them: a list of arrays (n, width).

        The first entry is X itself.
        """
        X = self.inputs(X)
        data.check_finite(X, "X", self.dtype)
        return self.plan("numpy").activations(self.parameters, X.astype(self.dtype))[1]

    def plan(self, backend, loss=None, update=None, batch_size=1, restraints=NOTHING, clip=NO_CLIP):
        """A backend's Plan for this network."""
        self._check_built("a plan")
        return backends.new_plan(backend, self.program, self.dtype, loss, update, batch_size, restraints, clip)

    def to_vector(self):
        """All parameters in one vector, in the order of ``parameters``."""
        return np.concatenate([array.ravel() for array in self.parameters.values()])

    def from_vector(self, vector):
        """Copy a vector like that of ``to_vector`` into the parameters."""
        vector = data.check_numbers(vector, "vector")
        size = sum(array.size for array in self.parameters.values())
        if vector.shape != (size,):
            raise ValueError(f"the parameters need a vector of shape ({size},), got {vector.shape}")
        ends = np.cumsum([array.size for array in self.parameters.values()])[:-1]
        for (name, array), part in zip(self.parameters.items(), np.split(vector, ends)):
            self.parameters[name] = part.reshape(array.shape)

    def summary(self):
        """A table of the layers: parameters, shapes and counts, as text."""
        self._check_built("a summary")
        widths = [len("parameter"), *(len(name) for name in self.parameters)]
        column = max(widths) + 2
        lines = [repr(self), f"{'parameter':<{column}}{'shape':<16}count"]
        for name, array in self.parameters.items():
            lines.append(f"{name:<{column}}{array.shape!s:<16}{array.size:,}")
        lines.append(f"{'total':<{column}}{'':<16}{sum(a.size for a in self.parameters.values()):,}")
        return "\n".join(lines)

    def copy(self):
        """A network of its own with the same layers and parameters."""
        return copy.deepcopy(self)

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return (self.layers, self.dtype, self.input_shape, self._parameters) == (
            other.layers, other.dtype, other.input_shape, other._parameters
        )

    __hash__ = None  # its parameters change

    def __repr__(self):
        shape = "" if self.program is None else f", input_shape={self.program.n_in}"
        return f"Network([{', '.join(map(repr, self.layers))}]{shape}, dtype={self.dtype.name!r}, seed={self.seed!r})"

    def __getstate__(self):
        return {**self.__dict__, "_plan": None}  # a plan belongs to the process and its CPU

    def _drawn(self, builder):
        """-> {name: array}, the parameters that the seed begins with."""
        rng, arrays = np.random.default_rng(self.seed), {}
        for name, shape in builder.shapes.items():
            draw = builder.initializers[name]
            arrays[name] = (np.zeros(shape) if draw is None else draw(rng, shape)).astype(self.dtype)
        return arrays

    def _builder(self, n_in):
        builder = Builder(n_in)
        builder.chain(self.layers, 0)
        return builder

    def _check_built(self, wanted):
        if self.program is None:
            raise ValueError(
                f"this network does not know its number of inputs yet, so it has not got {wanted}: "
                "give Network(..., input_shape=n_in), or fit it first"
            )


class Parameters(Mapping):
    """Name -> array.  Reading gives the array itself, assigning copies into it."""

    def __init__(self, arrays):
        self._arrays = arrays

    def __getitem__(self, name):
        return self._arrays[name]

    def __setitem__(self, name, value):
        if name not in self._arrays:
            raise KeyError(f"no parameter {name!r}; there are: {', '.join(self._arrays)}")
        value, array = data.check_numbers(value, f"parameter {name!r}"), self._arrays[name]
        if value.shape != array.shape:
            raise ValueError(f"parameter {name!r} has shape {array.shape}, got {value.shape}")
        array[...] = value

    def __setstate__(self, state):  # arrays may come back read-only or misaligned, as joblib's memory maps do
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
        return f"Parameters({', '.join(f'{name}: {array.shape}' for name, array in self._arrays.items())})"


class Builder:
    """Collects the values, instructions and parameters that layers ask for, under the path of each layer."""

    def __init__(self, n_in):
        self._widths, self._instructions, self._path = [n_in], [], []
        self.shapes, self.initializers = {}, {}

    def width(self, value):
        return self._widths[value]

    def chain(self, layers, x):
        """Build one layer after the other; returns the last one's output value."""
        for position, layer in enumerate(layers):
            self._path.append(layer.name or str(position))
            x = layer.build(self, x)
            self._path.pop()
        return x

    @property
    def path(self):
        """Of the layer being built: "0", or "3.1" in a block."""
        return ".".join(self._path)

    def dense(self, x, units, initializer, activation=ACTIVATIONS["linear"]):
        weight = self._parameter("weight", (self.width(x), units), initializer)
        bias = self._parameter("bias", (units,), None)
        return self._emit("dense", (x,), units, (weight, bias), activation)

    def rowwise(self, x, activation):
        return self._emit("rowwise", (x,), self.width(x), (), activation)

    def add(self, a, b):
        return self._emit("add", (a, b), self.width(a))

    def program(self):
        return Program(tuple(self._widths), tuple(self._instructions), dict(self.shapes))

    def _parameter(self, kind, shape, initializer):
        """Declare a parameter; without an initializer it begins at zero."""
        name = f"{self.path}.{kind}"
        if name in self.shapes:
            raise ValueError(f"two layers are called {self.path!r}; names must differ")
        self.shapes[name], self.initializers[name] = shape, initializer
        return name

    def _emit(self, op, inputs, width, parameters=(), activation=ACTIVATIONS["linear"]):
        self._widths.append(width)
        output = len(self._widths) - 1
        self._instructions.append(Instruction(op, inputs, output, parameters, activation, self.path))
        return output
