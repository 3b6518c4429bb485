"""scikit-learn's MLPClassifier and MLPRegressor, computed by bpfast:  from bpfast.sklearn import MLPClassifier

They are scikit-learn's own classes with other loops, so parameters, attributes and methods are the same; what they have
besides are keywords.  Needs scikit-learn 1.9 or later (extra "sklearn").
"""

from ..extras import need

version = need("sklearn", "bpfast.sklearn").__version__
if tuple(map(int, version.split(".")[:2])) < (1, 9):
    raise ImportError(f"bpfast.sklearn needs scikit-learn 1.9 or later, this is {version}: "
                      'python -m pip install "bpfast[sklearn]"')

from .classifier import MLPClassifier  # noqa: E402
from .fit import NotFiniteError  # noqa: E402
from .regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "NotFiniteError"]
