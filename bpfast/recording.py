"""What the layers did while they were trained: arrays per quantity, a row per record."""

import numpy as np

from .extras import need
from .ops.figures import SUMS, figures


class Recording:
    """Figures of every dense or convolutional layer in some steps of training: ``Trainer.fit(..., record_every=k)``.

    Steps 1, 1 + k, 1 + 2 k, ... of the trainer are recorded, and the last of every epoch.  With E the training loss of
    the batch, penalties included, z what the layer's activation reads, after a normalisation between, y = f(z):

    steps                (records,) int64, the steps that the trainer had finished
    layers, activations  names of the layers, from the input on, and of their activations; tuples
    gradient_norm        (records, layers) float64, as all that follow: |dE/dW|, before it is clipped
    weight_norm          |W| before the step
    update_norm          |W after - W before|
    update_ratio         update_norm / weight_norm; 0.001 is a usual size
    gradient_angle       degrees between dE/dW and that of the step before; NaN in the first
    activation_mean, activation_std, pre_activation_mean, pre_activation_std
                         of y and z, over rows and units of the batch; in the native backend of its last 1024 rows
    saturated            share of numbers z with |f'(z)| < 0.05 max |f'|; NaN where f is not flat at both ends
    dead                 share of units with |f'(z)| < 0.001 max |f'| for every row that the epoch has seen so far; NaN
                         where f is no rectifier
    """

    def __init__(self, layers):
        self.layers, self.activations = tuple(i.name for i in layers), tuple(i.activation.name for i in layers)
        self._parts = [(np.empty(0, np.int64), np.empty((0, len(self.layers), len(SUMS))))]  # steps, sums

    def take(self, recorder):
        """Add what a backend's recorder has found."""
        if recorder.records:
            self._parts.append(recorder.take())

    @property
    def steps(self):
        return self._whole()[0]

    def _whole(self):
        """-> steps (records,), sums (records, layers, sums), in one piece from now on."""
        if len(self._parts) > 1:
            self._parts = [tuple(map(np.concatenate, zip(*self._parts)))]
        return self._parts[0]

    def __getattr__(self, name):
        if name.startswith("_") or name not in (found := self._figures()):
            raise AttributeError(f"a Recording has no {name!r}; it has: {', '.join(FIELDS)}")
        return found[name]

    def _figures(self):
        found = figures(dict(zip(SUMS, np.moveaxis(self._whole()[1], -1, 0))))
        with np.errstate(all="ignore"):
            return {**found, "update_ratio": found["update_norm"] / found["weight_norm"]}

    def __len__(self):
        return len(self.steps)

    def to_pandas(self):
        """-> pandas.DataFrame, a column per quantity, a row per step and layer."""
        pandas = need("pandas", "Recording.to_pandas")
        index = pandas.MultiIndex.from_product([self.steps, self.layers], names=["step", "layer"])
        return pandas.DataFrame({name: array.ravel() for name, array in self._figures().items()}, index)

    def __repr__(self):
        upto = f", up to step {self.steps[-1]}" if len(self) else ""
        return f"Recording({len(self)} records of {len(self.layers)} layers{upto})"


FIGURES = tuple(Recording(())._figures())
FIELDS = "steps", "layers", "activations", *FIGURES
