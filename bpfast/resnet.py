"""Residual networks of images."""

from .data import check_integer
from .images import Conv2D, GlobalAvgPool2D, ResidualBlock
from .layers import Activation, BatchNorm, Dense
from .network import Network


def resnet(n_blocks, filters, n_classes, *, input_shape=None, dtype="float32", seed=None):
    """-> Network: a convolution 3 x 3, groups of residual blocks, the mean over the image, and a softmax.

    ``filters`` are those of each group, an int or several; ``n_blocks`` how many blocks each has, an int for all or
    several.  The first block of every group but the first halves the image.
    ``resnet(3, (16, 32, 64), 10)`` is the net of 20 layers of He, Zhang, Ren & Sun 2016, section 4.2, but for its two
    shortcuts that halve an image, which are convolutions here (section 3.3, option B).
    """
    filters = filters if isinstance(filters, (tuple, list)) else (check_integer(filters, "resnet: filters"),)
    if not filters:
        raise ValueError("resnet: filters must be those of one group at least, got none")
    n_blocks = n_blocks if isinstance(n_blocks, (tuple, list)) else (n_blocks,) * len(filters)
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
