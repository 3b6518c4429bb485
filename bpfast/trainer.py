"""The Trainer: takes checked data to a backend's plan, epoch by epoch, and keeps what was learned."""

import os
import sys
import threading
import time

import numpy as np

from . import backends, data
from .history import History
from .network import Network
from .ops.table import Loss
from .optimizers import Adam, Optimizer
from .progress import Progress

SECONDS_PER_RUN = 0.05  # the longest that compiled code keeps Python from looking at signals
STEPS_AHEAD = 4096  # whose coefficients are computed together


class DivergenceError(ArithmeticError):
    """The loss or a parameter became infinite or NaN; the network is back at the end of the last finite epoch."""


class Trainer:
    """Fits a Network to data by gradient descent.

    Parameters
    ----------
    network : Network
        Its parameters are read when a call begins and written when it ends.
    loss : str or op
        A name of ``bpfast.ops.LOSSES``; averaged over the batch.
    optimizer : str or Optimizer
        "adam", "sgd", or an object such as ``Adam(1e-3)``.
    batch_size : int
        Rows per step; the last batch of an epoch may be smaller.
    seed : int, optional
        Of the shuffling; None draws one.
    backend : "auto", "native", "numba" or "numpy"
        "auto" takes the first of these that can run.
    """

    def __init__(self, network, *, loss, optimizer=Adam(), batch_size=32, seed=None, backend="auto"):
        if not isinstance(network, Network):
            raise TypeError(f"network must be a bpfast.Network, got {network!r}")
        self.network = network
        self.loss = Loss.get(loss)
        self.optimizer = Optimizer.get(optimizer)
        self.batch_size = min(data.check_integer(batch_size, "batch_size"), sys.maxsize)
        seed = data.check_seed(seed)
        self.seed = int.from_bytes(os.urandom(8), "little") if seed is None else seed
        self.backend = backends.choose(backend)
        self.history = History()
        _check_pair(network, self.loss)
        self._epoch = 0  # epochs begun; keys the shuffling
        self._stopped = self._fitting = False
        self._plan = self._state = None
        self._resume = None  # steps and slots of a pickled trainer, until its state is made
        self._busy = Alone()

    def fit(self, X, y, *, epochs=10, validation=None, sample_weight=None, shuffle=True, verbose="auto"):
        """Train for a number of epochs, or go on for as many more; -> ``self.history``.

        Parameters
        ----------
        X : array (n, n_in)
        y : array
            Class labels (n,) or one-hot rows (n, n_out) for cross_entropy, else numbers (n, n_out) or (n,).
        epochs : int
        validation : (X, y) or (X, y, sample_weight), optional
            Evaluated after every epoch: "val_loss", and "val_accuracy" for labels.
        sample_weight : array (n,), optional
            The loss of a batch is the mean weighted by it; a batch of zero weight makes no step.
        shuffle : bool
            Draw a new order of the rows for every epoch.
        verbose : True, False or "auto"
            A line per epoch, nothing, or one progress line on a terminal.

        Raises ValueError or TypeError before any work, DivergenceError, and KeyboardInterrupt on Ctrl-C;
        the network then holds the parameters as of the last finite epoch or the last finished batch.
        """
        with self._busy:
            if self._fitting:
                raise RuntimeError("this Trainer is already fitting: a fit cannot begin within another one")
            self._stopped = False
            epochs = data.check_integer(epochs, "epochs")
            if not isinstance(shuffle, (bool, np.bool_)):
                raise ValueError(f"shuffle must be True or False, got {shuffle!r}")
            rows, validation = self._check(X, y, sample_weight, validation)
            progress = Progress(verbose, epochs, len(rows.X))
            state = self._begin(rows.X.shape[1])
            try:
                self._fitting = True
                coefficients = self._coefficients(state, epochs, -(-len(rows.X) // self.batch_size))
                for epoch in range(epochs):
                    figures = self._train_epoch(state, rows, shuffle, next(coefficients), epoch, progress)
                    if figures is None:  # stopped
                        break
                    if validation:
                        state.store(self.network.parameters)
                        figures.update((f"val_{name}", value) for name, value in self._evaluate(validation).items())
                    self.history.append(**figures)
                    progress.epoch_done(epoch, figures)
                state.store(self.network.parameters)
                self._fitting = False
            except BaseException:  # Ctrl-C too, wherever it came
                if state.not_finite():
                    state.go_back()
                state.store(self.network.parameters)
                self._fitting = False
                raise
            finally:
                progress.close()
        return self.history

    def stop(self):
        """End a running ``fit`` after a batch, within about 50 ms; may be called from any thread."""
        self._stopped = True

    def predict(self, X):
        """Outputs (n, n_out) for the rows of X: probabilities for softmax."""
        X = self.network.inputs(X)
        plan = self._get_plan()
        with plan.workspace() as workspace:
            return plan.forward(self.network.parameters, workspace, X)

    def evaluate(self, X, y, sample_weight=None):
        """-> {"loss": mean over the rows} and for labels {"accuracy": share of rows whose largest output is right}."""
        rows, _ = self._check(X, y, sample_weight)
        self.network.build(rows.X.shape[1])
        return self._evaluate(rows)

    def loss_and_gradients(self, X, y, sample_weight=None):
        """-> (E, {name: dE/d(parameter)}), E the mean loss over all rows, shapes as ``network.parameters``."""
        rows, plan = self._ready(X, y, sample_weight)
        state = plan.new_state(self.network.parameters)
        with plan.workspace() as workspace:
            loss = plan.gradient(state, workspace, rows)
        return loss, state.gradients()

    def input_gradient(self, X, y, sample_weight=None):
        """-> dE/dX (n, n_in) in the network's dtype, E the mean loss over all rows."""
        rows, plan = self._ready(X, y, sample_weight)
        with plan.workspace() as workspace:
            return plan.input_gradient(self.network.parameters, workspace, rows)

    # -- within ------------------------------------------------------------------------------------

    def _coefficients(self, state, epochs, steps):
        """Yield the optimizer's coefficients (steps, k) for each epoch."""
        together = max(1, STEPS_AHEAD // steps)
        first = table = None
        for epoch in range(epochs):
            begin = state.steps + 1
            if first is None or begin + steps > first + len(table):  # a batch of zero weight makes no step
                first, table = begin, self.optimizer.coefficients(begin, steps * min(together, epochs - epoch))
            yield table[begin - first : begin - first + steps]

    def _train_epoch(self, state, rows, shuffle, coefficients, epoch, progress):
        """One pass over the rows; -> its figures, or None if it was stopped before the end."""
        plan, n = self._plan, len(rows.X)
        begin = time.perf_counter()
        order = plan.permutation(n, self.seed, self._epoch) if shuffle else np.arange(n)
        self._epoch += 1
        state.save()
        with plan.workspace() as workspace:
            workspace.start()
            done = 0
            while done < n and not workspace.diverged:
                if self._stopped:
                    return None
                done = plan.run(state, workspace, rows, order, done, coefficients, SECONDS_PER_RUN)
                progress.rows_done(epoch, done, self.history.last)
            if workspace.diverged or state.not_finite():
                broken = {name: array.copy() for name, array in self.network.parameters.items()}
                state.store(broken)
                state.go_back()
                first = min(done, n - 1) // self.batch_size * self.batch_size
                culprit = self._find_culprit(broken, rows.X[order[first : first + self.batch_size]])
                raise self._divergence(culprit, rows.X)
            loss = workspace.loss_sum / workspace.weight_sum
        return {"loss": loss, "seconds": time.perf_counter() - begin}

    def _evaluate(self, rows):
        plan = self._get_plan()
        with plan.workspace() as workspace:
            losses, outputs = plan.losses(self.network.parameters, workspace, rows)
        figures = {"loss": np.average(losses, weights=rows.weight)}
        if self.loss.labels:
            right = (outputs.argmax(axis=1) == rows.y) & ~np.isnan(outputs).any(axis=1)
            figures["accuracy"] = np.average(right, weights=rows.weight)
        return {name: float(value) for name, value in figures.items()}

    def _ready(self, X, y, sample_weight):
        """-> checked Data, and the plan for it; the network is built if it was not yet."""
        rows, _ = self._check(X, y, sample_weight)
        self.network.build(rows.X.shape[1])
        data.check_parameters(self.network.parameters)
        return rows, self._get_plan()

    def _check(self, X, y, sample_weight, validation=None):
        """Check everything before the network is touched; -> Data of both."""
        dtype = self.network.dtype
        X = data.check_inputs(X, self.network.n_in, dtype)
        program = self.network.program_for(X.shape[1])
        rows = data.check_data(X, y, sample_weight, self.loss, program, dtype)
        if validation is None:
            return rows, None
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise ValueError(f"validation must be (X, y) or (X, y, sample_weight), got {type(validation).__name__}")
        X_val, y_val, *weight = validation
        weight = weight[0] if weight else None
        return rows, data.check_data(X_val, y_val, weight, self.loss, program, dtype, "validation ")

    def _get_plan(self):
        if self._plan is None:
            self._plan = self.network.plan(self.backend, self.loss, self.optimizer.update, self.batch_size)
        return self._plan

    def _begin(self, n_in):
        """-> the State with the network's parameters of now and the slots of before."""
        self.network.build(n_in)
        data.check_parameters(self.network.parameters)
        for name, array in self.network.parameters.items():
            if not array.flags.writeable:
                raise ValueError(f"parameter {name!r} is read-only; training writes into it")
        plan = self._get_plan()
        if self._state is None:
            state = plan.new_state(self.network.parameters)
            if self._resume:
                state.load_slots(self._resume["slots"])
                state.steps = self._resume["steps"]
            self._state, self._resume = state, None
        else:
            self._state.load(self.network.parameters)
        return self._state

    def _find_culprit(self, parameters, X):
        """Where the first infinite or NaN number stands in a network with these parameters, in words."""
        for name, array in parameters.items():
            if not np.isfinite(array).all():
                return f"in parameter {name!r}"
        program = self.network.program
        values = self.network.plan("numpy").activations(parameters, X.astype(self.network.dtype))[1]
        for instruction in program.instructions:
            if not np.isfinite(values[instruction.output]).all():
                return f"in the output of layer {instruction.layer!r}"
        last = np.abs(values[program.output]).max()
        return f"in the loss: the network's outputs reach {last:.3g}"

    def _divergence(self, culprit, X):
        back = self.history.n_epochs
        largest = max(float(np.abs(X[i : i + 4096]).max()) for i in range(0, len(X), 4096))
        cures = [f"a smaller learning rate (it is {self.optimizer.learning_rate:g})"]
        if largest > 10:
            cures.append(f"inputs scaled to mean 0 and deviation 1 (the largest is {largest:g})")
        return DivergenceError(
            f"training diverged in epoch {self._epoch}: the first number that is not finite stands {culprit}. "
            f"The network is back where it was before that epoch ({back} finished). Try: {'; '.join(cures)}"
        )

    def __setattr__(self, name, value):
        if name == "optimizer":
            value = Optimizer.get(value)
        if self.__dict__.get("_plan") is not None:
            other_rule = name == "optimizer" and value.update.name != self.optimizer.update.name
            if name in ("network", "loss", "batch_size", "backend") or other_rule:
                raise AttributeError(f"a Trainer that has begun cannot change its {name}; make a new Trainer")
        super().__setattr__(name, value)

    def __getstate__(self):
        if self._fitting:
            raise RuntimeError("this Trainer is fitting; pickle or copy it when fit has returned")
        resume = self._resume
        if self._state is not None:
            resume = {"steps": self._state.steps, "slots": self._state.slots()}
        return {**self.__dict__, "_plan": None, "_state": None, "_busy": None, "_resume": resume}

    def __setstate__(self, state):
        self.__dict__.update(state, _busy=Alone())


class Alone:
    """Entered by one thread at a time; a second one is refused, not kept waiting."""

    def __init__(self):
        self._lock = threading.RLock()  # so that an interrupt while it is let go locks nobody's own thread out

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("this Trainer is already fitting in another thread; use one Trainer per thread")

    def __exit__(self, *_):
        self._lock.release()


def _check_pair(network, loss):
    """Refuse an output activation and a loss that do not belong together, naming the pair that was meant."""
    last = network.layers[-1].output_activation
    if loss.fuses and last.name != loss.fuses:
        raise ValueError(
            f"loss {loss.name!r} belongs to the output activation {loss.fuses!r}, "
            f"but the last layer's is {last.name!r}: end the network with Dense(n_classes, {loss.fuses!r}), "
            "or take loss 'squared_error'"
        )
    if last.name == "softmax" and network.layers[-1].units == 1:
        raise ValueError("a softmax over one output is always 1, so it cannot learn: use two, Dense(2, 'softmax')")
