"""The loss of a network in float64, its derivatives, and how far from them another dtype may be."""

import math

import numpy as np

from . import data
from .backends.base import FIRST_DRAW, Data
from .backends.numpy import Plan
from .differentiation import is_analytic, size_of, slope
from .ops import ACTIVATIONS
from .ops.regularization import NO_CLIP

NEARBY = 1e-6  # of a tensor's largest entry: what crosses a kink within this is at the kink
ROUNDINGS, NOISY_RUNS = 8, 12  # of the noise that tolerances are measured by
SHORT_SUM = 256  # terms: the roundings of partial sums, 0.2 n, are a 14th of 4 times the noise of terms, 8 sqrt(2 n)


class Reference:
    """The loss of a network as the NumPy backend computes it in float64, and its derivatives.

    A point is a dict name -> array, float64 or complex: the parameters, the statistics, and the data as "X".
    The loss is that of a step of training, whose noise is the same at every point.
    """

    def __init__(self, network, loss, X, y, sample_weight, restraints):
        X = data.check_inputs(X, network.input_shape, network.dtype)
        rows = data.check_data(X, y, sample_weight, loss, network.program, network.dtype)
        self._start = {name: array.astype(np.float64) for name, array in network.arrays.items()}
        self._start["X"] = rows.X.astype(network.dtype).astype(np.float64)
        self._y = rows.y if loss.labels else rows.y.astype(network.dtype).astype(np.float64)
        self._weight = np.ones(len(rows.X)) if rows.weight is None else rows.weight
        self._network, self._loss, self._restraints = network, loss, restraints

    def value(self, point, rows=slice(None)):
        """E, the number that is differentiated, or the part of it that some rows make."""
        plan = self._plan(Plan, point["X"].dtype)
        losses = plan.training_losses(point, self._data(point, rows))
        return (losses @ self._weight[rows]).item() / self._weight.sum() + plan.penalty(point, self._weight.sum())

    def gradient(self):
        """-> E, {name: dE/d(tensor)}."""
        return self._gradient(self._plan(Plan), self._start)

    def tolerances(self, exact, rng):
        """Name -> how far a gradient in the network's dtype may be from the exact one."""
        info = np.finfo(self._network.dtype)
        longer = max(1, longest_sum(self._network.program, len(self._y)) / SHORT_SUM)
        eps = ROUNDINGS * math.sqrt(longer) * float(info.eps)  # noise of n terms grows like sqrt(n), their walk like n
        noise = {name: eps * float(np.abs(array).max()) for name, array in exact.items()}
        if self._plan(Plan).loss.fuses:
            noise["loss"] += eps  # -log p has the rounding of p = 1
        for _ in range(NOISY_RUNS):
            plan = self._plan(Noisy)
            plan.start(rng, eps, float(info.tiny), self._weight / self._weight.sum())
            loss, found = self._gradient(plan, {name: plan.noisy(array) for name, array in self._start.items()})
            for name, array in {**found, "loss": loss}.items():
                noise[name] = max(noise[name], float(np.abs(array - exact[name]).max()))
        return {name: 4 * most for name, most in noise.items()}

    def is_analytic(self, rng):
        """Whether complex steps may be taken."""
        still = self._network.program.statistics
        v = {name: size_of(array) * rng.normal(size=array.shape) * (name not in still)
             for name, array in self._start.items()}
        return is_analytic(lambda t: self.value({name: x + t * v[name] for name, x in self._start.items()}))

    def slopes(self, name, found, draw, analytic):
        """-> [(index, derivative found, Slope or None at a kink)] of one tensor."""
        if name not in self._start:
            return []
        slopes, x = [], self._start[name]
        points = {dtype: {key: array.astype(dtype) for key, array in self._start.items()} for dtype in (float, complex)}
        moved = lambda t, v: {**points[type(t)], name: points[type(t)][name] + t * v}
        for index, v in draw.along(x):
            aside = NEARBY * size_of(x)
            alone = name == "X" and index and not self._network.program.mixes_rows
            rows = [index[0]] if alone else slice(None)  # an entry of X moves its own row
            smooth = self._sides(moved(-aside, v), rows) == self._sides(moved(aside, v), rows)
            line = lambda t, v=v, rows=rows: self.value(moved(t, v), rows)
            expected = slope(line, size_of(x), analytic, terms=1.0) if smooth else None  # a log of 1 - p
            slopes.append((index, float((found * v).sum(dtype=np.float64)), expected))
        return slopes

    def _sides(self, point, rows):
        """On which side of each kink every pre-activation is, and every weight that |w| is added of; what won in pools.

        As bytes.
        """
        plan = self._plan(Plan)
        sides = [point[name] for name, restraint in self._restraints.items() if restraint.l1]
        kinked = [i for i in plan.trained.instructions if i.activation.kinks]
        pools = [i for i in plan.trained.instructions if i.op == "max_pool"]
        if kinked or pools:
            forward = plan.activations(point, point["X"][rows], plan.trained, FIRST_DRAW)
            sides += [forward.before[i.output] - kink for i in kinked for kink in i.activation.kinks]
        return [*(np.sign(side).astype(np.int8).tobytes() for side in sides),
                *(forward.kept[i.output].tobytes() for i in pools)]

    def _plan(self, kind, dtype=np.float64):
        return kind(self._network.program, dtype, self._loss, None, 1, self._restraints, NO_CLIP)

    def _gradient(self, plan, point):
        state = plan.new_state(point)
        loss = plan.gradient(state, None, self._data(point)) + plan.penalty(point, self._weight.sum())
        return loss, {**state.gradients(), "X": plan.input_gradient(point, None, self._data(point))}

    def _data(self, point, rows=slice(None)):
        return Data(point["X"][rows], self._y[rows], self._weight[rows])


def longest_sum(program, rows):
    """The most terms of a number: rows x pixels of an image in a gradient, or the inputs of a unit."""
    pixels = max(math.prod(shape[:-1]) for shape in program.value_shapes)
    inputs = max((math.prod(shape[:-1]) for shape in program.shapes.values()), default=1)
    return max(rows * pixels, inputs)


class Noisy(Plan):
    """The reference with every number off by ``eps`` of itself, up or down at random."""

    def start(self, rng, eps, tiny, share):
        """``tiny`` is the smallest normal number, ``share`` (n,) that of each row in the mean loss."""
        self._rng, self._eps, self._tiny, self._share = rng, eps, tiny, share

    def noisy(self, array):
        """What is smaller than the smallest normal number is flushed to zero; zero itself is exact."""
        lost = self._tiny * self._signs(array) * (array != 0)
        return array * (1 + self._eps * self._signs(array)) + lost

    def _signs(self, array):
        return self._rng.choice([-1.0, 1.0], np.shape(array))

    def _same_dtype(self, array):
        return self.noisy(super()._same_dtype(array))

    def _backward(self, arrays, forward, delta):
        # A delta is a difference of numbers as large as the outputs: it has their roundings, and its own.
        y = forward.values[self.trained.output]
        outputs = ACTIVATIONS[self.loss.fuses[0]].forward(y) if self.loss.fuses else np.abs(y)
        roundings = self._eps * (outputs * self._share[:, None] + np.abs(delta)) + self._tiny
        return super()._backward(arrays, forward, delta + roundings * self._signs(delta))
