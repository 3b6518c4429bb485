"""PyTorch eager for bench/layers.py: the convolutions, a layer behind each hidden one, the residual network.

Each has ``epochs(n)``: train for n epochs, of one step or several.  Images come and weights are kept in the memory
format that is given.
"""

from itertools import pairwise
from time import sleep

import torch
from torch import nn
from torch.nn import functional

from .process import PAUSE

version = torch.__version__
FORMATS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}
LOSSES = {"cross_entropy": functional.cross_entropy, "squared_error": lambda y, t: 0.5 * functional.mse_loss(y, t)}
BETWEEN = {"Dropout": lambda n: nn.Dropout(0.5), "BatchNorm": nn.BatchNorm1d, "LayerNorm": nn.LayerNorm}


def use(threads):
    torch.set_num_threads(threads)


class Contestant:
    def reset(self):
        """Nothing that is learned changes the time of a step."""
        sleep(PAUSE)


class Convolution(Contestant):
    """Forward, and the gradients of images, kernels and biases, for a gradient of the output that is there."""

    def __init__(self, layout, batch, size, channels, filters):
        self.x, self.weight, self.dy = (
            torch.randn(shape).contiguous(memory_format=FORMATS[layout]) for shape in (
                (batch, channels, size, size), (filters, channels, 3, 3), (batch, filters, size, size)))
        self.inputs = self.x, self.weight, torch.randn(filters)
        for tensor in self.inputs:
            tensor.requires_grad_()

    def epochs(self, n):
        for _ in range(n):
            y = functional.conv2d(*self.inputs, padding=1)
            torch.autograd.grad(y, self.inputs, self.dy)


class Training(Contestant):
    """Steps of the fused Adam on batches gathered from X, in a random order, and y."""

    def __init__(self, net, X, y, batch, loss="cross_entropy"):
        self.net, self.X, self.y, self.batch, self.loss = net, X, y, batch, LOSSES[loss]
        self.adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def epochs(self, n):
        for _ in range(n):
            for rows in torch.randperm(len(self.X)).split(self.batch):
                self.adam.zero_grad()
                self.loss(self.net(self.X[rows]), self.y[rows]).backward()
                self.adam.step()


def dense(widths, between, X, y, batch, activation="ReLU", loss="cross_entropy"):
    """Layers of these widths, the layer ``between`` behind each hidden one, or None; the last is linear."""
    *hidden, last = pairwise(widths)
    layers = []
    for n_in, n_out in hidden:
        layers += [nn.Linear(n_in, n_out), getattr(nn, activation)(), *([BETWEEN[between](n_out)] if between else [])]
    return Training(nn.Sequential(*layers, nn.Linear(*last)), torch.from_numpy(X), torch.from_numpy(y), batch,
                    loss)


def residual_network(layout, n_blocks, filters, n_classes, X, y, batch):
    """As ``bpfast.resnet`` has it, save that a stride of 2 begins a pixel further up and left; X (rows, h, w, c)."""
    memory, before = {"memory_format": FORMATS[layout]}, filters[0]
    layers = [nn.Conv2d(X.shape[-1], before, 3, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
    for group, n in enumerate(filters):
        for block in range(n_blocks):
            layers.append(Block(before, n, stride=2 if group and not block else 1))
            before = n
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, n_classes)).to(**memory)
    X = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous(**memory)
    return Training(net, X, torch.from_numpy(y), batch)


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out))
        self.shortcut = nn.Identity() if stride == 1 and n_in == n_out else nn.Sequential(
            nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return functional.relu(self.shortcut(x) + self.branch(x))
