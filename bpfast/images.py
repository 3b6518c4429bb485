"""Layers of images, rows (height, width, channels), and of sequences, rows (length, channels)."""

from .backends.base import Window
from .data import check_flag, check_integer
from .initializers import Zeros
from .layers import (
    Activation,
    BatchNorm,
    Layer,
    Residual,
    check_initializer,
    check_name,
    chosen,
)
from .ops import table
from .ops.conv import out_size, same_padding


class Convolution(Layer):
    """What the convolutions of images and of sequences have in common; a sequence is an image of one line."""

    __slots__ = ("filters", "kernel", "activation", "stride", "padding", "bias", "initializer", "name")
    dimensions = 2

    def __init__(self, filters, kernel=3, activation="linear", *, stride=1, padding="same", bias=True,
                 initializer="auto", name=None):
        owner = type(self).__name__
        self._set(
            filters=check_integer(filters, f"{owner}: filters"),
            kernel=_sizes(kernel, self.dimensions, f"{owner}: kernel"),
            activation=table.Activation.get(activation),
            stride=_sizes(stride, self.dimensions, f"{owner}: stride"),
            padding=_padding(owner, padding),
            bias=check_flag(bias, f"{owner}: bias"),
            initializer=check_initializer(initializer),
            name=check_name(owner, name),
        )

    @property
    def output_activation(self):
        return self.activation

    def build(self, builder, x):
        image = _image(builder, x, self.dimensions)
        window, size = _window(self, builder, image, self.kernel, self.stride)
        weight = builder.parameter("weight", (*window.size[-self.dimensions :], builder.shape(x)[-1], self.filters),
                                   chosen(self.initializer, self.activation))
        bias = (builder.parameter("bias", (self.filters,), Zeros()),) if self.bias else ()
        y = builder.activated("conv", (image,), (*size, self.filters), self.activation, parameters=(weight, *bias),
                              settings=window)
        return _lines(builder, y, self.dimensions)


class Conv2D(Convolution):
    """y = f(x * W + b), W (kh, kw, channels, filters) moved over the image, b (filters,).

    z[i, j, o] = b[o] + sum over u, v, c of x[i sh + u - top, j sw + v - left, c] W[u, v, c, o]: a cross-correlation,
    as usual.   Source: LeCun, Bottou, Bengio & Haffner 1998, section II.

    Parameters
    ----------
    filters : int
        The channels of y; those of x are found from the data.
    kernel : int or (kh, kw)
    activation, initializer, name
        As of ``Dense``.
    stride : int or (sh, sw)
    padding : "same" or "valid"
        "same" adds zeros around the image, so that y has ceil(height / sh) by ceil(width / sw) pixels, an odd zero
        below and at the right; "valid" adds none.
    bias : bool
        Without it b is left out, as before a BatchNorm, which would take it away again.
    """

    __slots__ = ()


class Conv1D(Convolution):
    """y = f(x * W + b) for sequences (length, channels), W (k, channels, filters), b (filters,).

    z[i, o] = b[o] + sum over u, c of x[i s + u - before, c] W[u, c, o].  Arguments as of ``Conv2D``, with one number
    for the kernel and the stride.   Source: Waibel, Hanazawa, Hinton, Shikano & Lang 1989.
    """

    __slots__ = ()
    dimensions = 1


class Pool(Layer):
    """What the poolings of images and of sequences have in common."""

    __slots__ = ("size", "stride", "padding", "name")
    dimensions = 2

    def __init__(self, size=2, stride=None, *, padding="valid", name=None):
        owner = type(self).__name__
        self._set(
            size=_sizes(size, self.dimensions, f"{owner}: size"),
            stride=None if stride is None else _sizes(stride, self.dimensions, f"{owner}: stride"),
            padding=_padding(owner, padding),
            name=check_name(owner, name),
        )

    def build(self, builder, x):
        image = _image(builder, x, self.dimensions)
        window, size = _window(self, builder, image, self.size, self.size if self.stride is None else self.stride)
        y = builder.emit(self.op, (image,), (*size, builder.shape(x)[-1]), settings=window)
        return _lines(builder, y, self.dimensions)


class MaxPool2D(Pool):
    """y = the largest number of each channel within a window; of equal ones the first takes the gradient.

    ``stride`` is the window's size where it is not given; ``padding`` as of ``Conv2D``, never the largest.
    Source: Zhou & Chellappa 1988.
    """

    __slots__ = ()
    op = "max_pool"


class MaxPool1D(Pool):
    """``MaxPool2D`` for sequences (length, channels)."""

    __slots__ = ()
    op, dimensions = "max_pool", 1


