"""Plain NumPy in which every buffer is made beforehand."""

import numpy as np

from ..benchmarks.common import NumpyStep


class Numpy:
    version = np.__version__

    def __init__(self, workload, X, y, layers, threads):
        self.step, self.batch = NumpyStep(workload, "float32", X, y), workload.batch  # draws the same layers itself

    def ready(self, orders):
        self.orders = orders.astype(np.intp)
        self.step.reset()

    def train(self):
        for order in self.orders:
            for rows in order.reshape(-1, self.batch):
                self.step.step(rows)

    def layers(self):
        return [*zip(self.step.weights, self.step.biases)]
