"""Who runs the workloads, the peak of the core, and how they are timed."""

import gc
import importlib
import math
import platform
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_info

from bpfast import backends

from . import conditions
from .workloads import SEED

conditions.begin()
native = None if backends.missing("native") else importlib.import_module("bpfast.backends.native")

DTYPES = ("float32", "float64")


class NumpyStep:
    """The step to beat: plain NumPy in which every buffer is made beforehand and every operation is in place."""

    LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

    def __init__(self, workload, dtype, X, y):
        self.workload, self.dtype, self.X = workload, dtype, X
        widths, batch = workload.widths, workload.batch
        self.Y = y if workload.loss == "squared_error" else np.eye(widths[-1], dtype=dtype)[y]
        self.initial = workload.network(dtype).to_vector()
        self.values = [np.empty((batch, n), dtype) for n in widths]
        self.deltas = [np.empty((batch, n), dtype) for n in widths]
        self.masks = [np.empty((batch, n), bool) for n in widths]
        self.targets = np.empty((batch, widths[-1]), dtype)
        self.column, self.ones_out = np.empty((batch, 1), dtype), np.ones(widths[-1], dtype)
        self.w, self.g, self.m, self.v = (self.initial.copy() for _ in range(4))
        self.weights, self.biases = workload.views(self.w)
        self.weight_gradients, self.bias_gradients = workload.views(self.g)
        each = [[part for views in zip(*workload.views(vector)) for part in views] for vector in
                (self.w, self.g, self.m, self.v, np.empty_like(self.w))]
        self.blocks = list(zip(*each))  # of every parameter: itself, its gradient, both moments, scratch
        self.reset()

    def reset(self):
        """Begin anew: long training can fill the moments with denormal numbers, which would slow NumPy down."""
        self.w[:] = self.initial
        self.m[:] = self.v[:] = 0
        self.steps, self.rng = 0, np.random.default_rng(SEED)

    def epochs(self, n):
        """Train for n epochs; -> the mean loss of the last."""
        batch = self.workload.batch
        for _ in range(n):
            order = self.rng.permutation(len(self.X))
            loss = sum(self.step(order[i : i + batch]) for i in range(0, len(order), batch))
        return loss / len(order)

    def step(self, rows):
        """One step of Adam on these rows; -> the sum of their losses."""
        values, deltas, last = self.values, self.deltas, len(self.weights) - 1
        np.take(self.X, rows, axis=0, out=values[0], mode="clip")  # the default mode copies through a buffer
        np.take(self.Y, rows, axis=0, out=self.targets, mode="clip")
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            z = np.matmul(values[i], weight, out=values[i + 1])
            np.add(z, bias, out=z)
            if i < last:
                np.maximum(z, 0, out=z)
        loss = self.squared_error(z) if self.workload.loss == "squared_error" else self.cross_entropy(z)
        delta = np.divide(z, len(rows), out=z)
        for i in range(last, -1, -1):
            np.matmul(values[i].T, delta, out=self.weight_gradients[i])
            np.sum(delta, axis=0, out=self.bias_gradients[i])
            if i > 0:
                delta = np.matmul(delta, self.weights[i].T, out=deltas[i])
                np.multiply(delta, np.greater(values[i], 0, out=self.masks[i]), out=delta)
        self.adam()
        return loss

    def squared_error(self, y):
        """-> the sum over the batch; y becomes its gradient."""
        np.subtract(y, self.targets, y)
        return 0.5 * np.vdot(y, y)

    def cross_entropy(self, z):
        """-> the sum over the batch; the logits z become its gradient."""
        column = np.maximum.reduce(z, axis=1, out=self.column, keepdims=True)
        np.subtract(z, column, z)
        loss = np.vdot(z, self.targets)
        np.exp(z, z)
        np.dot(z, self.ones_out, column[:, 0])
        np.divide(z, column, z)
        np.subtract(z, self.targets, z)
        return np.log(column, column).sum() - loss

    def adam(self):
        self.steps += 1
        correction = (1 - self.BETA2**self.steps) ** 0.5
        rate, epsilon = self.LEARNING_RATE * correction / (1 - self.BETA1**self.steps), self.EPSILON * correction
        for w, g, m, v, scratch in self.blocks:
            np.multiply(m, self.BETA1, out=m)
            np.add(m, np.multiply(g, 1 - self.BETA1, out=scratch), out=m)
            np.multiply(v, self.BETA2, out=v)
            np.multiply(g, g, out=g)
            np.add(v, np.multiply(g, 1 - self.BETA2, out=scratch), out=v)
            np.add(np.sqrt(v, out=scratch), epsilon, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.subtract(w, np.multiply(scratch, rate, out=scratch), out=w)


class TunedNumpyStep(NumpyStep):
    """What an expert can still take out of it; shown beside, for fairness.

    Adam runs once for all layers, in blocks that stay in the cache, with moments kept divided by 1 - beta, which
    saves two passes.  The mask of a relu is made once for both directions.  Scalars are arrays of no dimension: a
    Python float costs 0.1 us more in each call.
    """

    BLOCK = 1 << 18  # bytes of each of five vectors

    def __init__(self, workload, dtype, X, y):
        super().__init__(workload, dtype, X, y)
        size = self.BLOCK // self.w.itemsize
        scratch = np.empty(size, dtype)
        self.blocks = []
        for i in range(0, len(self.w), size):
            block = [vector[i : i + size] for vector in (self.w, self.g, self.m, self.v)]
            self.blocks.append((*block, scratch[: len(block[0])]))
        self.ones = np.ones(workload.batch, dtype)
        scalars = (0, 1 / workload.batch, self.BETA1, self.BETA2, np.nan, np.nan)
        self.zero, self.share, self.beta1, self.beta2, self.rate, self.epsilon = (np.array(s, dtype) for s in scalars)

    def step(self, rows):
        """One step of Adam on these rows; -> the sum of their losses."""
        values, deltas, masks = self.values, self.deltas, self.masks
        last = len(self.weights) - 1
        self.X.take(rows, axis=0, out=values[0], mode="clip")
        self.Y.take(rows, axis=0, out=self.targets, mode="clip")
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            z = np.dot(values[i], weight, values[i + 1])  # less overhead than matmul
            np.add(z, bias, z)
            if i < last:
                mask = np.greater(z, self.zero, masks[i + 1])
                np.multiply(z, mask, z)  # half the time of np.maximum
        loss = self.squared_error(z) if self.workload.loss == "squared_error" else self.cross_entropy(z)
        delta = np.multiply(z, self.share, z)
        for i in range(last, -1, -1):
            np.dot(values[i].T, delta, self.weight_gradients[i])
            np.dot(self.ones, delta, self.bias_gradients[i])
            if i > 0:
                delta = np.dot(delta, self.weights[i].T, deltas[i])
                np.multiply(delta, masks[i], delta)
        self.adam()
        return loss

    def adam(self):
        self.steps += 1
        scale, correction = (1 - self.BETA2) ** 0.5, (1 - self.BETA2**self.steps) ** 0.5
        rate = self.LEARNING_RATE * correction / (1 - self.BETA1**self.steps)
        self.rate[()] = rate * (1 - self.BETA1) / scale
        self.epsilon[()] = self.EPSILON * correction / scale
        for w, g, m, v, scratch in self.blocks:
            np.multiply(m, self.beta1, m)
            np.add(m, g, m)
            np.multiply(g, g, g)
            np.multiply(v, self.beta2, v)
            np.add(v, g, v)
            np.sqrt(v, scratch)
            np.add(scratch, self.epsilon, scratch)
            np.divide(m, scratch, scratch)
            np.multiply(scratch, self.rate, scratch)
            np.subtract(w, scratch, w)


NUMPY_STEPS = {"numpy": NumpyStep, "tuned": TunedNumpyStep}


class Fit:
    """The same work through the door that users take: ``Trainer.fit``, with all that it costs."""

    def __init__(self, workload, dtype, X, y, backend, record_every=None, **options):
        self.trainer, self.dtype, self.X, self.y = workload.trainer(backend, dtype, **options), dtype, X, y
        self.record_every = record_every
        self.initial = self.trainer.network.to_vector()

    def reset(self):
        self.trainer.network.from_vector(self.initial)

    def epochs(self, n):
        self.trainer.fit(self.X, self.y, epochs=n, record_every=self.record_every, verbose=False)


def need(backend):
    """Skip a benchmark, as asv does on this error, where its backend cannot run."""
    if backend in backends.BACKENDS and backends.missing(backend):
        raise NotImplementedError(f"backend {backend!r} cannot run here: {backends.missing(backend)}")


def contestant(name, workload, dtype):
    """Who trains the workload: "numpy" and "tuned" are the steps above, "reference" is bpfast's NumPy backend.

    It has trained for an epoch, which makes plans, touches memory, and compiles where a backend does.
    """
    X, y = workload.data(dtype)
    if name in NUMPY_STEPS:
        assert all(library["num_threads"] == 1 for library in threadpool_info()), threadpool_info()
        check_numpy_step(name, workload)
        chosen = NUMPY_STEPS[name](workload, dtype, X, y)
    else:
        chosen = Fit(workload, dtype, X, y, "numpy" if name == "reference" else name)
    chosen.epochs(1)
    return chosen


@cache
def check_numpy_step(name, workload, steps=3):
    """Assert that a NumPy step learns what bpfast's reference learns: both in float64, from the same rows."""
    X, y = workload.data("float64", rows=steps * workload.batch)
    trainer, baseline = workload.trainer("numpy", "float64"), NUMPY_STEPS[name](workload, "float64", X, y)
    loss = trainer.fit(X, y, epochs=1, shuffle=False, verbose=False)["loss"][-1]
    losses = [baseline.step(rows) for rows in np.arange(len(X)).reshape(steps, -1)]
    np.testing.assert_allclose(sum(losses) / len(X), loss, rtol=1e-10)
    np.testing.assert_allclose(baseline.w, trainer.network.to_vector(), rtol=0, atol=1e-10)


def race(*contestants, rounds, seconds=0.1):
    """Let them train in turns, each for about so many seconds a round.

    -> (contestants, rounds) seconds per epoch, and the peak of the core in FLOP/s, measured in every round like them:
    independent fused multiply-adds in registers, the best of all rounds; NaN without the native backend.
    """
    epochs, peak = [], -np.inf if native else np.nan
    for c in contestants:
        begin = perf_counter()
        c.epochs(1)
        epochs.append(math.ceil(seconds / (perf_counter() - begin)))
    times = np.empty((len(contestants), rounds))
    gc.collect()
    for r in range(rounds):
        for i, c in enumerate(contestants):
            c.reset()
            begin = perf_counter()
            c.epochs(epochs[i])
            times[i, r] = (perf_counter() - begin) / epochs[i]
        if native:
            peak = max(peak, 1e9 * native.fma_peak(contestants[0].dtype))
    return times, peak


def describe():
    """Lines of text: the CPU, its level, and the BLAS that NumPy runs on."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.open() if line.startswith("model name")]
        name = names[0] if names else name
    yield f"CPU: {name}, level in use: {native.cpu_level() if native else 'none, the native backend is missing'}"
    for blas in threadpool_info():
        if blas["user_api"] == "blas":
            library = f"{blas['internal_api']} {blas['version']} for {blas.get('architecture')}"
            yield f"NumPy {np.__version__}: {library}, {blas['num_threads']} thread"
