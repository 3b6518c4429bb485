"""What every backend promises: a Plan made from a Program, its State, and Workspaces to run it.

Program     what is to be computed: values (rows of a batch), instructions, parameters.  Knows no arithmetic.
Plan        a Program made ready for one dtype, loss, optimizer and batch size; immutable.
State       the parameters and the optimizer's slots of one training.
Workspace   the buffers of one caller; taken from the plan's free list, so many threads may use one plan.
"""

import math
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..ops import random
from ..ops.regularization import Clip, penalty
from ..ops.table import ACTIVATIONS, Activation, Loss, Update
from ..sparse import SparseRows

LINEAR = ACTIVATIONS["linear"]
ACTIVATES = "dense", "conv", "batch_norm", "layer_norm", "add"  # kinds of instructions that do an activation on the way

RELU = ACTIVATIONS["relu"]

FIRST_DRAW = 0, 0  # seed and step of the noise in a gradient that belongs to no training


def gates(activation):
    """Whether its adjoint is relu's: dy where y > 0, else 0."""
    return activation.adjoint is RELU.adjoint


class Window(NamedTuple):
    """What moves over an image, in pixels: a kernel, or what is pooled."""

    size: tuple  # (height, width)
    stride: tuple
    padding: tuple  # ((top, bottom), (left, right))


class Norm(NamedTuple):
    """The numbers of a normalisation."""

    eps: float
    momentum: float  # of the running statistics


class Noise(NamedTuple):
    """Units dropped at a rate; ``number`` tells the network's noises apart."""

    rate: float
    number: int


class Instruction(NamedTuple):
    """One step of a program: ``output = f(op(inputs, parameters))``; values are numbers, parameters are names."""

    op: str  # "dense", "conv", "add", ...; "activation": f alone
    inputs: tuple
    output: int
    parameters: tuple = ()
    activation: Activation = LINEAR
    layer: str = ""  # whose it is, for messages
    statistics: tuple = ()  # names of what it learns without a gradient
    settings: Window | Norm | Noise | None = None


class Program(NamedTuple):
    """Instructions over values; value 0 is the input, the last instruction's output is the network's.

    A row of a value is a vector (n,), or an image (height, width, channels); the output's is a vector.
    """

    value_shapes: tuple  # of a row of each value
    instructions: tuple
    shapes: dict  # parameter name -> shape
    statistics: dict  # name -> shape
    output_shape: tuple  # of what a user sees, which may be an image

    @property
    def input_shape(self):
        return self.value_shapes[0]

    @property
    def n_out(self):
        return self.value_shapes[self.output][0]

    @property
    def mixes_rows(self):
        """Whether the training loss of a row depends on the other rows of its batch, or on its place there."""
        return any(i.op in ("batch_norm", "dropout", "alpha_dropout") for i in self.instructions)

    def width(self, value):
        """The numbers in a row of a value."""
        return math.prod(self.value_shapes[value])

    @property
    def output(self):
        return self.instructions[-1].output

    @property
    def last_activation(self):
        return self.instructions[-1].activation

    def with_activations_within(self):
        """The same program, where an activation that alone reads its input is done by what makes that."""
        readers = Counter(value for i in self.instructions for value in i.inputs)
        instructions, makers = [], {}  # value -> the place of the instruction that makes it
        for i in self.instructions:
            place = makers.get(i.inputs[0]) if i.op == "activation" and readers[i.inputs[0]] == 1 else None
            maker = None if place is None else instructions[place]
            if maker and maker.op in ACTIVATES and maker.activation == LINEAR and not i.activation.rowwise:
                instructions[place] = maker._replace(output=i.output, activation=i.activation)
            else:
                place = len(instructions)
                instructions.append(i)
            makers[i.output] = place
        return self._replace(instructions=tuple(instructions))._renumbered()

    def _renumbered(self):
        """The same program without the values that no instruction makes."""
        kept = [0, *sorted(i.output for i in self.instructions)]
        number = {value: n for n, value in enumerate(kept)}
        return self._replace(
            value_shapes=tuple(self.value_shapes[value] for value in kept),
            instructions=tuple(i._replace(inputs=tuple(number[value] for value in i.inputs), output=number[i.output])
                               for i in self.instructions),
        )

    def with_activation_apart(self):
        """The same program with its last activation an instruction of its own, which reads the logits."""
        *head, last = self.instructions
        if last.op == "activation":
            return self
        logits, output = last._replace(activation=LINEAR), len(self.value_shapes)
        apart = Instruction("activation", (last.output,), output, activation=last.activation, layer=last.layer)
        return self._replace(value_shapes=(*self.value_shapes, (self.n_out,)), instructions=(*head, logits, apart))

    def without_last(self):
        """The program up to its last instruction."""
        return self._replace(instructions=self.instructions[:-1])


