"""Inputs that a network learns badly from."""

import warnings

import numpy as np
from scipy.sparse import issparse

from ..health.rules import UNSCALED

MOST_NAMED = 5


def warn_of_inputs(model, X):
    """One warning that names the columns which are constant, and those that are far from size 1."""
    with np.errstate(over="ignore"):
        if issparse(X):
            constant = np.zeros(X.shape[1], bool)  # of words, say, that are in no row
            squares = np.asarray(X.multiply(X).mean(axis=0)).ravel()
        else:
            constant = X.min(axis=0) == X.max(axis=0)
            squares = np.einsum("ij,ij->j", X, X) / len(X)
    sizes = np.sqrt(squares)
    words = []
    if constant.any() and X.shape[0] > 1:
        words.append(f"never changing, so that they tell no rows apart: {_names(model, constant)}")
    if (sizes > UNSCALED).any():
        words.append(f"far from size 1 (mean square root up to {sizes.max():.3g}), so that training is slow or "
                     f"diverges: {_names(model, sizes > UNSCALED)}; "
                     f"make_pipeline(StandardScaler(), {type(model).__name__}()) scales them")
    if words:
        warnings.warn("columns of X are hard to learn from: " + "; ".join(words), stacklevel=6)


def _names(model, chosen):
    """The columns where ``chosen``, in words."""
    columns = np.flatnonzero(chosen)
    names = getattr(model, "feature_names_in_", None)
    named = [str(column) if names is None else repr(names[column]) for column in columns[:MOST_NAMED]]
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    return ", ".join(named) + more
