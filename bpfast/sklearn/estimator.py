"""What both estimators are: scikit-learn's checks and attributes around a Trainer that does the work."""

import copy
from numbers import Integral, Real
from operator import is_not

import numpy as np
from sklearn.base import _fit_context, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..data import check_dtype
from ..layers import Dense, Dropout
from ..lbfgs import LBFGS
from ..network import Network
from ..ops import ACTIVATIONS
from ..ops.table import Activation
from ..optimizers import SGD, Adam, Momentum, Nesterov, Optimizer
from ..regularizers import Clipping, L2OfSum
from ..trainer import Trainer
from .fit import Fit, Rows
from .inputs import warn_of_inputs

NAMES = {"identity": "linear", "logistic": "sigmoid", "exp": "exponential"}  # scikit-learn's of activations -> ours
CONSTRAINTS = {  # of parameters that scikit-learn has not, or not so wide
    "activation": [StrOptions({*NAMES, *ACTIVATIONS} - {"softmax", "exp"}), Activation, list, tuple],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "optimizer": [str, Optimizer, None],
    "clip": [Clipping, None],
    "scoring": [str, callable, None],
    "keep_optimizer": ["boolean"],
    "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "backend": [StrOptions({"auto", "native", "numba", "numpy"})],
}

OF_ONE_LIBRARY = {  # attributes that only one of both has
    "_trainer", "_known", "_made_with", "_best", "early_stopped_", "validation_loss_curve_",
    "_optimizer", "_best_coefs", "_best_intercepts", "_coef_indptr", "_intercept_indptr", "_skl_callbacks"}
CURVES = "loss_curve_", "_no_improvement_count", "best_loss_", "validation_scores_", "best_validation_score_"
FTOL = 2.220446049250313e-09  # of SciPy, with which scikit-learn minimizes


class EpsilonHatAdam(Adam):
    """w <- w - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon), scikit-learn's Adam.

    Source: Kingma & Ba 2015, section 2, last paragraph, with epsilon for the paper's epsilon hat.
    """

    __slots__ = ()

    def coefficients_at(self, t, rates):
        table = super().coefficients_at(t, rates)
        table[:, -1] = self.epsilon
        return table