def native_dtype(dtype):
    """The dtype that one of real numbers is read as: float16 as float32, long double as float64, others as they are.

    Its byte order is the processor's.
    """
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype.newbyteorder("=")


class Data(NamedTuple):
    """Rows to learn from: X (n, *input_shape), y (n, n_out) numbers or (n,) labels, weight (n,) float64 or None.

    X and y are the caller's arrays, of any real dtype, byte order and strides, X perhaps ``SparseRows``: backends
    convert a batch at a time.
    """

    X: np.ndarray | SparseRows
    y: np.ndarray
    weight: np.ndarray | None = None

    @property
    def weight_sum(self):
        """The weights added up, 1 a row without any."""
        return float(len(self.X) if self.weight is None else self.weight.sum())

    def take(self, rows):
        """These rows: of a slice a view, else a copy."""
        return Data(*(None if part is None else part[rows] for part in self))


class Order(NamedTuple):
    """The order in which epochs go through the rows: shuffled by the seed and the epoch, or as they lie."""

    n: int  # how many are learned from
    among: np.ndarray | None  # which; None: all
    shuffle: bool
    seed: int

    def of_epoch(self, plan, epoch):
        """-> (n,) intp, indices of rows."""
        order = plan.permutation(self.n, self.seed, epoch) if self.shuffle else np.arange(self.n)
        return order if self.among is None else self.among[order]


