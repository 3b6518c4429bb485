"""One call of fit or partial_fit: epochs of a Trainer, and what scikit-learn tells of them."""

import copy
import math
import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring

from ..callbacks import Callback, TimeLimit
from ..divergence import DivergenceError

DIVERGED = ("Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            "preprocessed.")  # scikit-learn's words, for which its users look


class NotFiniteError(DivergenceError, ValueError):
    """A fit that diverged, as scikit-learn's a ValueError; the model is as it was before that epoch."""


class Rows(NamedTuple):
    """Rows of data: X, checked, targets (n, n_outputs), and what each counts, or None."""

    X: object
    targets: np.ndarray
    weight: np.ndarray | None

    @property
    def n(self):
        return self.X.shape[0]

    def take(self, rows):
        return Rows(*(None if part is None else part[rows] for part in self))


class Fit:
    """One call of ``fit``, or of ``partial_fit``, which is incremental: one epoch.

    ``rows`` to learn from, and ``held`` to validate with, or None; the model has its Trainer.
    """

    def __init__(self, model, rows, held, incremental):
        self.model, self.trainer = model, model._trainer
        self.rows, self.held, self.incremental = rows, held, incremental
        self.context = None
        self.scores = model.early_stopping and held is not None
        self.listens = not incremental and bool(getattr(model, "_skl_callbacks", None))
        self.deadline = math.inf if model.time_limit is None else time.monotonic() + model.time_limit

    def run(self):
        model = self.model
        if self.listens:
            self.context = model._init_callback_context(max_subtasks=model.max_iter)
            self.context.call_on_fit_task_begin(estimator=model, **self._told())
        self.data = {"X": self.rows.X, "y": model._targets_of_loss(self.rows.targets),
                     "sample_weight": model._weights(self.rows), "verbose": False}
        self.report = model._reporter(self.rows)
        if self.held is not None:
            self.report_held = model._reporter(self.held)
            self.labels = model._labels_of(self.held.targets)
            self.held_targets = model._targets_of_loss(self.held.targets)
        model.n_iter_ = 0
        try:
            (self._minimize if model._is_lbfgs else self._descend)()
        except DivergenceError as error:
            raise NotFiniteError(f"{DIVERGED} {error}") from error
        finally:
            model._share_arrays()
        if self.context:
            self.context.call_on_fit_task_end(estimator=model, **self._told(), **self._so_far())

    # -- stochastic solvers ------------------------------------------------------------------------

    def _descend(self):
        model, trainer = self.model, self.trainer
        size = model.batch_size
        if size != "auto" and size > self.rows.n:
            self._warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                       UserWarning, 7)
        if self.scores:
            model._best = (model._best if self.incremental else None) or trainer.network.snapshot()
        try:
            ended = model.early_stopped_
            while not ended:
                ended = self._advance()
        finally:
            if self.scores and (model.early_stopped_ or not self.incremental):
                trainer.network.restore(model._best)
                model._best = None

    def _advance(self):
        """Train until something may have to be decided; -> whether that ends the fit."""
        model = self.model
        step = self._begin_step()
        try:
            self._train(self._epochs_ahead())
        except DivergenceError as error:
            if not self.scores:
                raise
            self._warn(f"{error}. The best weights before are kept", ConvergenceWarning, 8)
            self._account(math.nan)
            model.validation_scores_.append(math.nan)
            return True
        if self.held is not None:
            self._validate()
        if model._rate_rule == "invscaling":
            self._set_rate(model.learning_rate_init * model._outputs_per_loss / (model.t_ + 1) ** model.power_t)
        if self._end_step(step) or (model._no_improvement_count > model.n_iter_no_change and self._slow_down_or_end()):
            return True
        if time.monotonic() >= self.deadline:
            self._warn_of_time(8)
            return True
        if model.n_iter_ >= model.max_iter and not self.incremental:
            self._warn(f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the optimization "
                       "hasn't converged yet.", ConvergenceWarning, 8)
        return self.incremental or model.n_iter_ >= model.max_iter

    def _epochs_ahead(self):
        """How many epochs may pass before the first at whose end there is something to do."""
        model = self.model
        looks = self.held is not None or self.listens or model.verbose or model._rate_rule == "invscaling"
        if self.incremental or looks or model._parts_penalty:
            return 1
        patience = model.n_iter_no_change + 1 - model._no_improvement_count
        return max(1, min(model.max_iter - model.n_iter_, patience))  # a warm start may have none left

    def _train(self, epochs):
        model, history = self.model, self.trainer.history
        before, at_first, n = history.n_epochs, model._penalty(self.rows), model._n_batches(self.rows)
        try:
            self.trainer.fit(epochs=epochs, shuffle=model.shuffle, callbacks=self._limits(), **self.data)
        finally:
            penalty = ((n + 1) * at_first + (n - 1) * model._penalty(self.rows)) / (2 * n)  # as in its loss
            for figures in history.since(before):
                self._account(figures["loss"], penalty)

    def _account(self, loss, penalty=0.0):
        """An epoch is over, whose loss has such a penalty."""
        model = self.model
        model.n_iter_ += 1
        model.t_ += self.rows.n
        model.loss_ = self.report(loss, penalty)
        model.loss_curve_.append(model.loss_)
        self.tell(model.loss_)
        if not self.scores:
            stays = model.loss_ > model.best_loss_ - model.tol
            model._no_improvement_count = model._no_improvement_count + 1 if stays else 0
            model.best_loss_ = min(model.best_loss_, model.loss_)

    def tell(self, loss):
        if self.model.verbose:
            print(f"Iteration {self.model.n_iter_}, loss = {loss:.8f}")

    def _validate(self):
        """Look at the rows held out, and keep the weights if they are the best so far."""
        model, held = self.model, self.held
        figures = self.trainer.evaluate(held.X, self.held_targets, held.weight)
        if model.validation_loss_curve_ is None:
            model.validation_loss_curve_ = []
        model.validation_loss_curve_.append(self.report_held(figures["loss"]))
        if not self.scores:
            return
        score = self._score(figures)
        model.validation_scores_.append(score)
        if model.verbose:
            print(f"Validation score: {score:f}")
        stays = score < model.best_validation_score_ + model.tol
        model._no_improvement_count = model._no_improvement_count + 1 if stays else 0
        if score > model.best_validation_score_:
            model.best_validation_score_, model._best = score, self.trainer.network.snapshot()

    def _score(self, figures):
        model, held = self.model, self.held
        if model.scoring is None:
            if model._metric:  # without scikit-learn's checks, which take longer than an epoch of few rows
                return figures[model._metric]
            return model._score(held.X, self.labels, sample_weight=held.weight)
        nameless = copy.copy(model)  # rows held out have no names of features
        nameless.__dict__.pop("feature_names_in_", None)
        weight = {} if held.weight is None else {"sample_weight": held.weight}
        return float(check_scoring(model, model.scoring)(nameless, held.X, self.labels, **weight))

    def _slow_down_or_end(self):
        """After too many epochs that were no better: lower the rate, or -> True where it cannot be lowered."""
        model = self.model
        what = "Validation score" if self.scores else "Training loss"
        words = f"{what} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive epochs."
        rate = self.trainer.optimizer.learning_rate
        lowers = model._rate_rule == "adaptive"
        stops = not lowers or rate <= 1e-6 * model._outputs_per_loss
        if stops:
            words += " Learning rate too small. Stopping." if lowers else " Stopping."
            model.early_stopped_ = self.scores
        else:
            self._set_rate(rate / 5)
            words += f" Setting learning rate to {rate / 5 / model._outputs_per_loss:f}"
            model._no_improvement_count = 0
        if model.verbose:
            print(words)
        return stops

    def _set_rate(self, rate):
        """Go on at another rate, with the velocities of before, which are the rate times what our momentum keeps."""
        optimizer, state = self.trainer.optimizer, self.trainer._state
        ratio = optimizer.learning_rate / rate
        state.load_slots({slot: {name: ratio * array for name, array in arrays.items()}
                          for slot, arrays in state.slots().items()})
        self.trainer.optimizer = type(optimizer)(**{**optimizer._fields(), "learning_rate": rate})

    def _limits(self):
        """-> the callbacks that end the fit in time."""
        return [] if self.deadline == math.inf else [TimeLimit(max(0.0, self.deadline - time.monotonic()))]

    def _warn_of_time(self, depth):
        model = self.model
        self._warn(f"time_limit={model.time_limit} seconds are over after {model.n_iter_} iterations; the optimization "
                   "hasn't converged yet.", ConvergenceWarning, depth + 1)

    def _warn(self, words, category, depth):
        """Of the line that called ``partial_fit``, so many frames away, or ``fit``, which has one more around it."""
        warnings.warn(words, category, stacklevel=depth + (not self.incremental))

    # -- L-BFGS ------------------------------------------------------------------------------------

    def _minimize(self):
        model, history = self.model, self.trainer.history
        before, looks = history.n_epochs, Looks(self)
        try:
            self.trainer.fit(epochs=model.max_iter, callbacks=[looks, *self._limits()], **self.data)
        finally:
            losses = [figures["loss"] for figures in history.since(before)]
            model.n_iter_ = len(losses)
        if not losses:  # the weights are at a minimum
            losses = [self.trainer.loss_and_gradients(self.data["X"], self.data["y"], self.data["sample_weight"])[0]]
        model.loss_ = self.report(losses[-1], model._penalty(self.rows))
        if model.n_iter_ >= model.max_iter or looks.n > model.max_fun:
            self._warn(f"lbfgs failed to converge after {model.n_iter_} iteration(s): more are needed than max_iter="
                       f"{model.max_iter} or max_fun={model.max_fun} allow. Increase them, or scale the data.",
                       ConvergenceWarning, 7)
        elif time.monotonic() >= self.deadline:
            self._warn_of_time(7)

    # -- who listens -------------------------------------------------------------------------------

    def _told(self):
        return {"X": self.rows.X, "y": lambda: self.model._labels_of(self.rows.targets),
                "metadata": {"sample_weight": self.rows.weight}}

    def _so_far(self):
        """What makes another model of this one as it is now."""
        def attributes():
            self.model._share_arrays()
            return {"coefs_": [array.copy() for array in self.model.coefs_],
                    "intercepts_": [array.copy() for array in self.model.intercepts_], "_trainer": None}

        return {"reconstruction_attributes": attributes}

    def _begin_step(self):
        """-> the context of an iteration, if somebody listens."""
        if self.context:
            step = self.context.subcontext(task_name="iteration")
            return step.call_on_fit_task_begin(estimator=self.model, **self._told())

    def _end_step(self, step):
        """-> whether a listener ends the fit."""
        return step is not None and step.call_on_fit_task_end(estimator=self.model, **self._told(), **self._so_far())


class Looks(Callback):
    """Counts how often L-BFGS looks at the loss, and tells of its iterations."""

    def __init__(self, fit):
        self._fit, self.n, self._step = fit, 0, None

    def tick(self, trainer):
        self.n += 1

    def begin(self, trainer):
        self._step = self._fit._begin_step()

    def epoch(self, trainer, figures):
        self._fit.model.n_iter_ += 1
        self._fit.tell(figures["loss"])
        ends = self._fit._end_step(self._step) or self.n > self._fit.model.max_fun
        if not ends and self._fit.model.n_iter_ < self._fit.model.max_iter:
            self._step = self._fit._begin_step()
        return ends
