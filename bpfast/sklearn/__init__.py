"""scikit-learn's MLPClassifier and MLPRegressor, computed by bpfast:  from bpfast.sklearn import MLPClassifier

They are scikit-learn's own classes with other loops, so parameters, attributes and methods are the same; what they have
besides are keywords.  Needs scikit-learn 1.9 or later (extra "sklearn").
"""

from ..extras import need

need("sklearn.callback", "bpfast.sklearn")  # of 1.9 and later

from .classifier import MLPClassifier  # noqa: E402
from .fit import NotFiniteError  # noqa: E402
from .regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "NotFiniteError"]
