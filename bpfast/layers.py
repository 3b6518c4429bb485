"""What a layer is: sizes, activation, initializer.  No arithmetic."""

from abc import abstractmethod

from .data import check_integer
from .description import Description
from .initializers import Initializer
from .ops.table import ACTIVATIONS, Activation


class Layer(Description):
    """A layer describes itself: its shape, its parameters, and the instructions that run it."""

    __slots__ = ()

    @property
    @abstractmethod
    def output_activation(self):
        """The activation that makes this layer's outputs."""

    @abstractmethod
    def build(self, builder, x):
        """Add this layer's parameters and instructions to the builder; x is its input value, returns its output."""


class Dense(Layer):
    """y = f(x W + b), W (n_in, units), b (units,).

    Parameters
    ----------
    units : int
        The number of outputs.
    activation : str or op
        A name of ``bpfast.ACTIVATIONS``, or one with hyperparameters:
        ``bpfast.ACTIVATIONS["leaky_relu"](slope=0.1)``.
    initializer : str or Initializer
        A name of ``bpfast.initializers.INITIALIZERS`` such as "glorot" or "he_uniform", an object such as
        ``Orthogonal(gain="tanh")``, or "auto": the one that suits the activation.  Biases begin at zero.
    name : str, optional
        Names the parameters ("name.weight"); the layer's position otherwise ("0.weight").
    """

    __slots__ = ("units", "activation", "initializer", "name")

    def __init__(self, units, activation="linear", *, initializer="auto", name=None):
        self._set(
            units=check_integer(units, "Dense: units"),
            activation=Activation.get(activation),
            initializer=initializer if initializer == "auto" else Initializer.get(initializer),
            name=_name("Dense", name),
        )

    @property
    def output_activation(self):
        return self.activation

    def build(self, builder, x):
        initializer = self.initializer if self.initializer != "auto" else Initializer.get(self.activation.initializer)
        if self.activation.rowwise:
            return builder.rowwise(builder.dense(x, self.units, initializer), self.activation)
        return builder.dense(x, self.units, initializer, self.activation)


class Residual(Layer):
    """y = x + F(x), F the given layers; they must keep the width.   Source: He, Zhang, Ren & Sun 2016, eq. 1."""

    __slots__ = ("layers", "name")

    def __init__(self, *layers, name=None):
        self._set(layers=check_layers("Residual", layers), name=_name("Residual", name))

    @property
    def output_activation(self):
        return ACTIVATIONS["linear"]  # a sum

    def build(self, builder, x):
        y = builder.chain(self.layers, x)
        if builder.width(y) != builder.width(x):
            raise ValueError(
                f"layer {builder.path} (Residual): its layers turn {builder.width(x)} inputs into {builder.width(y)} "
                f"outputs; the sum x + F(x) needs {builder.width(x)}: end with Dense({builder.width(x)}, ...)"
            )
        return builder.add(x, y)


def check_layers(owner, layers):
    """The layers as a tuple; an error says which of them is not one."""
    layers = (layers,) if isinstance(layers, Layer) else tuple(layers)
    if not layers:
        raise ValueError(f"{owner} needs at least one layer, for example Dense(10)")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{owner}: layer {i} must be a layer such as Dense(10, 'relu'), got {layer!r}")
    return layers


def _name(owner, name):
    if name is not None and (not isinstance(name, str) or not name or "." in name):
        raise ValueError(f"{owner}: name must be a string without dots, got {name!r}")
    return name
