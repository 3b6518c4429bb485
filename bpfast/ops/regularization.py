"""Restraints on parameters: penalties, decoupled decay, bounds on weights, and clipping of gradients.

w      (any shape) f4|f8       a parameter; a weight is (n_in, n_out)    IN
g      like w                  dE/dw                                     IN
limit  float > 0                                                         IN

The twin is regularization.h.
"""

from math import inf
from typing import NamedTuple

from numpy import clip, sign, sqrt, square, where


class Restraint(NamedTuple):
    """What restrains one parameter; by default nothing.

    The mean loss of rows has the l2 penalty of l2 + l2_of_sum / (the sum of their weights).
    """

    l1: float = 0.0
    l2: float = 0.0
    l2_of_sum: float = 0.0
    decay: float = 0.0
    max_norm: float = inf


class Clip(NamedTuple):
    """What bounds the gradient of a step; by default nothing."""

    value: float = inf
    norm: float = inf
    global_norm: float = inf


NO_RESTRAINT, NO_CLIP = Restraint(), Clip()


def penalty(w, l1, l2):
    """-> number, l1 sum |w| + l2/2 sum w^2, added to the training loss.   Source: Krogh & Hertz 1992; Tibshirani 1996."""
    return l1 * where(w < 0, -w, w).sum() + l2 / 2 * (w * w).sum()


def add_penalty(g, w, l1, l2):
    """-> g + l1 sign(w) + l2 w, the gradient with that of the penalty; sign(0) = 0."""
    return g + l1 * sign(w) + l2 * w


def decayed(w, decay, rate):
    """-> w - rate decay w, before the optimizer's own step of this rate.   Source: Loshchilov & Hutter 2019, eq. 1."""
    return w * (1 - rate * decay)


def limit_columns(w, limit):
    """-> w with every unit's weights, a column, scaled to a norm of at most limit.   Source: Srebro & Shraibman 2005."""
    norms = sqrt(square(w, dtype="f8").reshape(-1, w.shape[-1]).sum(axis=0))
    return w * where(norms > limit, limit / where(norms > limit, norms, 1), 1).astype(w.dtype)


def clip_value(g, limit):
    """-> every number of g brought into [-limit, limit].   Source: Mikolov 2012, 3.2.2."""
    return clip(g, -limit, limit)


def clip_norm(gradients, limit):
    """-> the arrays, scaled by limit / norm where their common norm exceeds it.   Source: Pascanu et al. 2013, alg. 1."""
    norm = sqrt(sum(float(square(g, dtype="f8").sum()) for g in gradients))
    return [g * g.dtype.type(limit / norm) for g in gradients] if norm > limit else list(gradients)