class AvgPool2D(Pool):
    """y = the mean of each channel within a window, of what is not padding.

    Arguments as of ``MaxPool2D``.   Source: LeCun, Bottou, Bengio & Haffner 1998, section II.
    """

    __slots__ = ()
    op = "avg_pool"


class AvgPool1D(Pool):
    """``AvgPool2D`` for sequences (length, channels)."""

    __slots__ = ()
    op, dimensions = "avg_pool", 1


class GlobalPool(Layer):
    """What the means over whole images and sequences have in common."""

    __slots__ = ("name",)

    def __init__(self, *, name=None):
        self._set(name=check_name(type(self).__name__, name))

    def build(self, builder, x):
        image = _image(builder, x, self.dimensions)
        height, width, channels = builder.shape(image)
        whole = Window((height, width), (height, width), ((0, 0), (0, 0)))
        return builder.flatten(builder.emit("avg_pool", (image,), (1, 1, channels), settings=whole))


class GlobalAvgPool2D(GlobalPool):
    """y (channels,) = the mean of each channel over the whole image.   Source: Lin, Chen & Yan 2014, section 3.2."""

    __slots__ = ()
    dimensions = 2


class GlobalAvgPool1D(GlobalPool):
    """``GlobalAvgPool2D`` for sequences (length, channels)."""

    __slots__ = ()
    dimensions = 1


class ResidualBlock(Layer):
    """y = relu(x + F(x)), F = convolution, batch normalisation, relu, convolution, batch normalisation.

    The kernels are 3 x 3 without bias.  Where the stride is not 1 or x has another number of channels, the sum is with
    a convolution 1 x 1 of x and its batch normalisation.   Source: He, Zhang, Ren & Sun 2016, section 3.3, option B.
    """

    __slots__ = ("filters", "stride", "name")
    output_activation = table.ACTIVATIONS["relu"]

    def __init__(self, filters, *, stride=1, name=None):
        self._set(
            filters=check_integer(filters, "ResidualBlock: filters"),
            stride=check_integer(stride, "ResidualBlock: stride"),
            name=check_name("ResidualBlock", name),
        )

    def build(self, builder, x):
        conv = {"bias": False, "initializer": "he"}
        branch = (
            Conv2D(self.filters, 3, stride=self.stride, name="conv1", **conv), BatchNorm(name="norm1"),
            Activation("relu"), Conv2D(self.filters, 3, name="conv2", **conv), BatchNorm(name="norm2"),
        )
        shortcut = None
        if self.stride > 1 or builder.image(x)[-1] != self.filters:
            shortcut = Conv2D(self.filters, 1, stride=self.stride, **conv), BatchNorm()
        return builder.activation(Residual(*branch, shortcut=shortcut).build(builder, x), self.output_activation)


def _sizes(given, dimensions, name):
    """-> an int for all dimensions, or a tuple of one for each."""
    if not isinstance(given, (tuple, list)):
        return check_integer(given, name)
    if len(given) != dimensions:
        expected = "one number or (height, width)" if dimensions == 2 else "one number"
        raise ValueError(f"{name} must be {expected}, got {given!r}")
    return tuple(check_integer(size, name) for size in given)


def _padding(owner, given):
    if given not in ("same", "valid"):
        raise ValueError(f"{owner}: padding must be 'same' or 'valid', got {given!r}")
    return given


def _image(builder, x, dimensions):
    """-> the value as an image: of one line where the layer is one of sequences."""
    if dimensions == 1:
        return builder.reshape(x, (1, *builder.sequence(x)))
    builder.image(x)
    return x


def _lines(builder, y, dimensions):
    """-> an image in the shape that the layer makes: a sequence where that has one dimension."""
    return builder.reshape(y, builder.shape(y)[-dimensions - 1 :])


def _window(layer, builder, x, size, stride):
    """-> Window, and the height and width of what it makes of an image."""
    shape = builder.shape(x)[:2]
    size, stride = (sizes if isinstance(sizes, tuple) else (1,) * (2 - layer.dimensions) + (sizes,) * layer.dimensions
                    for sizes in (size, stride))
    padding = tuple(
        same_padding(*sizes) if layer.padding == "same" else (0, 0) for sizes in zip(shape, size, stride))
    for n, k, (before, after) in zip(shape, size, padding):
        if n + before + after < k:
            what = f"{size} is larger than the image, {shape}" if layer.dimensions == 2 else (
                f"{size[1]} is longer than the sequence, {shape[1]}")
            builder.refuse(f"its window {what}: take padding='same' or a smaller one")
    made = [out_size(n, k, s, *p) for n, k, s, p in zip(shape, size, stride, padding)]
    return Window(size, stride, padding), made
