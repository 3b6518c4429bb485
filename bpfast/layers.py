"""What a layer is: sizes, activation, initializer.  No arithmetic.

A row of what a layer reads and makes is a vector (n,), or an image (height, width, channels).
"""

from abc import abstractmethod

from .backends.base import Noise, Norm
from .data import check_flag, check_integer, check_real
from .description import Description
from .initializers import Constant, Initializer, Zeros
from .ops import ACTIVATIONS, table


class Layer(Description):
    """A layer describes itself: its shape, its parameters, and the instructions that run it."""

    __slots__ = ()
    output_activation = ACTIVATIONS["linear"]  # what makes this layer's outputs; None: what makes its inputs

    @abstractmethod
    def build(self, builder, x):
        """Add this layer's parameters and instructions to the builder; x is its input value, returns its output."""


class Dense(Layer):
    """y = f(x W + b), W (n_in, units), b (units,).

    n_in is found from the data.   Source: Rumelhart, Hinton & Williams 1986.

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
            activation=table.Activation.get(activation),
            initializer=check_initializer(initializer),
            name=check_name("Dense", name),
        )

    @property
    def output_activation(self):
        return self.activation

    def build(self, builder, x):
        (n_in,) = builder.vector(x)
        weight = builder.parameter("weight", (n_in, self.units), chosen(self.initializer, self.activation))
        bias = builder.parameter("bias", (self.units,), Zeros())
        return builder.activated("dense", (x,), (self.units,), self.activation, parameters=(weight, bias))


class Activation(Layer):
    """y = f(x), for vectors and images; a function of whole rows such as "softmax" for vectors alone."""

    __slots__ = ("activation", "name")

    def __init__(self, activation, *, name=None):
        self._set(activation=table.Activation.get(activation), name=check_name("Activation", name))

    @property
    def output_activation(self):
        return self.activation

    def build(self, builder, x):
        return builder.activation(x, self.activation)


class Flatten(Layer):
    """An image (height, width, channels) as a vector, row by row of pixels; a vector stays as it is."""

    __slots__ = ("name",)
    output_activation = None

    def __init__(self, *, name=None):
        self._set(name=check_name("Flatten", name))

    def build(self, builder, x):
        return builder.flatten(x)


class Scale(Layer):
    """y = s x, a trained factor s (c,) for each channel or unit, which begins at ``initial``.

    Behind the last layer of a residual branch it lets a deep network begin near y = x.
    Source: De & Smith 2020, SkipInit; Touvron, Cord, Sablayrolles, Synnaeve & Jegou 2021, eq. 4.
    """

    __slots__ = ("initial", "name")

    def __init__(self, initial=1.0, *, name=None):
        self._set(initial=check_real(initial, "Scale: initial", "(-inf, inf)"), name=check_name("Scale", name))

    def build(self, builder, x):
        shape = builder.shape(x)
        scale = builder.parameter("scale", shape[-1:], Constant(self.initial))
        return builder.emit("scale", (x,), shape, parameters=(scale,))


class Standardize(Layer):
    """y = (x - mean) / deviation of every input, or channel of an image; the first layer.

    Mean and deviation are those of the rows that the first ``fit`` learns from, and stay so; before it y = x.  An input
    that never changes has deviation 1, so that y is 0.  ``network.statistics`` holds them, and in "0.known" whether
    they have been learned: set this to 0 to learn them anew at the next fit, to 1 with numbers of your own.
    Source: LeCun, Bottou, Orr & Mueller 1998, section 4.3.
    """

    __slots__ = ("name",)

    def __init__(self, *, name=None):
        self._set(name=check_name("Standardize", name))

    def build(self, builder, x):
        if x != 0 or builder.path.count("."):
            builder.refuse("it must be the first layer, since it learns from the data; within, use BatchNorm()")
        shape = builder.shape(x)
        mean, deviation = builder.statistic("mean", shape[-1:], 0), builder.statistic("deviation", shape[-1:], 1)
        known = builder.statistic("known", (1,), 0)
        return builder.emit("standardize", (x,), shape, statistics=(mean, deviation, known))


# -- noise ---------------------------------------------------------------------------------------------------


class Dropout(Layer):
    """In training y = x m / (1 - rate), m = 0 with probability ``rate``, else 1, drawn for every number; else y = x.

    The draws depend on the trainer's seed, the layer, the step and the place in the batch alone: they are the same in
    every backend and for any number of threads.   Source: Srivastava et al. 2014, section 10.
    """

    __slots__ = ("rate", "name")
    op = "dropout"

    def __init__(self, rate=0.5, *, name=None):
        owner = type(self).__name__
        self._set(rate=check_real(rate, f"{owner}: rate", "[0, 1)"), name=check_name(owner, name))

    def build(self, builder, x):
        return builder.emit(self.op, (x,), builder.shape(x), settings=Noise(self.rate, builder.next_noise()))


class AlphaDropout(Dropout):
    """In training y = a (x m + d (1 - m)) + b, d = selu(-inf); else y = x.

    Dropout for "selu" networks, whose mean 0 and variance 1 stay: m = 0 with probability ``rate``, q = 1 - rate,
    a = (q + d^2 q (1 - q))^(-1/2), b = -a (1 - q) d.
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, section 2, "New Dropout Technique".
    """

    __slots__ = ()
    op = "alpha_dropout"


# -- normalisation -------------------------------------------------------------------------------------------


class Normalization(Layer):
    """y = scale (x - mean) / sqrt(variance + eps) + shift; ``affine=False`` leaves scale and shift out."""

    __slots__ = ()

    def _scale_and_shift(self, builder, c):
        if not self.affine:
            return ()
        return builder.parameter("scale", (c,), Constant(1.0)), builder.parameter("shift", (c,), Zeros())


class BatchNorm(Normalization):
    """y = scale (x - mean) / sqrt(variance + eps) + shift, for every unit, or channel of an image.

    In training mean and variance are those of the batch, else running ones: every step takes the share ``momentum``
    from the batch, running = (1 - momentum) running + momentum batch, where the variance is the unbiased one.  (What
    Keras calls momentum is 1 minus this.)  The number of units or channels is found from the data.
    A batch of a single vector has no variance: y = shift, and only the running mean follows.
    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.
    """

    __slots__ = ("momentum", "eps", "affine", "name")

    def __init__(self, *, momentum=0.1, eps=1e-5, affine=True, name=None):
        self._set(
            momentum=check_real(momentum, "BatchNorm: momentum", "[0, 1]"),
            eps=check_real(eps, "BatchNorm: eps", "(0, inf)"),
            affine=check_flag(affine, "BatchNorm: affine"),
            name=check_name("BatchNorm", name),
        )

    def build(self, builder, x):
        shape = builder.shape(x)
        parameters = self._scale_and_shift(builder, shape[-1])
        statistics = builder.statistic("mean", shape[-1:], 0), builder.statistic("variance", shape[-1:], 1)
        return builder.emit("batch_norm", (x,), shape, parameters=parameters, statistics=statistics,
                            settings=Norm(self.eps, self.momentum))


class LayerNorm(Normalization):
    """y = scale (x - mean) / sqrt(variance + eps) + shift, mean and variance over the units of each row.

    Of an image they are over the channels of each pixel.   Source: Ba, Kiros & Hinton 2016, eq. 3 and 4.
    """

    __slots__ = ("eps", "affine", "name")

    def __init__(self, *, eps=1e-5, affine=True, name=None):
        self._set(
            eps=check_real(eps, "LayerNorm: eps", "(0, inf)"),
            affine=check_flag(affine, "LayerNorm: affine"),
            name=check_name("LayerNorm", name),
        )

    def build(self, builder, x):
        shape = builder.shape(x)
        return builder.emit("layer_norm", (x,), shape, parameters=self._scale_and_shift(builder, shape[-1]),
                            settings=Norm(self.eps, 0.0))


# -- shortcuts -----------------------------------------------------------------------------------------------


class Residual(Layer):
    """y = x + F(x), F the given layers; with a ``shortcut``, y = S(x) + F(x).

    F must keep the shape of x, or the shortcut, a layer or several, turn x into the shape that F makes.
    Parameters are named "3.0.weight" for those of F in layer 3, "3.shortcut.0.weight" for those of S.
    Source: He, Zhang, Ren & Sun 2016, eq. 1 and 2.
    """

    __slots__ = ("layers", "shortcut", "name")

    def __init__(self, *layers, shortcut=None, name=None):
        self._set(
            layers=check_layers("Residual", layers),
            shortcut=None if shortcut is None else check_layers("Residual: shortcut", shortcut),
            name=check_name("Residual", name),
        )

    def build(self, builder, x):
        y = builder.chain(self.layers, x)
        s = x if self.shortcut is None else builder.chain(self.shortcut, x, "shortcut")
        if builder.shape(s) != builder.shape(y):
            made, kept = builder.shape(y), builder.shape(s)
            cure = "give it a shortcut=, such as Dense or Conv2D, that makes" if s == x else "let the shortcut make"
            builder.refuse(
                f"its layers turn {builder.shape(x)} into {made}, but the sum is with {kept}: {cure} {made}")
        return builder.emit("add", (s, y), builder.shape(y))


def check_layers(owner, layers):
    """The layers as a tuple; an error says which of them is not one."""
    layers = (layers,) if isinstance(layers, Layer) else tuple(layers)
    if not layers:
        raise ValueError(f"{owner} needs at least one layer, for example Dense(10)")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{owner}: layer {i} must be a layer such as Dense(10, 'relu'), got {layer!r}")
    return layers


def check_name(owner, name):
    """The name of a layer, or None."""
    if name is not None and (not isinstance(name, str) or not name or "." in name):
        raise ValueError(f"{owner}: name must be a string without dots, got {name!r}")
    return name


def check_initializer(given):
    """The Initializer, or "auto"."""
    return given if given == "auto" else Initializer.get(given)


def chosen(initializer, activation):
    """The initializer; for "auto" the one that suits the activation."""
    return initializer if initializer != "auto" else Initializer.get(activation.initializer)
