"""The estimators where calls, parameters and data come in an odd order or shape."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

from sklearn import neural_network  # noqa: E402

from bpfast.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

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
