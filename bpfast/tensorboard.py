"""Scalars for TensorBoard, written by tensorboardX."""

import os
import uuid

import numpy as np

from .callbacks import Callback
from .description import Description
from .extras import need
from .recording import FIGURES


class TensorBoard(Callback, Description):
    """Write what a fit finds for TensorBoard, which ``tensorboard --logdir <folder>`` shows.

    The figures of every epoch, such as "loss", over the epochs; with ``fit(..., record_every=k)`` the quantities of the
    Recording too, over the steps, as "gradient_norm/<layer>" and so on.  Needs tensorboardX, the extra "tensorboard".

    Parameters
    ----------
    folder : str or path
        Of this run; it is made where it is not there.  Every fit adds a file of its own.
    """

    __slots__ = ("folder",)

    def __init__(self, folder):
        self._set(folder=os.fspath(folder))

    def prepare(self, names):
        return Journal(need("tensorboardX", "TensorBoard").SummaryWriter, self.folder)


class Journal(Callback):
    """A TensorBoard at work in one fit; what it has written is in the file after every epoch."""

    def __init__(self, new_writer, folder):
        self._new_writer, self._folder = new_writer, folder

    def begin(self, trainer):
        self._writer = self._new_writer(self._folder, filename_suffix=f".{uuid.uuid4().hex}")  # names tell seconds
        self._written = len(trainer.recording or ())  # records

    def epoch(self, trainer, figures):
        for name, value in figures.items():
            self._writer.add_scalar(name, value, trainer.history.n_epochs)
        recording = trainer.recording
        for figure in FIGURES if recording is not None else ():
            for step, values in zip(recording.steps[self._written :], getattr(recording, figure)[self._written :]):
                for layer, value in zip(recording.layers, values):
                    if np.isfinite(value):
                        self._writer.add_scalar(f"{figure}/{layer}", value, step)
        self._written = len(recording or ())
        self._writer.flush()

    def end(self, trainer):
        self._writer.close()
