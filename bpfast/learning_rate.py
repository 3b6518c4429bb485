"""The learning-rate range test.   Source: Smith 2017, section 3.3."""

import copy
from itertools import count

import numpy as np

from . import data
from .divergence import DivergenceError
from .task import check_rows
from .trainer import SECONDS_PER_RUN

SMOOTHING = 0.95  # of the moving average of losses
EXPLODED = 4.0  # times its size or its fall above where it began, the smoothed loss ends the test


class LearningRateTest:
    """What a range test saw, an entry per step.

    rates     (n,) the learning rate
    losses    (n,) of the batch, without penalties, before the step
    smoothed  (n,) moving average of the losses, without bias
    """

    def __init__(self, rates, losses, smoothed):
        self.rates, self.losses, self.smoothed = rates, losses, smoothed

    @property
    def suggestion(self):
        """The smaller of a tenth of the rate of the smallest smoothed loss, and the rate where half its fall is done.

        Beyond the first the loss may grow; beyond the second a small problem may have been learned before it could.
        """
        smallest = np.argmin(self.smoothed)
        fall = self.smoothed[: smallest + 1]
        half = np.flatnonzero(fall >= (fall.max() + fall[-1]) / 2)[-1]  # the last: noise at low rates falls too
        return float(min(self.rates[smallest] / 10, self.rates[half]))

    def plot(self, ax=None):
        """Draw the losses over the rates; -> the matplotlib Axes."""
        from .plots import learning_rate_curve

        return learning_rate_curve(self, ax)

    def __repr__(self):
        return f"LearningRateTest({len(self.rates)} steps, suggestion={self.suggestion:.3g})"


def find_learning_rate(trainer, X, y, *, sample_weight=None, lowest=1e-6, highest=10.0, steps=300):
    """Train a copy of a trainer at rates that grow from step to step, until the loss explodes; -> LearningRateTest.

    Parameters
    ----------
    trainer : Trainer
        Stays as it is; its network, loss, optimizer, batch size and seed are those of the test.
    X, y, sample_weight
        As for ``Trainer.fit``; gone through as often as the steps need.
    lowest, highest : float
        The rates of the first step and of the last; between them they grow by the same factor.
    steps : int

    ``trainer.optimizer = bp.Adam(find_learning_rate(trainer, X, y).suggestion)`` takes what it finds.
    Raises ValueError and TypeError as ``fit`` does, and DivergenceError where even the lowest rate explodes.
    """
    steps = data.check_integer(steps, "steps", 2)
    lowest = data.check_real(lowest, "lowest", "(0, inf)")
    highest = data.check_real(highest, "highest", "(0, inf)")
    if lowest >= highest:
        raise ValueError(f"lowest must be below highest, got {lowest!r} and {highest!r}")
    if trainer.optimizer.update is None or trainer.optimizer.full_batch:
        raise ValueError(f"{trainer.optimizer!r} finds its steps by itself: there is no learning rate to look for")
    trainer = copy.deepcopy(trainer)
    rows = check_rows(trainer, X, y, sample_weight)
    rates = np.geomspace(lowest, highest, steps)
    losses, smoothed = _sweep(trainer, rows, rates)
    if not losses:
        raise DivergenceError(f"the loss is not finite at the lowest rate, {lowest:g}: try a smaller one, or scale X")
    return LearningRateTest(rates[: len(losses)], np.array(losses), np.array(smoothed))


def _sweep(trainer, rows, rates):
    """-> (losses, smoothed losses) of a step at each rate, until the loss explodes."""
    state, plan = trainer._begin(rows.X), trainer._plan
    losses, smoothed, average = [], [], 0.0
    table = trainer.optimizer.coefficients_at(state.steps + np.arange(1.0, len(rates) + 1), rates)
    with plan.workspace() as workspace:
        for coefficients, batch in zip(table, _batches(plan, rows, trainer.seed)):
            workspace.start(seed=trainer.seed)
            done = 0
            while done < len(batch) and not workspace.diverged:
                done = plan.run_batches(
                    state, workspace, rows, batch, done, coefficients[None], SECONDS_PER_RUN)
            if workspace.diverged:
                break
            losses.append(workspace.loss_sum / workspace.weight_sum)
            average = SMOOTHING * average + (1 - SMOOTHING) * losses[-1]
            smoothed.append(average / (1 - SMOOTHING ** len(losses)))
            first, least = smoothed[0], min(smoothed)
            if smoothed[-1] > first + EXPLODED * max(first - least, abs(first)):
                break
    return losses, smoothed


def _batches(plan, rows, seed):
    """Yield the rows of one batch after the other, epoch after epoch; those of zero weight make no step."""
    for epoch in count():
        order = plan.permutation(len(rows.X), seed, epoch)
        for begin in range(0, len(order), plan.batch_size):
            batch = order[begin : begin + plan.batch_size]
            if rows.weight is None or rows.weight[batch].any():
                yield batch
