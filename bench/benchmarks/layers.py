"""Layers beyond dense, in native and float32: convolutions, noise and norms, a residual network."""

import bpfast as bp

from .common import need, race
from .limits import ROUNDS, fit, ratio
from .workloads import WORKLOADS, Deep

CONVOLUTIONS = {  # name -> height and width, channels, filters
    "28x28, 16 -> 32": (28, 16, 32),
    "32x32, 32 -> 32": (32, 32, 32),
    "32x32, 64 -> 64": (32, 64, 64),
}
BATCH = 64  # images
RESIDUAL = 2, (16, 32), 10  # blocks in each group, their filters, classes
STEPS = 16  # per epoch of medium
BETWEEN = {"Dropout": bp.Dropout(0.5), "BatchNorm": bp.BatchNorm(), "LayerNorm": bp.LayerNorm()}


def convolution(size, channels, filters):
    """A batch of images through a kernel 3 x 3, and all three gradients.

    Of what a step does besides the convolution nothing can be left out: Scale has a parameter, without which nobody
    would need the gradient of the images, and the mean over an image is the cheapest way to a loss.
    """
    layers = bp.Scale(), bp.Conv2D(filters, 3), bp.GlobalAvgPool2D()
    return Deep(layers, (size, size, channels), BATCH, BATCH)


def medium(*between):
    """The workload of this name with these layers behind each hidden one, and fewer rows."""
    workload = WORKLOADS["medium"]
    n_in, *hidden, n_out = workload.widths
    layers = [layer for n in hidden for layer in (bp.Dense(n, "relu"), *between)]
    return Deep((*layers, bp.Dense(n_out, "softmax")), (n_in,), workload.batch, STEPS * workload.batch)


def residual_network():
    """On images of 28 x 28."""
    return Deep(bp.resnet(*RESIDUAL).layers, (28, 28, 1), BATCH, BATCH)


class Convolution:
    params, param_names = [*CONVOLUTIONS], ["convolution"]

    def setup(self, name):
        need("native")
        self.contestant = fit(convolution(*CONVOLUTIONS[name]), optimizer=bp.SGD(1e-3))
        self.contestant.epochs(1)

    def time_forward_and_backward(self, name):
        """A step of SGD with the convolution in its middle."""
        self.contestant.epochs(1)


class Between:
    params, param_names = [*BETWEEN], ["layer"]

    def setup(self, name):
        need("native")

    def track_cost_on_medium(self, name):
        """The time of a step with the layer behind each hidden one, over that of a step without."""
        return ratio(fit(medium()), fit(medium(BETWEEN[name])))

    track_cost_on_medium.unit = "times the plain net"


class ResidualNetwork:
    def setup(self):
        need("native")

    def track_step(self):
        """Of Adam, with 64 images of 28 x 28."""
        return 1e3 * race(fit(residual_network()), rounds=ROUNDS, seconds=0.03)[0].min()

    track_step.unit = "ms"