class Perceptron(CallbackSupportMixin):
    """Comes before scikit-learn's class among the bases, whose loops it replaces.

    ``coefs_`` and ``intercepts_`` are the arrays of the Trainer's network.  Where others have been put there, or there
    is no Trainer yet, one is made for them.
    """

    _best = None  # snapshot of the network of the best score

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, indicators of labels, or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            What a row counts in the loss.
        X_val : array-like or sparse matrix of shape (n_rows, n_features), default=None
            Rows to validate with, in place of a share of X: `validation_loss_curve_` has their loss after every
            iteration, and with `early_stopping` their score decides.
        y_val : array-like, default=None
            What belongs to X_val, as y.

        Returns
        -------
        self : object
            The fitted model.
        """
        return self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val)

    def get_trainer(self):
        """Give the Trainer of the fitted model, to go on with.

        Its network is that of the model: `coefs_` and `intercepts_` are its weights and biases. Classes are for it
        numbers, 0, 1, ..., in the order of `classes_`.

        Returns
        -------
        trainer : bpfast.Trainer
            Its history is that of the last `fit`, and of every `partial_fit` since.
        """
        check_is_fitted(self)
        return self._trainer_now()

    @classmethod
    def from_sklearn(cls, model):
        """A model like a fitted one of scikit-learn: its parameters, weights and curves.

        What the optimizer remembers is not taken: `partial_fit` goes on with a new one.

        Parameters
        ----------
        model : sklearn.neural_network.MLPClassifier or MLPRegressor
            Of the same kind.

        Returns
        -------
        model : object
            Of this class.
        """
        if not isinstance(model, cls._twin) or isinstance(model, Perceptron):
            raise TypeError(f"from_sklearn takes a fitted sklearn.neural_network.{cls._twin.__name__}, got {model!r}")
        check_is_fitted(model)
        return _with_attributes(cls(**model.get_params()), model, early_stopped_=False, validation_loss_curve_=None)

    def to_sklearn(self):
        """A model of scikit-learn like this fitted one: its parameters, weights and curves.

        Parameters that scikit-learn has not are left out, and what the optimizer remembers.  Raises ValueError for an
        activation or a loss that it has not.

        Returns
        -------
        model : sklearn.neural_network.MLPClassifier or MLPRegressor
        """
        check_is_fitted(self)
        self._trainer_now()
        kind = self._twin
        model = kind(**{name: getattr(self, name) for name in kind._get_param_names()})
        model._validate_params()
        best = {"_best_coefs": copy.deepcopy(self.coefs_), "_best_intercepts": copy.deepcopy(self.intercepts_)}
        return _with_attributes(model, self, **best)

    # -- predictions -------------------------------------------------------------------------------

    def _forward_pass_fast(self, X, check_input=True):
        """Outputs (n_samples, n_outputs)."""
        plain = (type(X) is np.ndarray and X.ndim == 2 and X.dtype.char in "fd" and len(X) > 0
                 and X.shape[1] == self.n_features_in_ and "feature_names_in_" not in self.__dict__)
        if check_input and not plain:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        trainer = self._trainer_now()
        try:
            return trainer.predict(X)
        except ValueError:
            if plain:  # says what is wrong as other estimators do
                validate_data(self, X, reset=False)
            raise

    # -- a fit -------------------------------------------------------------------------------------

    def _fit(self, X, y, sample_weight=None, incremental=False, X_val=None, y_val=None):
        sizes = np.ravel(self.hidden_layer_sizes).tolist()
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or none")
        if incremental and self.early_stopping and X_val is None:
            raise ValueError("partial_fit does not support early_stopping=True without rows to validate with: "
                             "give X_val and y_val")
        self._hidden_layers()  # raises before there are weights
        if X_val is not None and self._is_lbfgs:
            raise ValueError("X_val: L-BFGS looks at the rows to learn from alone; leave X_val and y_val out, or take "
                             "another solver")
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, targets = self._validate_input(X, y, incremental, reset=first)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        rows = Rows(X, targets.reshape(len(targets), -1), weight)
        self._random_state = check_random_state(self.random_state)
        n_outputs = rows.targets.shape[1]
        if first:
            self._trainer, self.n_outputs_ = None, n_outputs
            dtype = check_dtype(self.dtype or (np.float64 if self._is_lbfgs else X.dtype))
            self._initialize(rows.targets, [X.shape[1], *sizes, n_outputs], dtype)
            for name in ("_best_coefs", "_best_intercepts", *CURVES):
                self.__dict__.pop(name, None)
        elif n_outputs != self.n_outputs_:
            raise ValueError(f"y has {n_outputs} columns, but the model has {self.n_outputs_} outputs: a model that "
                             "goes on keeps them")
        self._begin_curves()
        goes_on = incremental and not first
        self.early_stopped_ = goes_on and getattr(self, "early_stopped_", False)
        self.validation_loss_curve_ = None if first else getattr(self, "validation_loss_curve_", None)
        if not incremental:
            warn_of_inputs(self, X)
        held = None
        if X_val is not None:
            held = self._rows_to_validate(X_val, y_val)
        elif self.early_stopping and not self._is_lbfgs:
            rows, held = self._hold_out(rows)
        self._trainer = self._trainer_for(incremental)
        Fit(self, rows, held, incremental).run()
        return self

    def _begin_curves(self):
        """What this kind of fit needs of what scikit-learn's _initialize makes, and the fit before has not made."""
        if not self._is_lbfgs:
            begun = ([], 0, None, [], -np.inf) if self.early_stopping else ([], 0, np.inf, None, None)
            for name, value in zip(CURVES, begun):
                if self.__dict__.get(name) is None:
                    setattr(self, name, value)

    _parts_penalty = False  # whether the loss that is told needs the penalty by itself

    def _n_batches(self, rows):
        return 1 if self._is_lbfgs else -(-rows.n // self._trainer._rows_per_step)

    def _penalty(self, rows):
        """What the weights of now add to the mean loss of an epoch, where that must be known."""
        return 0.0

    def _hold_out(self, rows):
        """-> Rows to learn from, Rows to validate with."""
        stratify = rows.targets if is_classifier(self) and self.n_outputs_ == 1 else None
        chosen, held = train_test_split(np.arange(rows.n), random_state=self._random_state,
                                        test_size=self.validation_fraction, stratify=stratify)
        if len(held) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your "
                             "dataset.")
        return rows.take(chosen), rows.take(held)

    def _rows_to_validate(self, X, y):
        """-> Rows that the caller gives."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        targets = self._targets_of(y)
        if len(targets) != X.shape[0]:
            raise ValueError(f"X_val has {X.shape[0]} rows, but y_val has {len(targets)}; they must be the same")
        return Rows(X, targets.reshape(len(targets), -1), None)

    @property
    def _is_lbfgs(self):
        return self.solver == "lbfgs" if self.optimizer is None else isinstance(Optimizer.get(self.optimizer), LBFGS)

    @property
    def _rate_rule(self):
        """``learning_rate`` where it counts: an ``optimizer`` and the other solvers do not look at it."""
        return self.learning_rate if self.solver == "sgd" and self.optimizer is None else "constant"

    def _check_solver(self):
        if self._is_lbfgs:
            name = "lbfgs" if self.optimizer is None else repr(self.optimizer)
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {name} is not stochastic.")
        return True

    # -- the trainer -------------------------------------------------------------------------------

    @property
    def _optimizer(self):
        return self._trainer.optimizer

    def _trainer_now(self):
        """The Trainer whose network has the coefficients of now."""
        given, known = [*self.coefs_, *self.intercepts_], self.__dict__.get("_known", ())
        if self.__dict__.get("_trainer") is None or len(given) != len(known) or any(map(is_not, given, known)):
            self._trainer = self._new_trainer(np.result_type(np.float32, *given), seed=0)
        return self._trainer

    def _trainer_for(self, goes_on):
        """The Trainer to fit with: that of before, or one that goes on from it or begins anew."""
        seed = self._random_state.randint(2**31)
        if self.__dict__.get("_trainer") is None:
            return self._new_trainer(np.result_type(np.float32, *self.coefs_), seed)
        before, settings, made_with = self._trainer_now(), self._settings(), self._made_with
        if not (goes_on or self.keep_optimizer) or type(settings["optimizer"]) is not type(before.optimizer):
            return self._new_trainer(before.network.dtype, seed)
        same_settings = all(settings[name] == made_with[name] for name in settings if name != "optimizer")
        if same_settings and before.network.layers[:-1] == self._hidden_layers():
            trainer = before
        else:
            trainer = self._new_trainer(before.network.dtype, seed)
            trainer.optimizer, remembered = before.optimizer, before._remembered()
            if remembered:  # dropout that comes or goes gives parameters other names
                new = dict(zip(before.network.parameters, trainer.network.parameters))
                slots = {slot: {new[name]: array for name, array in arrays.items()}
                         for slot, arrays in remembered["slots"].items()}
                trainer._resume = {**remembered, "slots": slots}
        if settings["optimizer"] != made_with["optimizer"]:
            trainer.optimizer = settings["optimizer"]
        self._made_with = settings
        return trainer

    def _new_trainer(self, dtype, seed):
        """A Trainer whose network has coefs_ and intercepts_."""
        sizes = np.ravel(self.hidden_layer_sizes).tolist()
        if sizes != [len(bias) for bias in self.intercepts_[:-1]]:
            raise ValueError(f"hidden_layer_sizes is {sizes}, but coefs_ and intercepts_ are of layers "
                             f"{[len(bias) for bias in self.intercepts_[:-1]]}: a model that goes on keeps its sizes")
        last = Dense(self.n_outputs_, _ours(self.out_activation_))
        network = Network([*self._hidden_layers(), last], dtype=dtype, seed=0)
        self._known, self._made_with = [*self.coefs_, *self.intercepts_], self._settings()
        arrays = [array for pair in zip(self.coefs_, self.intercepts_) for array in pair]
        network.adopt(arrays, input_shape=len(self.coefs_[0]))
        return Trainer(network, seed=seed, **self._made_with)

    def _hidden_layers(self):
        """-> tuple, those of the parameters of now."""
        sizes, layers = np.ravel(self.hidden_layer_sizes).tolist(), []
        for size, activation, rate in zip(sizes, _each(self, "activation", sizes), _each(self, "dropout", sizes)):
            layers += [Dense(size, _ours(activation)), *([Dropout(rate)] if rate else [])]
        return tuple(layers)

    def _share_arrays(self):
        """coefs_ and intercepts_ are those of the trainer's network."""
        arrays = list(self._trainer.network.parameters.values())
        self.coefs_, self.intercepts_ = arrays[::2], arrays[1::2]
        self._known = [*self.coefs_, *self.intercepts_]

    def _settings(self):
        """What a Trainer is made with.

        E is the mean loss, with alpha / (2 sum of weights) |W|^2.  Where scikit-learn adds up the losses of k outputs
        and ours is their mean, E is a k-th of its own, and so are the numbers that are compared with gradients.
        """
        k = self._outputs_per_loss
        return {
            "loss": self._loss,
            "optimizer": self._new_optimizer(k) if self.optimizer is None else Optimizer.get(self.optimizer),
            "batch_size": 200 if self.batch_size == "auto" else int(self.batch_size),
            "regularizer": (L2OfSum(self.alpha / k),) if self.alpha else (),
            "clip": self.clip,
            "backend": self.backend,
            "n_threads": self.n_threads,
            "metrics": self._metric or (),
        }

    def _new_optimizer(self, k):
        """That of the solver."""
        rate = self.learning_rate_init
        if self.solver == "lbfgs":
            return LBFGS(gradient_tolerance=self.tol / k, loss_tolerance=FTOL)
        if self.solver == "adam":
            return EpsilonHatAdam(rate, self.beta_1, self.beta_2, self.epsilon / k)
        if self.momentum == 0:
            return SGD(rate * k)
        return (Nesterov if self.nesterovs_momentum else Momentum)(rate * k, self.momentum)

    def __getstate__(self):
        """Without the arrays that the trainer has: they would come back as others."""
        state = super().__getstate__()
        if state.get("_trainer") is not None:
            self._trainer_now()
            state = {name: value for name, value in state.items() if name not in ("coefs_", "intercepts_", "_known")}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.__dict__.get("_trainer") is not None:
            self._share_arrays()


def _with_attributes(model, other, **more):
    """A model with copies of what another of its kind has learned."""
    learned = {name: value for name, value in vars(other).items() if name not in {*other.get_params(), *OF_ONE_LIBRARY}}
    vars(model).update(copy.deepcopy(learned), **more)
    return model


def _ours(activation):
    """scikit-learn's name as ours."""
    return NAMES.get(activation, activation) if isinstance(activation, str) else activation


def _each(model, name, sizes):
    """A parameter for every hidden layer: one for all, or a sequence of them."""
    given = getattr(model, name)
    if not isinstance(given, (list, tuple)):
        return [given] * len(sizes)
    if len(given) != len(sizes):
        raise ValueError(f"{name} has {len(given)} entries, but there are {len(sizes)} hidden layers: one for each, or "
                         f"one for all; got {given!r}")
    return given
