"""Layers of images, rows (height, width, channels), and residual networks made of them."""

from .backends.base import Window
from .data import check_flag, check_integer
from .initializers import Zeros
from .layers import (
    Activation,
    BatchNorm,
    Dense,
    Layer,
    Residual,
    check_initializer,
    check_name,
    chosen,
)
from .network import Network
from .ops import table
from .ops.conv import out_size, same_padding


class Conv2D(Layer):
    """y = f(x * W + b), W (kh, kw, channels, filters) moved over the image, b (filters,).

    z[i, j, o] = b[o] + sum over u, v, c of x[i sh + u - top, j sw + v - left, c] W[u, v, c, o]: a cross-correlation,
    as usual.   Source: LeCun, Bottou, Bengio & Haffner 1998, section II.

    Parameters
    ----------
    filters : int
        The channels of y.
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
        builder.image(x)
        return self._convolve(builder, x, _each(self.kernel, 2), _each(self.stride, 2))

    def _convolve(self, builder, x, kernel, stride):
        """Over a value that is an image."""
        window, (height, width) = _window(self, builder, x, kernel, stride)
        weight = builder.parameter("weight", (*kernel[-self.dimensions :], builder.shape(x)[-1], self.filters),
                                   chosen(self.initializer, self.activation))
        bias = (builder.parameter("bias", (self.filters,), Zeros()),) if self.bias else ()
        return builder.activated("conv", (x,), (height, width, self.filters), self.activation,
                                 parameters=(weight, *bias), settings=window)


class Conv1D(Conv2D):
    """y = f(x * W + b) for sequences (length, channels), W (k, channels, filters), b (filters,).

    z[i, o] = b[o] + sum over u, c of x[i s + u - before, c] W[u, c, o].  Arguments as of ``Conv2D``, with one number
    for the kernel and the stride.   Source: Waibel, Hanazawa, Hinton, Shikano & Lang 1989.
    """

    __slots__ = ()
    dimensions = 1

    def build(self, builder, x):
        length, channels = builder.sequence(x)
        image = builder.reshape(x, (1, length, channels))
        y = self._convolve(builder, image, (1, *_each(self.kernel, 1)), (1, *_each(self.stride, 1)))
        return builder.reshape(y, builder.shape(y)[1:])


class MaxPool2D(Layer):
    """y = the largest number of each channel within a window; of equal ones the first takes the gradient.

    ``stride`` is the window's size where it is not given; ``padding`` as of ``Conv2D``, never the largest.
    Source: Ranzato, Boureau & LeCun 2007.
    """

    __slots__ = ("size", "stride", "padding", "name")
    op = "max_pool"

    def __init__(self, size=2, *, stride=None, padding="valid", name=None):
        owner = type(self).__name__
        self._set(
            size=_sizes(size, 2, f"{owner}: size"),
            stride=None if stride is None else _sizes(stride, 2, f"{owner}: stride"),
            padding=_padding(owner, padding),
            name=check_name(owner, name),
        )

    def build(self, builder, x):
        builder.image(x)
        stride = self.size if self.stride is None else self.stride
        window, (height, width) = _window(self, builder, x, _each(self.size, 2), _each(stride, 2))
        return builder.emit(self.op, (x,), (height, width, builder.shape(x)[-1]), settings=window)


class AvgPool2D(MaxPool2D):
    """y = the mean of each channel within a window, of what is not padding.

    Arguments as of ``MaxPool2D``.   Source: LeCun, Bottou, Bengio & Haffner 1998, section II.
    """

    __slots__ = ()
    op = "avg_pool"


class GlobalAvgPool2D(Layer):
    """y (channels,) = the mean of each channel over the whole image.   Source: Lin, Chen & Yan 2014, section 3.2."""

    __slots__ = ("name",)

    def __init__(self, *, name=None):
        self._set(name=check_name("GlobalAvgPool2D", name))

    def build(self, builder, x):
        height, width, channels = builder.image(x)
        whole = Window((height, width), (height, width), ((0, 0), (0, 0)))
        return builder.flatten(builder.emit("avg_pool", (x,), (1, 1, channels), settings=whole))


class ResidualBlock(Layer):
    """y = relu(x + F(x)), F = convolution, batch normalisation, relu, convolution, batch normalisation.

    The kernels are 3 x 3 without bias.  Where the stride is not 1 or x has another number of channels, the sum is with
    a convolution 1 x 1 of x and its batch normalisation.   Source: He, Zhang, Ren & Sun 2016, sections 3.3 and 4.2.
    """

    __slots__ = ("filters", "stride", "name")

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
        return builder.activation(Residual(*branch, shortcut=shortcut).build(builder, x), table.ACTIVATIONS["relu"])


def resnet(n_blocks, filters, n_classes, *, input_shape=None, dtype="float32", seed=None):
    """-> Network: a convolution 3 x 3, groups of residual blocks, the mean over the image, and a softmax.

    ``filters`` are those of each group, an int or several; ``n_blocks`` how many blocks each has, an int for all or
    several.  The first block of every group but the first halves the image.
    ``resnet(3, (16, 32, 64), 10)`` has the 20 layers of He, Zhang, Ren & Sun 2016, section 4.2.
    """
    filters = (filters,) if isinstance(filters, int) else tuple(filters)
    if not filters:
        raise ValueError("resnet: filters must be those of one group at least, got none")
    n_blocks = (n_blocks,) * len(filters) if isinstance(n_blocks, int) else tuple(n_blocks)
    if len(n_blocks) != len(filters):
        raise ValueError(f"resnet: {len(filters)} groups of filters need as many n_blocks, got {n_blocks}")
    blocks = [
        ResidualBlock(n, stride=2 if group and not block else 1)
        for group, (n, count) in enumerate(zip(filters, n_blocks))
        for block in range(check_integer(count, "resnet: n_blocks"))
    ]
    layers = [Conv2D(filters[0], 3, bias=False, initializer="he"), BatchNorm(), Activation("relu"), *blocks,
              GlobalAvgPool2D(), Dense(n_classes, "softmax")]
    return Network(layers, input_shape=input_shape, dtype=dtype, seed=seed)


def _sizes(given, dimensions, name):
    """-> an int for all dimensions, or a tuple of one for each."""
    if not isinstance(given, (tuple, list)):
        return check_integer(given, name)
    if len(given) != dimensions:
        expected = "one number or (height, width)" if dimensions == 2 else "one number"
        raise ValueError(f"{name} must be {expected}, got {given!r}")
    return tuple(check_integer(size, name) for size in given)


def _each(sizes, dimensions):
    """-> a tuple of one for each dimension."""
    return sizes if isinstance(sizes, tuple) else (sizes,) * dimensions


def _padding(owner, given):
    if given not in ("same", "valid"):
        raise ValueError(f"{owner}: padding must be 'same' or 'valid', got {given!r}")
    return given


def _window(layer, builder, x, size, stride):
    """-> Window, and the height and width of what it makes of an image."""
    shape = builder.shape(x)[:2]
    padding = tuple(
        same_padding(*sizes) if layer.padding == "same" else (0, 0) for sizes in zip(shape, size, stride))
    for n, k, (before, after) in zip(shape, size, padding):
        if n + before + after < k:
            builder.refuse(f"its window {size} is larger than the image, {shape}: take padding='same' or a smaller one")
    made = [out_size(n, k, s, *p) for n, k, s, p in zip(shape, size, stride, padding)]
    return Window(size, stride, padding), made
