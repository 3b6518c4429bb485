"""Several fits from different weights, of which the best stays."""

from typing import NamedTuple

import numpy as np

from .divergence import DivergenceError
from .history import History
from .ops import random
from .optimizers import Optimizer
from .recording import Recording


class Attempt(NamedTuple):
    """What a fit left, and the loss that it is judged by."""

    loss: float
    seed: int | None
    arrays: dict
    resume: dict
    history: History
    recording: Recording | None
    epoch: int
    optimizer: Optimizer


def fit_often(trainer, task, restarts):
    """Fit so often, first from the parameters of now, then from new draws; the trainer becomes the best of them.

    Each but the first is what a Trainer of the same seed does with a network of the seed drawn here.
    """
    best, diverged, optimizer = None, None, trainer.optimizer
    try:
        for restart in range(restarts):
            task.progress.restart(restart + 1, restarts)
            if restart:
                low, high = random.words(2, trainer.seed, random.RESTART, restart).tolist()
                trainer._state, trainer.history, trainer.recording, trainer._epoch = None, History(), None, 0
                trainer.optimizer = optimizer
                trainer.network.redraw(low + (high << 32))
            error = _error_of(trainer, task)
            if error:
                diverged = error
                continue
            loss = np.nan_to_num(trainer._evaluate(task.validation or task.rows, task.held)["loss"], nan=np.inf)
            if best is None or loss < best.loss:
                seed, arrays = trainer.network.seed, trainer.network.snapshot()
                best = Attempt(loss, seed, arrays, trainer._remembered(), trainer.history,
                               trainer.recording, trainer._epoch, trainer.optimizer)
            if trainer._stopped:
                break
        if best is None:
            raise diverged
        restore(trainer, best)
    except BaseException:
        if best is not None:
            restore(trainer, best)
        raise


def _error_of(trainer, task):
    """Fit once; -> the DivergenceError that it ended in, or None."""
    try:
        trainer._run(task)
    except DivergenceError as error:
        return error


def restore(trainer, attempt):
    """Make a trainer what it was after an attempt."""
    trainer._state, trainer._resume = None, attempt.resume
    trainer.history, trainer.recording, trainer._epoch = attempt.history, attempt.recording, attempt.epoch
    trainer.optimizer = attempt.optimizer
    trainer.network.seed = attempt.seed
    trainer.network.restore(attempt.arrays)
