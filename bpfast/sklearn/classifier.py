"""The classifier."""

import numpy as np
from sklearn import neural_network
from sklearn.base import _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from .estimator import CONSTRAINTS, Perceptron
from .parameters import documented


@documented("Multi-layer Perceptron classifier, which minimizes the log-loss.", """
class_weight : dict, "balanced" or None, default=None
    Multiplies the weights of the rows of each class, as in scikit-learn's other classifiers; not for indicators of
    several labels.
""", """
classes_ : ndarray of shape (n_classes,)
    The labels.
""", """
MLPRegressor : The same for numbers.
sklearn.neural_network.MLPClassifier : The original.
bpfast.Trainer : Networks of any layers; `get_trainer` gives that of a model.
""", """
Two classes, or indicators of several labels, have sigmoid outputs and the binary cross-entropy, added up over the
labels; more classes have softmax and the cross-entropy.
""", """
>>> from bpfast.sklearn import MLPClassifier
>>> from sklearn.datasets import load_breast_cancer
>>> from sklearn.model_selection import train_test_split
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> X, y = load_breast_cancer(return_X_y=True)
>>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
>>> model = make_pipeline(StandardScaler(), MLPClassifier(dropout=0.2, random_state=0, max_iter=300))
>>> model.fit(X_train, y_train).score(X_test, y_test) > 0.95
True
""")
class MLPClassifier(Perceptron, neural_network.MLPClassifier):
    _twin = neural_network.MLPClassifier
    _parameter_constraints = {
        **_twin._parameter_constraints, **CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000,
                 dropout=0.0, class_weight=None, optimizer=None, clip=None, scoring=None, keep_optimizer=False,
                 time_limit=None, dtype=None, n_threads=None, backend="auto"):
        given = dict(locals())
        del given["self"]
        vars(self).update(given)
        self.loss = "log_loss"  # as scikit-learn's

    def predict(self, X):
        """Predict the classes of the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels, or indicators of several labels.
        """
        if "coefs_" not in self.__dict__:
            check_is_fitted(self)
        outputs = self._forward_pass_fast(X)
        if self.out_activation_ == "softmax":
            return self.classes_[outputs.argmax(axis=1)]
        if self.n_outputs_ == 1 and len(self.classes_) == 2 and self._label_binarizer.y_type_ == "binary":
            return self.classes_[(outputs[:, 0] > 0.5).view(np.int8)]
        return self._label_binarizer.inverse_transform(outputs[:, 0] if self.n_outputs_ == 1 else outputs)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None, *, X_val=None, y_val=None):
        """Go on with one iteration over the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels, or indicators of several labels.
        sample_weight : array-like of shape (n_samples,), default=None
            What a row counts in the loss.
        classes : array of shape (n_classes,), default=None
            All labels there will be; needed in the first call.
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
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' is not for partial_fit, which does not see all rows: give the "
                             "weights that compute_class_weight('balanced', ...) finds, as a dict")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True, X_val=X_val, y_val=y_val)

    # -- what a fit asks ---------------------------------------------------------------------------

    @property
    def _loss(self):
        return "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy"

    @property
    def _metric(self):
        """That of ``score``; None where rows have several labels, of which that counts only all together."""
        return "accuracy" if self.out_activation_ == "softmax" or self.n_outputs_ == 1 else None

    @property
    def _outputs_per_loss(self):
        """k where scikit-learn's loss is the sum over k outputs, and ours the mean."""
        return self.n_outputs_ if self.out_activation_ == "logistic" else 1

    def _reporter(self, rows):
        """-> function, our loss as scikit-learn's."""
        k = self._outputs_per_loss
        return lambda loss, penalty=0.0: k * loss

    def _targets_of(self, y):
        """-> (n, n_outputs) bool."""
        learned = self._label_binarizer.y_type_
        if not type_of_target(y).startswith("multilabel"):
            if learned.startswith("multilabel"):
                raise ValueError(f"`y_val` has one label a row, but the model has learned from {learned}: give "
                                 f"indicators of {len(self.classes_)} labels")
            y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"`y_val` has classes not in `self.classes_`: {unknown}; there are {self.classes_}")
        return self._label_binarizer.transform(y).astype(bool)

    def _targets_of_loss(self, targets):
        return targets.argmax(axis=1) if self.out_activation_ == "softmax" else targets

    def _labels_of(self, targets):
        return self._label_binarizer.inverse_transform(targets)

    def _weights(self, rows):
        """Of the rows in the loss, or None."""
        if self.class_weight is None:
            return rows.weight
        if self.out_activation_ == "logistic" and self.n_outputs_ > 1:
            raise ValueError("class_weight is for one label a row, but y indicates several; use sample_weight")
        weight = compute_sample_weight(self.class_weight, self._labels_of(rows.targets))
        return weight if rows.weight is None else weight * rows.weight
