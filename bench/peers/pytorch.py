"""PyTorch: eager with its default Adam, eager with its fused Adam, and the whole step compiled as one graph."""

from itertools import chain

import torch
from torch import nn
from torch.nn import functional

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RATE = 1e-3


class Torch:
    """What the three have in common; ``parameters`` and ``moments`` are tensors, a weight is (n_out, n_in)."""

    version = torch.__version__

    def __init__(self, workload, X, y, layers, threads):
        torch.set_num_threads(threads)
        self.workload, self.X, self.y = workload, torch.from_numpy(X), torch.from_numpy(y)
        self.initial = [torch.from_numpy(part.T) for layer in layers for part in layer]
        self.regression = workload.loss == "squared_error"

    def loss(self, outputs, targets):
        if self.regression:
            return 0.5 * functional.mse_loss(outputs, targets)
        return functional.cross_entropy(outputs, targets)

    def ready(self, orders):
        with torch.no_grad():
            for parameter, initial in zip(self.parameters, self.initial):
                parameter.copy_(initial)
            for moment in self.moments():
                moment.zero_()
        self.orders = torch.from_numpy(orders)

    def train(self):
        for order in self.orders:
            for rows in order.split(self.workload.batch):
                self.step(rows)

    def layers(self):
        arrays = [parameter.detach().numpy().T for parameter in self.parameters]
        return [*zip(arrays[::2], arrays[1::2])]


class Eager(Torch):
    OPTIONS = {}

    def __init__(self, workload, X, y, layers, threads):
        super().__init__(workload, X, y, layers, threads)
        linear = [nn.Linear(*weight.shape) for weight, _ in layers]
        self.net = nn.Sequential(*chain.from_iterable((layer, nn.ReLU()) for layer in linear[:-1]), linear[-1])
        self.parameters = [*self.net.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=RATE, **self.OPTIONS)

    def moments(self):
        """Those of the optimizer, and its counts of steps."""
        return chain.from_iterable(state.values() for state in self.adam.state.values())

    def step(self, rows):
        self.adam.zero_grad()
        self.loss(self.net(self.X[rows]), self.y[rows]).backward()
        self.adam.step()


class Fused(Eager):
    OPTIONS = {"fused": True}


class Compiled(Torch):
    """Gather, forward, backward and Adam in one graph, with no autograd at run time: faster than a compiled module."""

    def __init__(self, workload, X, y, layers, threads):
        torch.compiler.reset()  # of what the workload before has left
        super().__init__(workload, X, y, layers, threads)
        self.parameters = [part.clone(memory_format=torch.contiguous_format) for part in self.initial]
        self.m, self.v = ([torch.zeros_like(part) for part in self.parameters] for _ in range(2))
        self.steps = torch.zeros(())
        gradient = torch.func.grad_and_value(lambda parameters, x, t: self.loss(self.outputs(parameters, x), t))

        @torch.compile(fullgraph=True, dynamic=False)
        def step(parameters, first, second, steps, X, y, rows):
            gradients, loss = gradient(parameters, X[rows], y[rows])
            steps.add_(1)
            correction = torch.sqrt(1 - BETA2**steps)
            rate, epsilon = RATE * correction / (1 - BETA1**steps), EPSILON * correction
            for w, m, v, g in zip(parameters, first, second, gradients):
                m.mul_(BETA1).add_(g, alpha=1 - BETA1)
                v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                w.sub_(rate * m / (v.sqrt() + epsilon))
            return loss

        self.compiled = step

    def outputs(self, parameters, x):
        *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2])
        for hidden_weight, hidden_bias in hidden:
            x = torch.relu(functional.linear(x, hidden_weight, hidden_bias))
        return functional.linear(x, weight, bias)

    def moments(self):
        return [*self.m, *self.v, self.steps]

    def step(self, rows):
        self.compiled(self.parameters, self.m, self.v, self.steps, self.X, self.y, rows)
