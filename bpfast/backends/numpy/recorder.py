"""The sums behind the figures of a step, by NumPy from its forward pass and its gradients."""

import numpy as np

from ...ops.figures import POSITIVE, active, flat, powers, squares
from .. import recorder
from ..recorder import is_due


def signals(plan, layer, forward):
    """-> z and y = f(z) of a layer, from a forward pass of the plan's ``trained`` program."""
    z, y = forward.before[layer.last.output], forward.values[layer.last.output]
    if layer.last.activation != layer.activation:  # the loss reads logits
        y = plan.kernels.activation_forward(layer.activation, z)
    return z, y


def slopes(plan, layer, z, y):
    """-> f'(z) of a layer."""
    return plan.kernels.activation_adjoint(layer.activation, np.ones_like(z), z, y)


class Recorder(recorder.Recorder):
    def __init__(self, plan, every):
        super().__init__(plan, every)
        self._plan = plan
        self._last, self._last_step = {}, None  # gradients of the step before, where this one is recorded
        self._rectifiers = [(layer, layer.is_gate) for layer in self.layers if layer.is_rectifier]

    def begin_epoch(self):
        """From here on no unit is known to be active."""
        self._seen = {layer.weight: False for layer, _ in self._rectifiers}  # (units,), whether they are
        self._unseen = self._rectifiers  # of which not all are

    def step(self, state, forward, gradients, before, begin, n_rows):
        """Look at a step just made: of the batch at row ``begin`` of an epoch of n_rows, by a forward pass and its
        gradients; ``before`` are the state's arrays of then.
        """
        batch, step = self._plan.batch_size, state.steps - 1
        end = begin + batch
        self._see(forward)
        if is_due(step, self.every, end >= n_rows):
            last = self._last if self._last_step == step else {}
            self.records.append((state.steps, [
                self._sums(layer, forward, gradients[layer.weight], last.get(layer.weight), before[layer.weight][0],
                           state.arrays[layer.weight][0]) for layer in self.layers]))
        if is_due(step + 1, self.every, n_rows - end <= batch):
            self._last, self._last_step = gradients, step + 1

    def _see(self, forward):
        """Which units of rectifiers this epoch has found active."""
        for layer, is_gate in self._unseen:
            z, y = signals(self._plan, layer, forward)
            found = active(y, POSITIVE) if is_gate else active(slopes(self._plan, layer, z, y), layer.least)
            self._seen[layer.weight] = self._seen[layer.weight] | found
        self._unseen = [rectifier for rectifier in self._unseen if not self._seen[rectifier[0].weight].all()]

    def _sums(self, layer, forward, gradient, last, old, new):
        """SUMS of a layer, whose weight the step has changed from old to new."""
        z, y = signals(self._plan, layer, forward)
        return [
            squares(gradient),
            np.nan if last is None else squares(gradient, last),
            np.nan if last is None else squares(last),
            squares(old),
            squares(new.astype(np.float64) - old),
            *powers(z), *powers(y),
            flat(slopes(self._plan, layer, z, y), layer.least) if layer.saturates else np.nan,
            1 - np.mean(self._seen[layer.weight]) if layer.is_rectifier else np.nan,
        ]
