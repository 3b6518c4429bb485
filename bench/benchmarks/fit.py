"""Whole fits on real data: the handwritten digits that ship with bpfast, 64-256-128-10."""

import bpfast as bp
from bpfast.demo import optdigits

from .common import need

BACKENDS = ["native", "numba", "numpy"]


class Optdigits:
    params = (BACKENDS,)
    param_names = ("backend",)

    def setup(self, backend):
        need(backend)
        self.X, self.y, self.X_test, self.y_test = optdigits()
        self.fit(backend, 1)  # compiles, where a backend does

    def fit(self, backend, epochs):
        net = bp.Network([bp.Dense(256, "relu"), bp.Dense(128, "relu"), bp.Dense(10, "softmax")], seed=0)
        trainer = bp.Trainer(
            net, loss="cross_entropy", optimizer=bp.Adam(1e-3), batch_size=32, seed=0, backend=backend
        )
        trainer.fit(self.X, self.y, epochs=epochs, verbose=False)
        return trainer

    def time_fit(self, backend):
        self.fit(backend, 3)

    def peakmem_fit(self, backend):
        self.fit(backend, 3)

    def track_accuracy(self, backend):
        """On the test set, after 10 epochs."""
        return self.fit(backend, 10).evaluate(self.X_test, self.y_test)["accuracy"]

    track_accuracy.unit = "share of test digits"
