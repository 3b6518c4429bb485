"""What a fit is asked to do, checked before any work."""

import math
import sys
import warnings
from numbers import Real
from typing import NamedTuple

import numpy as np

from . import data
from .backends.base import LINEAR, Data, Order
from .callbacks import prepare_callbacks
from .lbfgs import check_restraints
from .metrics import check_measured, check_metrics
from .progress import Progress
from .schedules import Schedule


class Task(NamedTuple):
    """Rows, and how often and in which order they are learned from."""

    rows: Data
    training: np.ndarray | None  # which of the rows are learned from; None: all
    validation: Data | None
    held: np.ndarray | None  # which rows of the validation are evaluated; None: all
    epochs: int
    shuffle: bool
    callbacks: list
    record_every: int | None
    progress: Progress

    @property
    def n(self):
        """The number of rows that are learned from."""
        return len(self.rows.X if self.training is None else self.training)

    def order(self, seed):
        """-> Order of the rows to learn from."""
        return Order(self.n, self.training, self.shuffle, seed)

    @property
    def watched(self):
        """Whether something looks on at the end of every epoch, or a step may be left out, which only Python counts."""
        weight = self.rows.weight
        return bool(self.callbacks or self.validation or (weight is not None and weight.min() == 0))

    def some_rows(self):
        """-> Data, a copy of at most 1000 of the rows that are learned from, for who looks at the network; or None."""
        if not (self.record_every or any(callback.looks_at_rows for callback in self.callbacks)):
            return None
        return data.few_rows(self.rows, self.training)

    def all_rows(self):
        """-> Data of every row, where those not to learn from have weight zero."""
        if self.training is None:
            return self.rows
        weight = np.zeros(len(self.rows.X))
        weight[self.training] = 1 if self.rows.weight is None else self.rows.weight[self.training]
        return self.rows._replace(weight=weight)


def check_pair(network, loss):
    """Refuse an output activation and a loss that do not belong together, naming the pair that was meant."""
    makers = [layer for layer in network.layers if layer.output_activation is not None]
    layer = makers[-1] if makers else network.layers[-1]
    last = network.program.last_activation if network.program else layer.output_activation or LINEAR
    units = getattr(layer, "units", "n_out")
    if not loss.accepts(last):
        activation, whole = loss.pair
        belongs, other = activation, "take loss 'squared_error'"
        if loss.fuses:
            belongs, other = "linear", f"in Dense({units}, 'linear') with {loss.name!r}, which reads logits"
        given = [layer.activation.name for layer in makers if hasattr(layer, "activation")]
        if last == LINEAR and given[-1:] == [belongs]:
            raise ValueError(
                f"loss {loss.name!r} belongs to the output activation {belongs!r}, behind which nothing but Flatten() "
                f"may come, but {layer!r} does: leave it out, or put it before the layer of that activation")
        raise ValueError(
            f"loss {loss.name!r} belongs to the output activation {belongs!r}, but the last layer's is {last.name!r}: "
            f"end the network in Dense({units}, {activation!r}) with loss {whole!r}, or {other}"
        )
    if units == 1 and (loss.labels or last.name == "softmax"):
        raise ValueError(
            "a softmax over one output is always 1, so it cannot learn: use two, Dense(2, 'softmax') with "
            "'cross_entropy', or one probability, Dense(1, 'sigmoid') with 'binary_cross_entropy'"
        )


def check_rows(trainer, X, y, sample_weight, name="", input_shape=None):
    """-> Data for a trainer, whose network stays untouched; ``name`` prefixes the names in errors."""
    network, loss = trainer.network, trainer.loss
    X = data.check_inputs(X, input_shape or network.input_shape, network.dtype, f"{name}X")
    program = network.program_for(X.shape[1:])
    check_metrics(trainer.metrics, loss.targets, program.n_out)
    return data.check_data(X, y, sample_weight, loss, program, network.dtype, name)


