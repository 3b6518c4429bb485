"""scikit-learn's own tests of its MLPs, on ours: those of the version that is installed."""

from pathlib import Path

import pytest
import sklearn.neural_network.tests.test_mlp as own

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
LEFT_OUT = {  # name -> why; what it tests is tested elsewhere, through public means
    "test_gradient": "calls _loss_grad_lbfgs with scikit-learn's buffers; test_sklearn.py: test_gradients",
}

source = Path(own.__file__).read_text()
assert source.count(IMPORT) == 1
exec(compile(source.replace(IMPORT, "from bpfast.sklearn import MLPClassifier, MLPRegressor"), own.__file__, "exec"))
for name in LEFT_OUT:
    del globals()[name]

pytestmark = pytest.mark.filterwarnings("ignore:columns of X are hard")


@pytest.fixture
def global_random_seed():
    return 0


def test_that_they_are_ours_and_how_many():
    assert MLPClassifier.__module__.startswith("bpfast")  # noqa: F821
    found = [name for name in globals() if name.startswith("test_") and name in vars(own)]
    assert len(found) == 43 - len(LEFT_OUT), "scikit-learn has other tests than those that were looked at"
