"""The Trainer: takes checked data to a backend's plan, epoch by epoch, and keeps what was learned."""

import os
import sys
import threading
from itertools import islice

import numpy as np

from . import backends, data
from .divergence import DivergenceError, find_culprit
from .history import History
from .lbfgs import LBFGS, minimize
from .metrics import check_metrics, get_metrics, measure
from .network import Network
from .ops.regularization import NO_CLIP
from .ops.table import Loss
from .optimizers import Adam, Optimizer
from .recording import Recording
from .regularizers import check_clip, check_regularizer, restraints
from .restarts import fit_often
from .schedules import Schedule
from .sparse import numbers
from .standardization import learn_scale
from .task import check_pair, check_rows, check_task

SECONDS_PER_RUN = 0.05  # the longest that compiled code keeps Python from looking at signals
STEPS_AHEAD = 4096  # whose coefficients are computed together


class Trainer:
    """Fits a Network to data by gradient descent.

    Parameters
    ----------
    network : Network
        Its parameters are read when a call begins and written when it ends.
    loss : str or op
        A name of ``bpfast.LOSSES``, or one with hyperparameters: ``bpfast.LOSSES["huber"](delta=2.0)``;
        averaged over the batch.  It must suit the activation of the last layer, behind which only Flatten may come;
        pairs that belong together, such as "softmax" and "cross_entropy", are computed in one stable pass.
    optimizer : str or Optimizer
        "adam", "sgd", ..., or an object such as ``Adam(1e-3)`` or ``LBFGS()``; with a schedule for its learning rate
        the history has the "learning_rate" of the last step of every epoch.
    batch_size : int or "full"
        Rows per step; the last batch of an epoch may be smaller.  1 learns online, "full" from all rows at once.
    regularizer : Regularizer, several, or a dict from names of parameters to them, optional
        ``L2(1e-4)`` restrains every weight and no bias; ``{"0.weight": L1(1e-3)}`` only what it names.  Penalties
        belong to the training loss and its gradient, not to ``evaluate``.
    clip : ClipValue, ClipNorm or ClipGlobalNorm, optional
        Bounds the gradient, with that of the penalties, before a step.
    metrics : sequence of str or function
        What ``evaluate``, and validation after every epoch, measure beside the loss: names of
        ``bpfast.METRICS``, or functions ``f(y_true, y_pred)`` of the targets and the network's outputs, which are
        flat, (n, n_out), of images too; one that has a parameter ``sample_weight`` is given the weights (n,) or None.
        Without any it is "accuracy", where targets are classes.
    seed : int, optional
        Of the shuffling, the rows held out, the restarts and what Dropout drops; None draws one.
    backend : "auto", "native", "numba" or "numpy"
        "auto" takes the first of these that can run.
    n_threads : int, optional
        Threads of a fit in the native backend; a step too small to share uses fewer.  None takes the cores that the
        process may use and no other fit does, capped by BPFAST_NUM_THREADS and OMP_NUM_THREADS.  The results are
        the same, bit for bit, for any number.
    """

    def __init__(self, network, *, loss, optimizer=Adam(), batch_size=32, regularizer=None, clip=None, metrics=(),
                 seed=None, backend="auto", n_threads=None):
        if not isinstance(network, Network):
            raise TypeError(f"network must be a bpfast.Network, got {network!r}")
        self.network = network
        self.loss, self.optimizer, self.batch_size = loss, optimizer, batch_size
        self.regularizer, self.clip, self.metrics = regularizer, clip, metrics
        self.seed, self.backend, self.n_threads = seed, backend, n_threads
        self.history = History()
        self.recording = self.kept_rows = None
        self._epoch = 0  # epochs begun; keys the shuffling
        self._stopped = self._fitting = False
        self._calling = False  # within a callback, where the trainer is whole
        self._plan = self._state = None
        self._resume = None  # steps and slots of a pickled trainer, until its state is made
        self._busy = Alone()

    def fit(self, X, y, *, epochs=10, validation=None, sample_weight=None, class_weight=None, shuffle=True,
            callbacks=(), restarts=1, record_every=None, watch=False, verbose="auto"):
        """Train for a number of epochs, or go on for as many more; -> ``self.history``.

        Parameters
        ----------
        X : array (n, *input_shape)
            Vectors (n, n_in), sequences (n, length, channels) or images (n, height, width, channels).
            Of any real dtype, byte order and strides, a read-only memory map too: read in place, a batch at a time.
            Lists, and arrays of objects, become arrays of float64 first.  Vectors may be sparse, SciPy's CSR, or CSC,
            which becomes CSR: "native" multiplies their entries alone, other backends make a batch dense at a time.
        y : array
            Class labels (n,) or one-hot rows (n, n_out) for cross_entropy, else numbers (n, n_out) or (n,):
            in [0, 1] for binary_cross_entropy, not negative for poisson, -1 or +1 for hinge.  Where the outputs are
            images, numbers may have their shape, (n, height, width, channels).
        epochs : int
        validation : (X, y), (X, y, sample_weight), or a share in (0, 1); optional
            Evaluated after every epoch: "val_loss", and "val_" before the name of each metric.  A share of the rows is
            held out by the trainer's seed, of each class alike: the same rows in every fit to these targets.
        sample_weight : array (n,), optional
            The loss of a batch is the mean weighted by it; a batch of zero weight makes no step.
        class_weight : "balanced", mapping label -> weight, or sequence of n_out weights; optional
            Multiplies the weights of the rows learned from; figures of validation stay without it.
            "balanced" is n / (k n_c) for n_c of n rows, k classes; a label that a mapping leaves out has weight 1.
        shuffle : bool
            Draw a new order of the rows for every epoch.
        callbacks : Callback or function f(trainer, figures), or a sequence of them
            Look on and may end the fit: ``EarlyStopping()``, ``StopBelow(0.01)``, ``TimeLimit(60)``, your own.
        restarts : int
            Fit so often, first from the parameters of now, then from weights drawn by the trainer's seed, and keep
            the fit whose network ends with the smallest loss on the validation data, else on the training data;
            network, optimizer and history are then of this one.  One that diverges is passed over.
            Ctrl-C leaves the best of those that ended.
        record_every : int, optional
            Record figures of every layer in every so many steps, and at the end of every epoch: ``self.recording``.
            Up to 1000 of the rows are kept for ``diagnose``, until the trainer is pickled.
        watch : bool
            Print a line when an illness begins that ``diagnose`` finds without trying rates; see ``StopIfIll``.
        verbose : True, False or "auto"
            A line per epoch, nothing, or one progress line on a terminal.

        Beyond X and y a fit takes memory for the parameters and a batch, and 8 bytes a row for the order of the rows.
        A few such numbers more a row go to sample_weight and class_weight, one-hot rows (a label each), a share held
        out, and to rows of validation, which have their outputs besides.

        Raises ValueError or TypeError before any work, DivergenceError, and KeyboardInterrupt on Ctrl-C;
        the network then holds the parameters as of the last finite epoch or the last finished batch.
        """
        with self._busy:
            if self._fitting:
                raise RuntimeError("this Trainer is already fitting: a fit cannot begin within another one")
            self._stopped = False
            restarts = data.check_integer(restarts, "restarts")
            if restarts > 1 and (self._epoch or self._state or self._resume):
                raise ValueError(
                    f"restarts={restarts} draws weights anew, which would throw away what this Trainer has learned: "
                    "use a new Trainer, or restarts=1 to go on"
                )
            task = check_task(self, X, y, epochs=epochs, validation=validation, sample_weight=sample_weight,
                              class_weight=class_weight, shuffle=shuffle, callbacks=callbacks,
                              record_every=record_every, watch=watch, verbose=verbose)
            self.kept_rows = task.some_rows() or self.kept_rows
            try:
                self._fitting = True
                if restarts == 1:
                    self._run(task)
                else:
                    fit_often(self, task, restarts)
                self._fitting = False
            except BaseException:  # Ctrl-C too, wherever it came
                self._fitting = self._calling = False
                raise
            finally:
                task.progress.close()
        return self.history

    def stop(self):
        """End a running ``fit`` after a batch, within about 50 ms; may be called from any thread."""
        self._stopped = True

    def predict(self, X):
        """Outputs (n, n_out) for the rows of X: probabilities for softmax; images (n, height, width, channels).

        X is read in place, as in ``fit``, and may be sparse.
        """
        X = self.network.inputs(X)
        return self.network.outputs(self._get_plan(), X)

    def evaluate(self, X, y, sample_weight=None):
        """-> {"loss": mean over the rows, and the trainer's metrics: without any given, "accuracy" for classes}.

        The class that is predicted is that of the largest output for labels, y > 0.5 for targets 0 and 1, the sign for
        -1 and 1; where every row has several labels, "accuracy" is the mean over them.  X and y are read in place, as
        in ``fit``; the outputs of all rows are in memory together.
        """
        rows = check_rows(self, X, y, sample_weight)
        self.network.build(rows.X.shape[1:])
        return self._evaluate(rows)

    def loss_and_gradients(self, X, y, sample_weight=None):
        """-> (E, {name: dE/d(parameter)}), shapes as ``network.parameters``.

        E is the mean loss over all rows plus the penalties of the regularizer, as in a step of training: a BatchNorm
        takes the mean and variance of these rows, and Dropout draws as in the first step of seed 0.
        """
        rows, plan = self._ready(X, y, sample_weight)
        state = plan.new_state(self.network.arrays)
        with plan.workspace() as workspace:
            loss = plan.gradient(state, workspace, rows) + plan.penalty(self.network.parameters, rows.weight_sum)
        return loss, state.gradients()

    def input_gradient(self, X, y, sample_weight=None):
        """-> dE/dX (n, *input_shape), dense, in the network's dtype; E as of ``loss_and_gradients`` less penalties."""
        rows, plan = self._ready(X, y, sample_weight)
        with plan.workspace() as workspace:
            return plan.input_gradient(self.network.arrays, workspace, rows)

    def diagnose(self, X=None, y=None, sample_weight=None):
        """Why does the network not learn?  -> HealthReport, which prints verdicts, the figures behind them, and cures.

        Looks at signals and gradients in up to 1000 of the rows, at X and y, at the history, and at what a few steps
        of a copy do to the loss.  Rows are as in ``fit``, of a sparse X some, made dense; without any they are those
        that a fit with ``record_every`` has kept.  Trainer and network stay as they are.
        """
        from .health import diagnose

        if X is None and y is None and self.kept_rows:
            X, y, sample_weight = self.kept_rows
        if X is None or y is None:
            raise ValueError("there are no rows to look at: give diagnose(X, y) some, as fit took them, or fit with "
                             "record_every=100 before, which keeps some")
        return diagnose(self, self._ready(X, y, sample_weight)[0])

    # -- within ------------------------------------------------------------------------------------

    def _run(self, task):
        """A fit from the parameters of now."""
        state = self._begin(task.rows.X, task.training)
        try:
            if not self._call(task, state, "begin"):
                if isinstance(self.optimizer, LBFGS):
                    self._minimize(task, state)
                else:
                    self._descend(task, state)
            state.store(self.network.arrays)
            self._call(task, state, "end")
        except BaseException:
            if state.not_finite():
                state.go_back()
            state.store(self.network.arrays)
            raise

    def _descend(self, task, state):
        """Epochs of the optimizer's steps."""
        optimizer = tables = table = recorder = None
        done = 0
        if task.record_every:
            recorder = self._plan.new_recorder(task.record_every)
            if self.recording is None:
                self.recording = Recording(recorder.layers)
        with self._plan.workspace() as workspace, workspace.threads(self.n_threads):
            workspace.start()
            try:
                while done < task.epochs and not self._stopped:
                    if self.optimizer is not optimizer:  # at first, and when a callback has set another rate
                        optimizer, tables = self.optimizer, self._coefficients(task, state, task.epochs - done)
                    n_epochs, table = next(tables)
                    workspace.start(self._epoch, n_epochs, self.seed, recorder)
                    for figures in self._train(task, state, workspace, table):
                        if self._finish_epoch(task, state, figures):
                            return
                        done += 1
            except BaseException:
                if recorder:
                    self.recording.take(recorder)
                if not task.watched:  # epochs that are done, though an interrupt kept them from being told
                    for figures in self._figures(workspace, table):
                        self.history.append(**figures)
                raise

    def _minimize(self, task, state):
        """Iterations of L-BFGS, an epoch each."""

        def stopped():
            for callback in task.callbacks:
                callback.tick(self)
            return self._stopped

        def finished(figures):
            self._epoch += 1
            return self._finish_epoch(task, state, figures)

        why = minimize(
            self.optimizer, self.network, self._plan, state, task.all_rows(), task.epochs, stopped, finished
        )
        task.progress.note(f"L-BFGS ended: {why}")

    def _coefficients(self, task, state, epochs):
        """Yield how many epochs to go on for, and the optimizer's coefficients (steps, 1 + k) for their steps.

        One epoch where something looks on at its end, else as many as one table is computed for.
        """
        steps = -(-task.n // self._rows_per_step)
        schedule, together = self.optimizer.schedule, max(1, STEPS_AHEAD // steps)
        alone = task.watched or schedule.metric is not None
        scales = islice(schedule.scales(self.history.follow(schedule.metric)), self.history.n_epochs, None)
        first = made_for = None
        table, row, n = (), 0, 0
        while epochs:
            begin, scale = state.steps + 1, next(scales)
            row += n * steps
            # A batch of zero weight makes no step, and so the table stands no longer for the steps to come.
            if scale != made_for or row + steps > len(table) or begin != first + row:
                together = min(epochs, together)
                first, made_for, row = begin, scale, 0
                table = self.optimizer.coefficients(begin, steps * together, steps, self.history.n_epochs, scale)
            n = 1 if alone else together
            epochs -= n
            yield n, table[row : row + n * steps]

    def _train(self, task, state, workspace, coefficients):
        """Go through the epochs that the workspace has begun; yield the figures of each when it is done."""
        plan, order = self._plan, task.order(self.seed)
        while workspace.left and not self._stopped:
            plan.run(state, workspace, task.rows, order, coefficients, SECONDS_PER_RUN)
            self._epoch = workspace.epoch + workspace.begun
            if workspace.recorder:
                self.recording.take(workspace.recorder)
            task.progress.rows_done(workspace.begin, self.history)
            for callback in task.callbacks:
                callback.tick(self)
            yield from self._figures(workspace, coefficients)
            if workspace.diverged:
                raise self._divergence(state, task.rows, order.of_epoch(plan, workspace.epoch), workspace.begin)

    def _figures(self, workspace, coefficients):
        """Yield the figures of each epoch that the workspace has finished, and that is then forgotten there."""
        while workspace.finished:
            loss, seconds, steps = workspace.finished.popleft()
            figures = {"loss": loss, "seconds": seconds}
            if isinstance(self.optimizer.learning_rate, Schedule):
                figures["learning_rate"] = float(coefficients[steps - 1, 0])
            yield figures

    def _finish_epoch(self, task, state, figures):
        """Validation, history, progress and callbacks of an epoch; -> whether one of these ends the fit."""
        if task.validation:
            state.store(self.network.arrays)
            found = self._evaluate(task.validation, task.held)
            figures.update((f"val_{name}", value) for name, value in found.items())
        self.history.append(**figures)
        task.progress.epoch_done(figures)
        return self._call(task, state, "epoch", figures)

    def _call(self, task, state, moment, *figures):
        """Call what looks on, with the trainer whole, and go on from the parameters that it leaves."""
        if not task.callbacks:
            return False
        state.store(self.network.arrays)
        self._calling = True
        answers = [getattr(callback, moment)(self, *figures) for callback in task.callbacks]
        self._calling = False
        data.check_arrays(self.network.parameters, self.network.statistics)
        state.load(self.network.arrays)
        return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)

    def _evaluate(self, rows, order=None):
        """The figures of all rows, or of those that ``order`` (k,) names."""
        plan = self._get_plan()
        with plan.workspace() as workspace:
            losses, outputs = plan.losses(self.network.arrays, workspace, rows, order)
        metrics = check_metrics(self.metrics, self.loss.targets, plan.program.n_out)
        _, y, weight = rows._replace(X=None).take(slice(None) if order is None else order)
        return {
            "loss": float(np.average(losses, weights=weight)),
            **measure(metrics, self.loss, y, outputs, weight),
        }

    def _ready(self, X, y, sample_weight):
        """-> checked Data, and the plan for it; the network is built if it was not yet."""
        rows = check_rows(self, X, y, sample_weight)
        self.network.build(rows.X.shape[1:])
        data.check_arrays(self.network.parameters, self.network.statistics)
        return rows, self._get_plan()

    @property
    def _rows_per_step(self):
        return sys.maxsize if self.batch_size == "full" else self.batch_size

    def _get_plan(self):
        if self._plan is None:
            found = restraints(self.regularizer, self.network.program.shapes)
            self._plan = self.network.plan(
                self.backend, self.loss, self.optimizer.update, self._rows_per_step, found,
                self.clip.clip if self.clip else NO_CLIP)
        return self._plan

    def _begin(self, X, training=None):
        """-> the State with the network's parameters of now and the slots of before, for some rows of X or all."""
        self.network.build(X.shape[1:])
        learn_scale(self.network, X, training)
        data.check_arrays(self.network.parameters, self.network.statistics)
        for arrays in (self.network.parameters, self.network.statistics):
            for name, array in arrays.items():
                if not array.flags.writeable:
                    raise ValueError(f"{arrays.kind} {name!r} is read-only; training writes into it")
        weights = {name: array for name, array in self.network.parameters.items() if array.ndim > 1}
        if len(weights) > 1 and not any(array.any() for array in weights.values()):
            raise ValueError(
                f"every weight is zero, {next(iter(weights))!r} the first: all units of a hidden layer would stay "
                'alike; draw the weights with an initializer, such as Dense(..., initializer="glorot")'
            )
        plan = self._get_plan()
        if self._state is None:
            state = plan.new_state(self.network.arrays)
            if self._resume:
                state.load_slots(self._resume["slots"])
                state.steps = self._resume["steps"]
            self._state, self._resume = state, None
        else:
            self._state.load(self.network.arrays)
        return self._state

    def _divergence(self, state, rows, order, begin):
        """-> DivergenceError of the batch at row ``begin`` of an epoch; state and network are back where that began."""
        broken = {name: array.copy() for name, array in self.network.arrays.items()}
        state.store(broken)
        state.go_back()
        size = self._rows_per_step
        first = min(begin, len(order) - 1) // size * size
        culprit = find_culprit(self.network, broken, rows.X[order[first : first + size]])
        X, back = numbers(rows.X), self.history.n_epochs
        largest = max(float(np.abs(X[i : i + 4096]).max()) for i in range(0, len(X), 4096)) if len(X) else 0.0
        cures = [f"a smaller learning rate (it is {self.optimizer.learning_rate})"]
        if largest > 10:
            cures.append(f"inputs scaled to mean 0 and deviation 1 (the largest is {largest:g})")
        return DivergenceError(
            f"training diverged in epoch {self._epoch}: the first number that is not finite stands {culprit}. "
            f"The network is back where it was before that epoch ({back} finished). Try: {'; '.join(cures)}"
        )

    def _remembered(self):
        """What the optimizer remembers, of which ``_begin`` makes a State again; or None."""
        if self._state is None:
            return self._resume
        return {"steps": self._state.steps, "slots": self._state.slots()}

    def __setattr__(self, name, value):
        if name in CHECKED:
            value = CHECKED[name](value)
        if name == "loss":
            check_pair(self.network, value)
        planned, begun = (self.__dict__.get(key) is not None for key in ("_plan", "_resume"))
        other_rule = name == "optimizer" and (planned or begun) and _rule(value) != _rule(self.optimizer)
        if other_rule or (planned and name in ("network", "loss", "batch_size", "regularizer", "clip", "backend")):
            raise AttributeError(f"a Trainer that has begun cannot change its {name}; make a new Trainer")
        super().__setattr__(name, value)

    def __repr__(self):
        from inspect import signature

        shown = [type(self.network).__name__]
        for name, setting in list(signature(type(self)).parameters.items())[1:]:
            value = getattr(self, name)
            if setting.default is setting.empty or value != CHECKED[name](setting.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self):
        if self._fitting and not self._calling:
            raise RuntimeError("this Trainer is fitting; pickle or copy it when fit has returned")
        idle = {"_plan": None, "_state": None, "_busy": None, "_fitting": False, "_calling": False, "_stopped": False,
                "kept_rows": None}
        return {**self.__dict__, **idle, "_resume": self._remembered()}

    def __setstate__(self, state):
        self.__dict__.update(state, _busy=Alone())


def _check_seed(seed):
    return int.from_bytes(os.urandom(8), "little") if seed is None else data.check_seed(seed)


class Alone:
    """Entered by one thread at a time; a second one is refused, not kept waiting."""

    def __init__(self):
        self._lock = threading.RLock()  # so that an interrupt while it is let go locks nobody's own thread out

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("this Trainer is already fitting in another thread; use one Trainer per thread")

    def __exit__(self, *_):
        self._lock.release()


def _rule(optimizer):
    """What a Trainer's slots are laid out for: the name of an update, or None."""
    return optimizer.update and optimizer.update.name


CHECKED = {  # attribute -> what checks it, when the Trainer is made and when it is set
    "loss": Loss.get,
    "optimizer": Optimizer.get,
    "batch_size": data.check_batch_size,
    "regularizer": check_regularizer,
    "clip": check_clip,
    "metrics": get_metrics,
    "seed": _check_seed,
    "backend": backends.choose,
    "n_threads": lambda n: None if n is None else data.check_integer(n, "n_threads"),
}