class Plan(ABC):
    """A program made ready to run.  Backends implement the verbs below.

    ``restraints`` maps names of parameters to a Restraint; the others have none.
    """

    def __init__(self, program: Program, dtype, loss: Loss | None, update: Update | None, batch_size: int,
                 restraints: Mapping, clip: Clip):
        self.dtype, self.update, self.batch_size = np.dtype(dtype), update, batch_size
        self.restraints, self.clip = restraints, clip
        fused = loss.fused_with(program.last_activation) if loss else None
        self.loss = fused or loss  # the row that is run, on the outputs of ``trained``
        program = program.with_activations_within()
        self.program = program.with_activation_apart() if fused else program
        self.trained = self.program.without_last() if fused else program
        self._free = []

    def workspace(self):
        """A workspace for one call, by ``with``."""
        return Borrowed(self._free, self.new_workspace)

    @abstractmethod
    def new_workspace(self):
        """-> Workspace."""

    @abstractmethod
    def new_state(self, arrays):
        """-> State with these parameters and statistics (name -> array) and slots of zero."""

    @abstractmethod
    def new_recorder(self, every):
        """-> Recorder (recorder.py) of steps 0, every, 2 every, ... and the last of every epoch."""

    @abstractmethod
    def forward(self, arrays, workspace, X):
        """-> (n, n_out), the network's outputs for the rows of X; None where one is not finite in the plan's dtype."""

    @abstractmethod
    def losses(self, arrays, workspace, data, order=None):
        """-> (n,) float64, the loss of every row, or of the rows ``order`` (n,) intp; and their outputs (n, n_out).

        Both as in prediction: nothing is dropped, and the statistics are those that were learned.
        """

    @abstractmethod
    def gradient(self, state, workspace, data):
        """-> float, the weighted mean loss over all rows, as of a step of training that learns no statistics.

        ``state.gradients()`` then holds its gradient, with that of the penalties on parameters.
        """

    def penalties(self, parameters):
        """-> what the restraints add to a batch's mean loss, and to its sum, at these parameters (name -> array)."""
        of_mean = of_sum = 0.0
        for name, restraint in self.restraints.items():
            w = parameters[name].astype(np.promote_types(parameters[name].dtype, np.float64))
            of_mean += penalty(w, restraint.l1, restraint.l2).item()
            of_sum += penalty(w, 0, restraint.l2_of_sum).item()
        return of_mean, of_sum

    def penalty(self, parameters, weight_sum):
        """-> number, what the restraints add to the mean loss of rows whose weights add up to ``weight_sum``."""
        of_mean, of_sum = self.penalties(parameters)
        return of_mean + of_sum / weight_sum

    @abstractmethod
    def input_gradient(self, arrays, workspace, data):
        """-> (n, *input_shape), the derivative of the same loss with respect to ``data.X``."""

    def run(self, state, workspace, data, order, coefficients, seconds):
        """Train on epochs of ``order``, an Order, until ``workspace.left`` is 0 or about ``seconds`` have passed.

        Row i of ``coefficients`` (steps, 1 + k) belongs to the i-th step since ``workspace.start()``: its learning
        rate, which decay follows, and the k scalars of the update's rule.  Every epoch begins with ``state.save()``;
        at a number that is not finite the run ends with ``workspace.diverged`` set.
        """
        end = time.monotonic() + seconds
        while workspace.left and not workspace.diverged:
            if not workspace.begun:
                state.save()
                workspace.begin_epoch(order.of_epoch(self, workspace.epoch), self.penalties(state.all_arrays))
            workspace.begin = self.run_batches(
                state, workspace, data, workspace.rows, workspace.begin, coefficients, end - time.monotonic())
            if workspace.begin == order.n:
                workspace.diverged = workspace.diverged or state.not_finite()
                if not workspace.diverged:
                    workspace.end_epoch(self.penalties(state.all_arrays), -(-order.n // self.batch_size))
            if time.monotonic() >= end:
                return

    @abstractmethod
    def run_batches(self, state, workspace, data, rows, begin, coefficients, seconds):
        """Train on the batches of ``rows``, indices (n,), from number ``begin`` on; -> the number to go on from.

        Returns at the end, after about ``seconds``, or when a loss is not finite (``workspace.diverged``).
        """

    def permutation(self, n, seed, epoch):
        """The order of the rows in an epoch, the same in every backend."""
        return random.permutation(n, seed, epoch)


class Borrowed:
    """One of some free things, or a new one, until the end of ``with``.

    list.pop and append are atomic, so callers in many threads never share one.
    A class: what contextlib makes of a generator takes a share of a small prediction.
    """

    __slots__ = ("free", "new", "thing")

    def __init__(self, free, new):
        self.free, self.new = free, new

    def __enter__(self):
        try:
            self.thing = self.free.pop()
        except IndexError:
            self.thing = self.new()
        return self.thing

    def __exit__(self, *error):
        self.free.append(self.thing)


class State(ABC):
    """What training changes: parameters, slots, statistics.  ``steps`` counts the updates made."""

    steps = 0

    @abstractmethod
    def load(self, arrays):
        """Copy these parameters and statistics in."""

    @abstractmethod
    def store(self, arrays):
        """Copy the parameters and statistics out into these arrays."""

    @abstractmethod
    def gradients(self):
        """-> dict, name -> array: the gradient that ``Plan.gradient`` computed."""

    @abstractmethod
    def slots(self):
        """-> dict, slot -> dict of name -> array: a copy of what the optimizer remembers."""

    @abstractmethod
    def load_slots(self, slots):
        """Copy these slots in."""

    @abstractmethod
    def not_finite(self):
        """Whether a parameter is infinite or NaN."""

    @abstractmethod
    def save(self):
        """Remember the parameters, slots, statistics and steps of now."""

    @abstractmethod
    def go_back(self):
        """Return to what ``save`` remembered."""


class Workspace:
    """What one run adds up since ``start``: ``loss_sum`` = sum of weight * loss over ``weight_sum``, and steps.

    ``epoch``, and whether it has ``begun``: ``begin`` of its ``rows`` are done.  ``left``: epochs still to finish.
    ``finished``: of each epoch, its mean loss with the penalties, its seconds, and the steps until its end.
    """

    rows = recorder = None
    seed = 0  # of the noise
    penalties = 0.0, 0.0  # when the epoch began: see Plan.penalties

    def start(self, epoch=0, n_epochs=1, seed=0, recorder=None):
        """Begin so many epochs, with nothing added up; the seed is that of the noise.  A recorder may look on."""
        self.seed, self.recorder = seed, recorder
        self.loss_sum = self.weight_sum = self.began = 0.0
        self.steps = self.begin = 0
        self.diverged = self.begun = False
        self.epoch, self.left, self.finished = epoch, n_epochs, deque()

    def begin_epoch(self, rows, penalties):
        """Nothing of the epoch is done."""
        self.rows, self.begin, self.begun, self.penalties = rows, 0, True, penalties
        self.loss_sum = self.weight_sum = 0.0
        self.began = time.monotonic()

    def end_epoch(self, penalties, n_batches):
        """The epoch is done; its penalty is the mean over its steps, from those when it began and when it ends.

        Between the two it is taken to change evenly; the C twin is in bp_train_epochs.
        """
        share = (n_batches + 1) / (2 * n_batches)
        of_mean, of_sum = (share * before + (1 - share) * after for before, after in zip(self.penalties, penalties))
        loss = (self.loss_sum + n_batches * of_sum) / self.weight_sum + of_mean
        self.finished.append((loss, time.monotonic() - self.began, self.steps))
        self.epoch, self.left, self.begun, self.rows = self.epoch + 1, self.left - 1, False, None

    @contextmanager
    def threads(self, n):
        """Runs within have n threads, or as many as a step has work for; None: the cores that are free."""
        yield
