"""The estimators where calls, parameters and data come in an odd order or shape."""

import numpy as np
import pytest
from sklearn import neural_network

from bpfast.sklearn import MLPClassifier, MLPRegressor

pytestmark = [pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
              pytest.mark.filterwarnings("ignore:columns of X are hard")]

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
y = (X[:, 0] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (3,), "shuffle": False, "random_state": 0}


@pytest.mark.parametrize("patience", [1, 3])
def test_a_warm_start_after_a_stall(patience):
    """It makes one iteration, which is no better either, as scikit-learn's."""
    models = [kind(**SMALL, solver="sgd", tol=0.5, n_iter_no_change=3, warm_start=True).fit(X, y)
              for kind in (neural_network.MLPClassifier, MLPClassifier)]
    for model in models:
        model.set_params(n_iter_no_change=patience).fit(X, y).fit(X, y)
    theirs, ours = models
    assert ours.n_iter_ == theirs.n_iter_ == 1 and ours.t_ == theirs.t_
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("before", [{"solver": "lbfgs"}, {"early_stopping": False}, {"early_stopping": True}])
def test_another_kind_of_fit_goes_on(before, early):
    """After L-BFGS, which has no curves, and with early stopping that was not there before."""
    model = MLPClassifier(**SMALL, **before, max_iter=5, warm_start=True).fit(X, y)
    model.set_params(solver="adam", early_stopping=early).fit(X, y)
    assert model.loss_curve_[-1] == model.loss_ and model.n_iter_ == 5
    if early:
        assert model.best_validation_score_ == max(model.validation_scores_)
    else:
        assert model.best_loss_ == min(model.loss_curve_[-5:])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_outputs_are_refused_and_leave_the_model(method):
    model = MLPRegressor(**SMALL, max_iter=5, warm_start=True).fit(X, X[:, 0])
    before = model.predict(X)
    with pytest.raises(ValueError, match="y has 2 columns, but the model has 1 outputs"):
        getattr(model, method)(X, X[:, :2])
    np.testing.assert_array_equal(model.predict(X), before)


def test_rows_to_validate_with_have_the_kind_of_labels_learned():
    labels, classes = (X[:, :3] > 0).astype(int), np.arange(40) % 3
    with pytest.raises(ValueError, match="one label a row, but the model has learned from multilabel-indicator"):
        MLPClassifier(**SMALL, max_iter=1).fit(X, labels, X_val=X, y_val=classes)
    with pytest.raises(ValueError, match="not fitted with multilabel"):
        MLPClassifier(**SMALL, max_iter=1).fit(X, classes, X_val=X, y_val=labels)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("more", [{}, {"alpha": 0.1}])
def test_layers_that_change_while_the_optimizer_remembers(method, more):
    def fitted():
        return MLPClassifier(**SMALL, max_iter=3, warm_start=True, keep_optimizer=True).fit(X, y)

    before = fitted().get_trainer()._remembered()
    for change in {"activation": "tanh"}, {"dropout": 0.5}:
        model = fitted().set_params(**more, **change)
        getattr(model, method)(X, y)
        layers = model.get_trainer().network.layers
        assert repr(layers[0].activation) == repr(change.get("activation", "relu"))
        assert len(layers) == 2 + ("dropout" in change)
        assert model.get_trainer()._remembered()["steps"] == before["steps"] + model.n_iter_
    with pytest.raises(ValueError, match="a model that goes on keeps its sizes"):
        getattr(fitted().set_params(**more, hidden_layer_sizes=(7,)), method)(X, y)


@pytest.mark.parametrize("max_fun", range(1, 9))
def test_the_most_gradients_of_lbfgs(max_fun):
    """The iteration in which they are over is finished, as SciPy does."""
    theirs, ours = (kind(**SMALL, solver="lbfgs", max_fun=max_fun).fit(X, y)
                    for kind in (neural_network.MLPClassifier, MLPClassifier))
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize("parameters", [{"activation": ["unknown"]}, {"dropout": [1.0]}])
def test_layers_are_checked_before_there_are_weights(parameters):
    model = MLPClassifier(**SMALL, **parameters)
    with pytest.raises(ValueError):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")
