"""The regressor."""

import numpy as np
from scipy.special import xlogy
from sklearn import neural_network
from sklearn.base import _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..ops import LOSSES
from ..ops.table import Loss
from .estimator import CONSTRAINTS, Perceptron
from .parameters import documented

OF_NUMBERS = {"absolute_error": "mean_absolute_error"} | {  # names of losses -> ours
    name: name for name, loss in LOSSES.items() if loss.targets == "reals" and not loss.fuses}


@documented("Multi-layer Perceptron regressor, which minimizes the squared error or another loss.", """
loss : str or bpfast loss, default="squared_error"
    One of "squared_error", "poisson", "absolute_error", "huber", "quantile", "log_cosh", or by bpfast's name; with
    hyperparameters, as `bpfast.LOSSES["quantile"](q=0.9)`; or one's own, made with `@bpfast.loss`. "poisson" predicts
    with exp, the others with the identity.
""", "", """
MLPClassifier : The same for classes.
sklearn.neural_network.MLPRegressor : The original.
bpfast.Trainer : Networks of any layers; `get_trainer` gives that of a model.
""", """
`loss_` is scikit-learn's: of "squared_error" half the mean of the squares, of "poisson" half the deviance.

Targets far from size 1 are learned slowly: `sklearn.compose.TransformedTargetRegressor` scales them.
""", """
>>> from bpfast.sklearn import MLPRegressor
>>> from sklearn.datasets import make_regression
>>> from sklearn.model_selection import train_test_split
>>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
>>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
>>> model = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
>>> model.score(X_test, y_test) > 0.9
True
""")
class MLPRegressor(Perceptron, neural_network.MLPRegressor):
    _twin = neural_network.MLPRegressor
    _parameter_constraints = {
        **_twin._parameter_constraints, **CONSTRAINTS,
        "loss": [StrOptions({"poisson", *OF_NUMBERS}), Loss],
    }

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False,
                 momentum=0.9, nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9,
                 beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 dropout=0.0, optimizer=None, clip=None, scoring=None, keep_optimizer=False, time_limit=None,
                 dtype=None, n_threads=None, backend="auto"):
        given = dict(locals())
        del given["self"]
        vars(self).update(given)

    def predict(self, X):
        """Predict the numbers of the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The numbers, in the dtype of ``coefs_``.
        """
        if "coefs_" not in self.__dict__:
            check_is_fitted(self)
        outputs = self._forward_pass_fast(X)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Go on with one iteration over the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            What a row counts in the loss.
        X_val : array-like or sparse matrix of shape (n_rows, n_features), default=None
            Rows to validate with; with `early_stopping` the model has its best weights, and stays as it is, when
            their score has not improved in more than `n_iter_no_change` calls: `early_stopped_`.
        y_val : array-like, default=None
            What belongs to X_val, as y.

        Returns
        -------
        self : object
            The model.
        """
        return self._fit(X, y, sample_weight, incremental=True, X_val=X_val, y_val=y_val)

    # -- what a fit asks ---------------------------------------------------------------------------

    _metric = "r2"

    @property
    def _loss(self):
        return OF_NUMBERS.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss

    @property
    def _outputs_per_loss(self):
        """k where scikit-learn's loss is the sum over k outputs, and ours the mean."""
        return self.n_outputs_ if self.loss == "poisson" else 1

    @property
    def _parts_penalty(self):
        """Whether scikit-learn's loss is not ours times a number, as the penalty is not divided by the outputs."""
        return self.loss == "squared_error" and self.n_outputs_ > 1

    def _penalty(self, rows):
        """What the weights of now add to the mean loss of an epoch, where that must be known."""
        if not self._parts_penalty:
            return 0.0
        weights = [w for w in self._trainer.network.parameters.values() if w.ndim == 2]
        squares = sum(np.square(w, dtype=np.float64).sum() for w in weights)
        return self.alpha / 2 * squares * self._n_batches(rows) / (rows.n if rows.weight is None else rows.weight.sum())

    def _reporter(self, rows):
        """-> function, our loss with its penalty as scikit-learn's: half the mean of squares, half the deviance."""
        k = self.n_outputs_
        if self.loss == "poisson":
            t = rows.targets
            least = np.average(xlogy(t, t) - t, axis=0, weights=rows.weight).sum()
            return lambda loss, penalty=0.0: k * loss + least
        if self._parts_penalty:
            return lambda loss, penalty=0.0: (loss - penalty) / k + penalty
        return lambda loss, penalty=0.0: loss

    def _targets_of(self, y):
        """-> (n,) or (n, n_outputs) numbers."""
        return check_array(y, ensure_2d=False, dtype="numeric", input_name="y_val")

    def _targets_of_loss(self, targets):
        return targets

    def _labels_of(self, targets):
        return targets[:, 0] if targets.shape[1] == 1 else targets

    def _weights(self, rows):
        """Of the rows in the loss, or None."""
        return rows.weight
