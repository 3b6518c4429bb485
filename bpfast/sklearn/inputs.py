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
        words.append(f"{_names(model, constant)} never change: leave them out")
    if (sizes > UNSCALED).any():
        words.append(f"{_names(model, sizes > UNSCALED)} are far from size 1 (mean square root {sizes.max():.3g}), so "
                     f"that training is slow or diverges: scale them, make_pipeline(StandardScaler(), "
                     f"{type(model).__name__}())")
    if words:
        warnings.warn("of the inputs, " + "; ".join(words), stacklevel=6)


def _names(model, chosen):
    """The columns where ``chosen``, in words."""
    columns = np.flatnonzero(chosen)
    names = getattr(model, "feature_names_in_", None)
    named = [str(column) if names is None else repr(names[column]) for column in columns[:MOST_NAMED]]
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    return f"columns {', '.join(named)}{more}"
