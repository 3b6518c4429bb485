"""What happened while training: an array per quantity, an entry per epoch."""

from collections.abc import Mapping

import numpy as np

from .extras import need


class History(Mapping):
    """Name -> array with an entry per finished epoch: "loss", "seconds", "val_loss", "val_accuracy", ...

    "loss" is the mean over the epoch's rows while the parameters were changing; metrics are measured on validation
    data alone, since training data would need a second pass.
    Where a quantity was not measured in an epoch its entry is NaN.
    """

    def __init__(self):
        self._epochs = []

    def append(self, **quantities):
        """Add the figures of an epoch."""
        self._epochs.append({name: float(value) for name, value in quantities.items()})

    @property
    def n_epochs(self):
        """The number of finished epochs."""
        return len(self._epochs)

    @property
    def last(self):
        """The figures of the last finished epoch, a dict."""
        return dict(self._epochs[-1]) if self._epochs else {}

    def since(self, n):
        """-> list of the figures of the epochs after the first n, dicts."""
        return self._epochs[n:]

    def follow(self, name):
        """Yield a quantity of every epoch, NaN where it was not measured; goes on with the epochs that are added."""
        for epoch in self._epochs:
            yield epoch.get(name, np.nan)

    def to_pandas(self):
        """-> pandas.DataFrame, a column per quantity, a row per epoch; its index "epoch" counts from 1."""
        pandas = need("pandas", "History.to_pandas")
        return pandas.DataFrame(dict(self), index=pandas.RangeIndex(1, self.n_epochs + 1, name="epoch"))

    def plot(self, metric="loss", ax=None):
        """Draw a quantity over the epochs, of training and validation data as far as they are there.

        -> the matplotlib Axes; ``history.plot().figure.savefig("curves.png")`` writes the picture.
        """
        from .plots import learning_curves

        return learning_curves(self, ax, metric=metric)

    def _names(self):
        return list(dict.fromkeys(name for epoch in self._epochs for name in epoch))

    def __getitem__(self, name):
        if name not in self._names():
            raise KeyError(f"no {name!r} in this history; it has: {', '.join(self._names()) or 'no epoch yet'}")
        return np.array([epoch.get(name, np.nan) for epoch in self._epochs])

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return list(self) == list(other) and all(np.array_equal(self[name], other[name], True) for name in self)

    __hash__ = None  # it grows

    def __repr__(self):
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items())
        return f"History({self.n_epochs} epochs{'; last: ' + figures if figures else ''})"
