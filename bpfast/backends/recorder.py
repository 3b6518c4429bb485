"""What is looked at while a network trains: which layers, in which steps, and the sums that are taken there."""

from collections import Counter, deque
from typing import NamedTuple

import numpy as np

from ..ops.figures import SLOPES, is_sigmoidal, least_slope
from ..ops.table import Activation
from .base import ACTIVATES, LINEAR, Instruction, gates

ON_THE_WAY = "batch_norm", "layer_norm", "scale", "dropout", "alpha_dropout", "activation"  # from sum to f


class Layer(NamedTuple):
    """A dense or convolutional layer of a plan's ``trained`` program, up to its activation f."""

    maker: Instruction  # of the sum
    weight: str
    last: Instruction  # does f, or makes the logits that the loss reads
    activation: Activation  # f
    least: float  # |f'(z)| below it is flat, or dead; 0: never

    @property
    def name(self):
        return self.maker.layer

    @property
    def where(self):
        """Where z and y are after the way back: recorder.h."""
        if self.activation != self.last.activation:
            return "logits"
        if self.activation == LINEAR or self.activation.has_slopes:
            return "nowhere"
        return "apart" if self.last.op == "activation" else "made" if self.last.op in ACTIVATES else "nowhere"

    @property
    def is_rectifier(self):
        """Whether units may die."""
        return self.least > 0 and not is_sigmoidal(self.activation)

    @property
    def is_gate(self):
        """Whether units are active where y is not 0: f is relu, or written like it, and nowhere negative."""
        return gates(self.activation) and bool((self.activation.forward(SLOPES, *self.activation.values) >= 0).all())

    @property
    def saturates(self):
        """Whether numbers may be saturated."""
        return self.least > 0 and is_sigmoidal(self.activation)


def layers_of(plan):
    """-> the Layers of a plan, from the input on."""
    program, found = plan.trained, []
    for i in program.instructions:
        weight = next((name for name in i.parameters if len(program.shapes[name]) > 1), None)
        if weight is not None:
            last = _activated(program, i)
            fused = last.output == program.output and program is not plan.program
            f = plan.program.last_activation if fused else last.activation
            found.append(Layer(i, weight, last, f, least_slope(f)))
    return tuple(found)


def _activated(program, i):
    """The instruction that does the activation of a layer: itself, or one behind a normalisation."""
    readers = Counter(value for other in program.instructions for value in other.inputs)
    while i.activation == LINEAR and readers[i.output] == 1:
        reader = next(other for other in program.instructions if i.output in other.inputs)
        if reader.op not in ON_THE_WAY:
            break
        i = reader
    return i


def is_due(step, every, ends_epoch):
    """Whether step number ``step``, from 0 on, is recorded; the C twin is bp_is_due."""
    return step % every == 0 or ends_epoch


class Recorder:
    """Records steps 0, every, 2 every ... of a training and the last of every epoch; ``records`` is taken from.

    A record is the number of steps that were finished with it, and the SUMS (layers, sums).  Dead units are those
    that no batch of the epoch has found active.
    """

    def __init__(self, plan, every):
        self.every, self.layers, self.records = every, layers_of(plan), deque()

    def take(self):
        """-> steps (records,), sums (records, layers, sums): what was recorded, which is then forgotten."""
        steps, sums = zip(*self.records)
        self.records.clear()
        return np.array(steps, np.int64), np.array(sums, np.float64)