def check_task(trainer, X, y, *, epochs, validation, sample_weight, class_weight, shuffle, callbacks, record_every,
               watch, verbose):
    """-> Task, from what ``Trainer.fit`` was given."""
    epochs = data.check_integer(epochs, "epochs")
    shuffle = data.check_flag(shuffle, "shuffle")
    record_every = None if record_every is None else min(data.check_integer(record_every, "record_every"), sys.maxsize)
    rows = check_rows(trainer, X, y, sample_weight)
    share = isinstance(validation, Real)
    labels = data.class_labels(rows.y, trainer.loss.targets) if share or class_weight is not None else None
    program = trainer.network.program_for(rows.X.shape[1:])
    n_out = program.n_out
    training, held, names = None, None, ["loss", "seconds"]
    if share:
        training, held = data.hold_out(len(rows.X), validation, trainer.seed, labels)
        validation = rows
        if rows.weight is not None:
            data.check_weight(rows.weight[training], len(training), "sample_weight of the rows to learn from")
            data.check_weight(rows.weight[held], len(held), "sample_weight of the rows held out")
    elif validation is not None:
        validation = _check_validation(trainer, validation, rows.X.shape[1:])
    if validation is not None:
        measured = check_metrics(trainer.metrics, trainer.loss.targets, n_out)
        names += ["val_loss", *(f"val_{metric.name}" for metric in measured)]
    if class_weight is not None:
        rows = data.weigh_classes(rows, class_weight, labels, max(2, n_out), training)
    n = len(rows.X if training is None else training)
    _check_optimizer(trainer, program, names, n)
    _check_batches(program, min(trainer._rows_per_step, n))
    callbacks = prepare_callbacks(callbacks, names)
    if data.check_flag(watch, "watch"):
        from .health.watch import Watch

        callbacks.append(Watch().prepare(names))
    _check_looks(trainer, program, record_every, callbacks)
    progress = Progress(verbose, epochs, n)
    return Task(rows, training, validation, held, epochs, shuffle, callbacks, record_every, progress)


def _check_validation(trainer, validation, input_shape):
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise ValueError(
            "validation must be (X, y), (X, y, sample_weight) or a share of the rows between 0 and 1, "
            f"got {type(validation).__name__}"
        )
    X, y, *weight = validation
    return check_rows(trainer, X, y, weight[0] if weight else None, "validation ", input_shape)


def _check_optimizer(trainer, program, names, n):
    """Refuse a schedule that follows what no epoch measures; warn of batches that the optimizer is not made for."""
    optimizer = trainer.optimizer
    if optimizer.update is None:
        check_restraints(trainer.regularizer, trainer.clip)
        if program.mixes_rows:
            raise ValueError(
                "LBFGS needs a loss that is the same at every look, so no Dropout, AlphaDropout or BatchNorm: "
                "leave them out (LayerNorm may stay), or take another optimizer such as Adam()"
            )
    if isinstance(optimizer.learning_rate, Schedule):
        if optimizer.learning_rate.metric is not None:
            check_measured("learning_rate", optimizer.learning_rate.metric, names)
        names.append("learning_rate")
    if optimizer.full_batch and trainer._rows_per_step < n:
        warnings.warn(
            f"{type(optimizer).__name__} compares the gradients of successive steps, so it needs every row in every "
            f'batch: give the Trainer batch_size="full", it is {trainer.batch_size}',
            stacklevel=4,
        )


def _check_looks(trainer, program, record_every, callbacks):
    """Refuse a recording of what has no steps, and a look at what has no layers for it."""
    if record_every and trainer.optimizer.update is None:
        raise ValueError("record_every counts the steps of a descent; LBFGS makes none: leave it out")
    if (record_every or any(callback.looks_at_rows for callback in callbacks)) and all(
            len(shape) == 1 for shape in program.shapes.values()):
        raise ValueError(f"{trainer.network!r} has no dense or convolutional layer to look at: leave out "
                         "record_every, watch=True and StopIfIll")


def _check_batches(program, rows):
    """Refuse batches in which a BatchNorm has one number of each unit: whatever this is, less its mean it is 0."""
    for i in program.instructions:
        if i.op == "batch_norm" and rows * math.prod(program.value_shapes[i.output][:-1]) == 1:
            raise ValueError(
                f"layer {i.layer!r}: BatchNorm on batches of one row learns nothing but its shift: "
                "take batch_size=2 or more, and as many rows, or LayerNorm()"
            )
