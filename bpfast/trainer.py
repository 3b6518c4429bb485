"""The Trainer: takes checked data to a backend's plan, epoch by epoch, and keeps what was learned."""

import os
import sys
import threading
import time
import warnings
from itertools import islice

import numpy as np

from . import backends, data
from .history import History
from .network import Network
from .ops.regularization import penalty
from .ops.table import Loss
from .optimizers import Adam, Optimizer
from .progress import Progress
from .regularizers import check_clip, check_regularizer, restraints
from .schedules import Schedule

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
        A name of ``bpfast.LOSSES``, or one with hyperparameters: ``bpfast.LOSSES["huber"](delta=2.0)``;
        averaged over the batch.  It must suit the activation of the last layer; pairs that belong together, such
        as "softmax" and "cross_entropy", are computed in one stable pass.
    optimizer : str or Optimizer
        "adam", "sgd", ..., or an object such as ``Adam(1e-3)``; with a schedule for its learning rate the history
        has the "learning_rate" of the last step of every epoch.
    batch_size : int
        Rows per step; the last batch of an epoch may be smaller.
    regularizer : Regularizer, several, or a dict from names of parameters to them, optional
        ``L2(1e-4)`` restrains every weight and no bias; ``{"0.weight": L1(1e-3)}`` only what it names.  Penalties
        belong to the training loss and its gradient, not to ``evaluate``.
    clip : ClipValue, ClipNorm or ClipGlobalNorm, optional
        Bounds the gradient, with that of the penalties, before a step.
    seed : int, optional
        Of the shuffling; None draws one.
    backend : "auto", "native", "numba" or "numpy"
        "auto" takes the first of these that can run.
    """

    def __init__(self, network, *, loss, optimizer=Adam(), batch_size=32, regularizer=None, clip=None, seed=None,
                 backend="auto"):
        if not isinstance(network, Network):
            raise TypeError(f"network must be a bpfast.Network, got {network!r}")
        self.network = network
        self.loss = Loss.get(loss)
        self.optimizer = Optimizer.get(optimizer)
        self.batch_size = min(data.check_integer(batch_size, "batch_size"), sys.maxsize)
        self.regularizer = check_regularizer(regularizer)
        self.clip = check_clip(clip)
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
            Class labels (n,) or one-hot rows (n, n_out) for cross_entropy, else numbers (n, n_out) or (n,):
            in [0, 1] for binary_cross_entropy, not negative for poisson, -1 or +1 for hinge.
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
            self._check_optimizer(len(rows.X), validation)
            progress = Progress(verbose, epochs, len(rows.X))
            state = self._begin(rows.X.shape[1])
            try:
                self._fitting = True
                steps = -(-len(rows.X) // self.batch_size)
                ahead = self._coefficients(state, epochs, steps)
                for epoch in range(epochs):
                    coefficients, begin = next(ahead), state.steps
                    figures = self._train_epoch(state, rows, shuffle, coefficients, epoch, progress)
                    if figures is None:  # stopped
                        break
                    if isinstance(self.optimizer.learning_rate, Schedule):
                        figures["learning_rate"] = coefficients[state.steps - begin - 1, 0]
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
        """-> (E, {name: dE/d(parameter)}), shapes as ``network.parameters``.

        E is the mean loss over all rows plus the penalties of the regularizer.
        """
        rows, _ = self._check(X, y, sample_weight)
        self.network.build(rows.X.shape[1])
        data.check_parameters(self.network.parameters)
        plan = self._get_plan()
        state = plan.new_state(self.network.parameters)
        with plan.workspace() as workspace:
            loss = plan.gradient(state, workspace, rows) + self._penalty()
        return loss, state.gradients()

    # -- within ------------------------------------------------------------------------------------

    def _coefficients(self, state, epochs, steps):
        """Yield the optimizer's coefficients (steps, 1 + k) for each epoch."""
        schedule = self.optimizer.schedule
        together = max(1, STEPS_AHEAD // steps)
        scales = islice(schedule.scales(self.history.follow(schedule.metric)), self.history.n_epochs, None)
        first = table = made_for = None
        for epoch in range(epochs):
            begin, scale = state.steps + 1, next(scales)
            if scale != made_for or begin + steps > first + len(table):  # a batch of zero weight makes no step
                first, made_for = begin, scale
                n_steps = steps * min(together, epochs - epoch)
                table = self.optimizer.coefficients(begin, n_steps, steps, scale)
            yield table[begin - first : begin - first + steps]

    def _train_epoch(self, state, rows, shuffle, coefficients, epoch, progress):
        """One pass over the rows; -> its figures, or None if it was stopped before the end."""
        plan, n = self._plan, len(rows.X)
        begin = time.perf_counter()
        order = plan.permutation(n, self.seed, self._epoch) if shuffle else np.arange(n)
        self._epoch += 1
        state.save()
        penalties = 0.0
        if plan.restraints:
            state.store(self.network.parameters)
            penalties = self._penalty()
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
            loss = workspace.loss_sum / workspace.weight_sum + penalties
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

    def _check_optimizer(self, n_rows, validation):
        """Refuse a schedule that follows what is not recorded; warn of batches the optimizer is not made for."""
        recorded = ["loss"]
        if validation:
            recorded += ["val_loss", "val_accuracy"] if self.loss.labels else ["val_loss"]
        metric = self.optimizer.schedule.metric
        if metric not in (None, *recorded):
            hint = "" if validation else "; what begins with val_ needs validation=(X, y)"
            raise ValueError(
                f"the learning rate follows {metric!r}, but this fit records only {', '.join(recorded)}{hint}"
            )
        if self.optimizer.full_batch and self.batch_size < n_rows:
            name = type(self.optimizer).__name__
            warnings.warn(
                f"{name} compares the gradients of successive steps, so it needs every row in every batch: "
                f"give batch_size={n_rows} or more, it is {self.batch_size}",
                stacklevel=3,
            )

    def _get_plan(self):
        if self._plan is None:
            found = restraints(self.regularizer, self.network.program.shapes)
            self._plan = self.network.plan(
                self.backend, self.loss, self.optimizer.update, self.batch_size, found, self.clip)
        return self._plan

    def _penalty(self):
        """What the regularizer adds to the training loss, at the network's parameters of now."""
        parameters = self.network.parameters
        return sum(float(penalty(parameters[name].astype(np.float64), restraint.l1, restraint.l2))
                   for name, restraint in self._get_plan().restraints.items())

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
        cures = [f"a smaller learning rate (it is {self.optimizer.learning_rate})"]
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
            if name in ("network", "loss", "batch_size", "regularizer", "clip", "backend") or other_rule:
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
    layer = network.layers[-1]
    last, units = layer.output_activation, getattr(layer, "units", "n_out")
    if not loss.accepts(last):
        activation, whole = loss.pair
        belongs, other = activation, "take loss 'squared_error'"
        if loss.fuses:
            belongs, other = "linear", f"in Dense({units}, 'linear') with {loss.name!r}, which reads logits"
        raise ValueError(
            f"loss {loss.name!r} belongs to the output activation {belongs!r}, but the last layer's is {last.name!r}: "
            f"end the network in Dense({units}, {activation!r}) with loss {whole!r}, or {other}"
        )
    if units == 1 and (loss.labels or last.name == "softmax"):
        raise ValueError(
            "a softmax over one output is always 1, so it cannot learn: use two, Dense(2, 'softmax') with "
            "'cross_entropy', or one probability, Dense(1, 'sigmoid') with 'binary_cross_entropy'"
        )
