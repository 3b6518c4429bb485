"""What helps, as a change of the layers, and as code."""

import re
from functools import partial
from inspect import signature
from itertools import groupby

from ..images import Convolution
from ..initializers import INITIALIZERS, Initializer
from ..layers import Activation, BatchNorm, Dense, Dropout, Residual, Standardize
from ..metrics import METRICS
from ..network import Network
from ..ops import ACTIVATIONS

LINEAR = ACTIVATIONS["linear"]


# -- changes of layers: functions of a tuple of them ------------------------------------------------------------


def with_fields(layer, **fields):
    """A layer of the same kind with other settings."""
    return type(layer)(**{**layer._fields(), **fields})


def through(change, layers):
    """A change of single layers, in residual branches too; ``change(layer)`` -> layers."""
    changed = []
    for layer in layers:
        if isinstance(layer, Residual):
            shortcut = layer.shortcut and through(change, layer.shortcut)
            changed.append(Residual(*through(change, layer.layers), shortcut=shortcut, name=layer.name))
        else:
            changed += change(layer)
    return tuple(changed)


def of_hidden(change, layers):
    """A change of all single layers up to the last with a weight, which only draws its weights as suits it."""
    last = max((k for k, layer in enumerate(layers) if _has_weight(layer)), default=len(layers))
    return (*through(change, layers[:last]), *through(_drawn, layers[last:]))


def _has_weight(layer):
    return isinstance(layer, Dense | Convolution)


def _drawn(layer, initializer="auto"):
    return [with_fields(layer, initializer=initializer) if _has_weight(layer) else layer]


def redrawn(layers):
    """Every weight begins as suits its activation."""
    return through(_drawn, layers)


def activated(activation, initializer, layers):
    """Hidden layers have this activation, and weights that suit it."""

    def change(layer):
        if getattr(layer, "activation", LINEAR) == LINEAR:
            return _drawn(layer)
        layer = with_fields(layer, activation=activation)
        return _drawn(layer, Initializer.get(initializer))

    return of_hidden(change, layers)


def normalised(layers):
    """A BatchNorm stands between the sum and the activation of every hidden layer."""

    def change(layer):
        if not _has_weight(layer) or layer.activation == LINEAR:
            return _drawn(layer)
        return [with_fields(layer, activation=LINEAR, initializer="auto"), BatchNorm(), Activation(layer.activation)]

    return of_hidden(change, layers)


def residual(layers):
    """Pairs of dense layers of one width become y = x + F(x), the second of a pair linear: sums can fall and rise."""
    changed = []
    for same, run in groupby(redrawn(layers), lambda layer: layer):
        run = list(run)
        pairs = (len(run) - 1) // 2 if isinstance(same, Dense) and same.activation != LINEAR and not same.name else 0
        block = Residual(same, with_fields(same, activation=LINEAR)) if pairs else None
        changed += run[: len(run) - 2 * pairs] + [block] * pairs
    return tuple(changed)


def standardized(layers):
    """Inputs are brought to mean 0 and deviation 1."""
    return (Standardize(), *layers)


def widened(layers):
    """Hidden layers have twice the units or filters."""

    def change(layer):
        sizes = {name: 2 * n for name, n in layer._fields().items() if name in ("units", "filters")}
        return [with_fields(layer, **sizes)]

    return of_hidden(change, layers)


def dropping(layers):
    """A share of the units behind every hidden activation is dropped in training."""

    def change(layer):
        return [layer] if getattr(layer, "activation", LINEAR) == LINEAR else [layer, Dropout(0.2)]

    return of_hidden(change, layers)


def cures_of_flow(layers):
    """-> (words, change) of what keeps signals and gradients at one scale, for these layers."""
    found = (
        ("relu with He's weights", partial(activated, "relu", "he")),
        ("tanh with Xavier's weights", partial(activated, "tanh", "xavier")),
        ("selu with LeCun's weights", partial(activated, "selu", "lecun")),
        ("batch normalisation before every activation", normalised),
        ("residual connections: x + F(x) passes the gradient of x on unchanged", residual),
    )
    return [(words, change) for words, change in found if change(layers) != tuple(layers)]


# -- code ---------------------------------------------------------------------------------------------------------


def code(thing):
    """A description as it is written in a program that says ``import bpfast as bp``."""
    names = {repr(initializer): repr(name) for name, initializer in reversed(INITIALIZERS.items())}
    text = re.sub(r"(?<=initializer=)\w+\(\)", lambda found: names.get(found[0], found[0]), repr(thing))
    return re.sub(r"'[^'\\]*'|\b(?=[A-Z]\w*[(\[])", lambda found: found[0] or "bp.", text)


def layers_code(layers):
    """A list of layers, in which what repeats stands once."""
    parts, k = [], 0
    while k < len(layers):
        counts = [(period, _repeats(layers[k:], period)) for period in (1, 2, 3)]
        period, times = max(counts, key=lambda count: count[0] * (count[1] - 1))
        group = ", ".join(map(code, layers[k : k + period]))
        parts.append(f"*[{group}] * {times}" if times > 1 else group)
        k += period * times
    return f"[{', '.join(parts)}]"


def _repeats(layers, period):
    """How often the first layers of this number follow one another."""
    times = 1
    while layers[times * period : (times + 1) * period] == layers[:period]:
        times += 1
    return times


def network_code(network):
    """``network = bp.Network([...], ...)``."""
    shape = network.input_shape[0] if len(network.input_shape) == 1 else network.input_shape
    dtype = "" if network.dtype == "float32" else f", dtype={network.dtype.name!r}"
    return f"network = bp.Network({layers_code(network.layers)}, input_shape={shape}{dtype}, seed={network.seed})"


def anew(trainer, change=None, **settings):
    """-> a Trainer of a new network, with changed layers, and with other settings than this one's."""
    old = trainer.network
    layers = change(old.layers) if change else old.layers
    network = Network(layers, input_shape=old.input_shape, dtype=old.dtype, seed=old.seed)
    made = {name: getattr(trainer, name) for name in signature(type(trainer)).parameters}
    made |= {"network": network, "metrics": [metric.function for metric in trainer.metrics], **settings}
    return type(trainer)(**made)


def cured_code(trainer, change=None, **settings):
    """The code of what ``anew`` makes."""
    trainer = anew(trainer, change, **settings)
    network, metrics, trainer.metrics = trainer.network, trainer.metrics, ()
    text = code(trainer).replace("(Network", "(network", 1)
    names = ", ".join(repr(name) if name in METRICS else name for name, *_ in metrics)
    text = f"{text[:-1]}, metrics=[{names}])" if names else text
    return f"{network_code(network)}\ntrainer = {text}"
