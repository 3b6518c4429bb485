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


STATISTICS = {"mean", "variance", "deviation", "known"}  # the last word of a name


def outputs(layers, arrays, x, prefix="", logits=False, training=False):
    """What the layers make of x; with ``logits`` the last activation is left out.

    In training a norm takes the statistics of x, and writes running ones into ``arrays``.
    """
    for i, layer in enumerate(layers):
        path = f"{prefix}{layer.name or i}"
        own = {name.removeprefix(f"{path}."): array for name, array in arrays.items() if name.startswith(f"{path}.")}
        x = LAYERS[type(layer)](layer, own, x, training)
        if hasattr(layer, "activation") and not (logits and i == len(layers) - 1):
            x = ACTIVATIONS[layer.activation.name](x, *layer.activation.values)
    return x


def images(function):
    """A function of images (batch, channels, height, width) as one of ours, whose channels are last."""
    return lambda x, *arguments: function(x.permute(0, 3, 1, 2), *arguments).permute(0, 2, 3, 1)


def pad(layer, x, size, value=0.0):
    """-> the image with what "same" adds, size and stride of the layer's windows, each in all dimensions.

    The first and the last window reach out alike, or the last by one more.
    """
    size, stride = ((n,) * (x.ndim - 2) if isinstance(n, int) else n for n in (size, layer.stride or size))
    if layer.padding == "valid":
        return x, size, stride
    added = []
    for n, k, s in zip(x.shape[:1:-1], size[::-1], stride[::-1], strict=True):
        missing = max(k + s * ((n - 1) // s) - n, 0)
        added += [missing // 2, missing - missing // 2]
    return functional.pad(x, added, value=value), size, stride


@images
def conv_2d(x, layer, arrays):
    weight = arrays["weight"].permute(3, 2, 0, 1).contiguous()
    x, _, stride = pad(layer, x, layer.kernel)
    return functional.conv2d(x, weight, arrays.get("bias"), stride)


def conv_1d(layer, arrays, x, training):
    x, _, stride = pad(layer, x.permute(0, 2, 1), layer.kernel)
    return functional.conv1d(x, arrays["weight"].permute(2, 1, 0), arrays.get("bias"), stride).permute(0, 2, 1)


def max_pool_1d(layer, arrays, x, training):
    return functional.max_pool1d(*pad(layer, x.permute(0, 2, 1), layer.size, -torch.inf)).permute(0, 2, 1)


def avg_pool_1d(layer, arrays, x, training):
    x = x.permute(0, 2, 1)
    total, count = (functional.avg_pool1d(*pad(layer, a, layer.size)) for a in (x, torch.ones_like(x)))
    return (total / count).permute(0, 2, 1)


@images
def max_pool(x, layer):
    return functional.max_pool2d(*pad(layer, x, layer.size, -torch.inf))


@images
def avg_pool(x, layer):
    total, count = (functional.avg_pool2d(*pad(layer, a, layer.size)) for a in (x, torch.ones_like(x)))
    return total / count


def batch_norm(layer, arrays, x, training):
    flat = x.reshape(-1, x.shape[-1])
    return functional.batch_norm(flat, arrays["mean"], arrays["variance"], arrays.get("scale"), arrays.get("shift"),
                                 training, layer.momentum, layer.eps).reshape(x.shape)


def layer_norm(layer, arrays, x, training):
    return functional.layer_norm(x, x.shape[-1:], arrays.get("scale"), arrays.get("shift"), layer.eps)


def residual(layer, arrays, x, training):
    branch = outputs(layer.layers, arrays, x, training=training)
    return branch + (outputs(layer.shortcut, arrays, x, "shortcut.", training=training) if layer.shortcut else x)


def residual_block(layer, arrays, x, training):
    """As in torchvision's BasicBlock."""
    def own(path):
        return {name.removeprefix(path): array for name, array in arrays.items() if name.startswith(path)}

    conv, norm = bp.Conv2D(layer.filters, 3, bias=False), bp.BatchNorm()
    halving = bp.Conv2D(layer.filters, 3, bias=False, stride=layer.stride)
    y = torch.relu(batch_norm(norm, own("norm1."), conv_2d(x, halving, own("conv1.")), training))
    y = batch_norm(norm, own("norm2."), conv_2d(y, conv, own("conv2.")), training)
    if layer.stride > 1 or x.shape[-1] != layer.filters:
        one = bp.Conv2D(layer.filters, 1, bias=False, stride=layer.stride)
        x = batch_norm(norm, own("shortcut.1."), conv_2d(x, one, own("shortcut.0.")), training)
    return torch.relu(x + y)


LAYERS = {  # f(layer, its arrays, x, training)
    bp.Dense: lambda layer, arrays, x, training: x @ arrays["weight"] + arrays["bias"],
    bp.Activation: lambda layer, arrays, x, training: x,
    bp.Flatten: lambda layer, arrays, x, training: x.flatten(1),
    bp.Scale: lambda layer, arrays, x, training: x * arrays["scale"],
    bp.Standardize: lambda layer, arrays, x, training: (x - arrays["mean"]) / arrays["deviation"],
    bp.BatchNorm: batch_norm,
    bp.LayerNorm: layer_norm,
    bp.Residual: residual,
    bp.ResidualBlock: residual_block,
    bp.Conv2D: lambda layer, arrays, x, training: conv_2d(x, layer, arrays),
    bp.Conv1D: conv_1d,
    bp.MaxPool2D: lambda layer, arrays, x, training: max_pool(x, layer),
    bp.AvgPool2D: lambda layer, arrays, x, training: avg_pool(x, layer),
    bp.GlobalAvgPool2D: lambda layer, arrays, x, training: x.mean(dim=(1, 2)),
    bp.MaxPool1D: max_pool_1d,
    bp.AvgPool1D: avg_pool_1d,
    bp.GlobalAvgPool1D: lambda layer, arrays, x, training: x.mean(dim=1),
}


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


def mean_loss(case, arrays, X, y, weight):
    """The training loss, averaged over the rows by their weights."""
    loss = Loss.get(case.loss)
    fused = PAIRS.get((case.layers[-1].output_activation.name, loss.name))
    found = outputs(case.layers, arrays, X, logits=bool(fused), training=True)
    rows = LOSSES[fused or loss.name](found.flatten(1), y, *loss.values)
    return (rows * weight).sum() / weight.sum()


def run(case, X, y, weight, start):
    """-> name -> array: outputs, loss, gradients, and after training the loss of every epoch, parameters, statistics.

    And the outputs then, where prediction has statistics of its own.
    """
    X = torch.tensor(X, dtype=torch.float64)
    y = torch.tensor(y, dtype=torch.int64 if Loss.get(case.loss).labels else torch.float64)
    y = y.flatten(1) if y.ndim > 1 else y
    weight = torch.ones(len(X), dtype=torch.float64) if weight is None else torch.tensor(weight)
    learned = {name for name in start if name.rpartition(".")[2] not in STATISTICS}

    def fresh():
        return {name: torch.tensor(a, dtype=torch.float64, requires_grad=name in learned) for name, a in start.items()}

    arrays = fresh()
    found = {"outputs": outputs(case.layers, arrays, X), "loss": mean_loss(case, arrays, X, y, weight)}
    found["loss"].backward()
    found |= {f"gradient {name}": arrays[name].grad for name in learned}

    for name, optimizer in OPTIMIZERS.items():
        arrays = fresh()
        step = optimizer([arrays[key] for key in learned], lr=RATES[name])
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
        if learned != set(start):
            found[f"{name} outputs"] = outputs(case.layers, arrays, X)
    return {key: value.detach().numpy() for key, value in found.items()}
