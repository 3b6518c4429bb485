"""bpfast through ``Trainer.fit``: it shuffles, checks the rows and keeps a history on the clock."""

import numpy as np

import bpfast as bp


class Bpfast:
    version = bp.__version__
    backend = "auto"

    def __init__(self, workload, X, y, layers, threads):
        self.X, self.y = X, y
        self.initial = [part for layer in layers for part in layer]
        self.trainer = workload.trainer(self.backend, "float32", n_threads=threads)
        self.parameters = [*self.trainer.network.parameters.values()]

    def ready(self, orders):
        """The moments stay; those of the first epochs are fresh."""
        self.epochs = len(orders)
        for parameter, initial in zip(self.parameters, self.initial):
            np.copyto(parameter, initial)

    def train(self):
        self.trainer.fit(self.X, self.y, epochs=self.epochs, verbose=False)

    def layers(self):
        return [*zip(self.parameters[::2], self.parameters[1::2])]


class Numba(Bpfast):
    backend = "numba"
