"""The same networks in PyTorch, in float64: the other library that gradients are compared with."""

import torch
from networks import BATCH_SIZE, EPOCHS, RATES
from torch.nn import functional

import bpfast as bp
from bpfast.ops.table import Loss

torch.set_num_threads(1)  # small networks

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": lambda x, slope: functional.leaky_relu(x, slope),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hard_sigmoid": lambda x: functional.relu6(x + 3) / 6,  # that of hardsigmoid has a slope of 1.0f / 6.0f
    "hard_tanh": functional.hardtanh,
    "softsign": functional.softsign,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "elu": lambda x, alpha: functional.elu(x, alpha),
    "selu": functional.selu,
    "relu6": functional.relu6,
    "exponential": torch.exp,
    "softmax": lambda x: torch.softmax(x, dim=-1),
}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def outputs(layers, parameters, x, prefix="", logits=False):
    """What the layers make of x; with ``logits`` the last activation is left out."""
    for i, layer in enumerate(layers):
        path = f"{prefix}{layer.name or i}"
        if isinstance(layer, bp.Residual):
            x = x + outputs(layer.layers, parameters, x, f"{path}.")
            continue
        x = x @ parameters[f"{path}.weight"] + parameters[f"{path}.bias"]
        if not (logits and i == len(layers) - 1):
            x = ACTIVATIONS[layer.activation.name](x, *layer.activation.values)
    return x


def per_output(function):
    """A loss of each output, averaged over the outputs of a row."""
    return lambda y, t, *hyper: function(y, t, *hyper).mean(dim=1)


LOSSES = {  # of outputs and targets
    "squared_error": lambda y, t: 0.5 * ((y - t) ** 2).sum(dim=1),
    "mean_squared_error": per_output(lambda y, t: functional.mse_loss(y, t, reduction="none")),
    "mean_absolute_error": per_output(lambda y, t: functional.l1_loss(y, t, reduction="none")),
    "huber": per_output(lambda y, t, delta: functional.huber_loss(y, t, reduction="none", delta=delta)),
    "quantile": per_output(lambda y, t, q: torch.maximum(q * (t - y), (q - 1) * (t - y))),
    "log_cosh": per_output(lambda y, t: torch.log(torch.cosh(y - t))),
    "binary_cross_entropy": per_output(lambda y, t: functional.binary_cross_entropy(y, t, reduction="none")),
    "sigmoid_binary_cross_entropy": per_output(
        lambda y, t: functional.binary_cross_entropy_with_logits(y, t, reduction="none")),
    "poisson": per_output(
        lambda y, t: functional.poisson_nll_loss(y, t, log_input=False, eps=0, reduction="none")),
    "exponential_poisson": per_output(lambda y, t: functional.poisson_nll_loss(y, t, reduction="none")),
    "hinge": per_output(lambda y, t: torch.relu(1 - t * y)),
    "softmax_cross_entropy": lambda y, t, smoothing: functional.cross_entropy(
        y, t, reduction="none", label_smoothing=smoothing),
}
PAIRS = {("softmax", "cross_entropy"): "softmax_cross_entropy"}  # which PyTorch computes from logits alone


def mean_loss(case, parameters, X, y, weight):
    """The loss, averaged over the rows by their weights."""
    loss = Loss.get(case.loss)
    fused = PAIRS.get((case.layers[-1].output_activation.name, loss.name))
    rows = LOSSES[fused or loss.name](outputs(case.layers, parameters, X, logits=bool(fused)), y, *loss.values)
    return (rows * weight).sum() / weight.sum()


def run(case, X, y, weight, parameters):
    """-> name -> array: outputs, loss, gradients, and the loss of every epoch and the parameters after training."""
    X = torch.tensor(X, dtype=torch.float64)
    y = torch.tensor(y, dtype=torch.int64 if Loss.get(case.loss).labels else torch.float64)
    weight = torch.ones(len(X), dtype=torch.float64) if weight is None else torch.tensor(weight)

    def fresh():
        return {name: torch.tensor(a, dtype=torch.float64, requires_grad=True) for name, a in parameters.items()}

    arrays = fresh()
    loss = mean_loss(case, arrays, X, y, weight)
    loss.backward()
    found = {"outputs": outputs(case.layers, arrays, X), "loss": loss}
    found |= {f"gradient {name}": array.grad for name, array in arrays.items()}

    for name, optimizer in OPTIMIZERS.items():
        arrays = fresh()
        step = optimizer(arrays.values(), lr=RATES[name])
        epochs = []
        for _ in range(EPOCHS):
            total = 0
            for rows in torch.arange(len(X)).split(BATCH_SIZE):
                if weight[rows].sum() > 0:
                    step.zero_grad()
                    loss = mean_loss(case, arrays, X[rows], y[rows], weight[rows])
                    loss.backward()
                    step.step()
                    total += loss.item() * weight[rows].sum()
            epochs.append(total / weight.sum())
        found[f"{name} losses"] = torch.stack(epochs)
        found |= {f"{name} {key}": array for key, array in arrays.items()}
    return {key: value.detach().numpy() for key, value in found.items()}
