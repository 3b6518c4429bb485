"""Regularizers and clipping: what keeps weights and gradients small."""

import math
from collections.abc import Mapping

from .data import check_fields
from .description import Description
from .ops.regularization import Clip, Restraint

INTERVALS = {"rate": "[0, inf)", "limit": "(0, inf)"}  # of the fields of these names


class Regularizer(Description):
    """One kind of restraint on a parameter; ``part`` is the part of a Restraint that its only field is."""

    __slots__ = ()
    formula = source = part = ""

    @property
    def restraint(self):
        """The Restraint that the engine applies."""
        (amount,) = self._fields().values()
        return Restraint(**{self.part: amount})


class Shrinkage(Regularizer):
    """A pull towards zero, in proportion to its rate."""

    __slots__ = ("rate",)

    def __init__(self, rate):
        self._set(**check_fields(self, INTERVALS, rate=rate))


class L1(Shrinkage):
    """Adds rate * sum |w| to the training loss, so that weights become zero.   Source: Tibshirani 1996."""

    __slots__ = ()
    part, formula, source = "l1", "E + rate sum |w|", "Tibshirani 1996"


class L2(Shrinkage):
    """Adds rate/2 * sum w^2 to the training loss, so that weights stay small.   Source: Krogh & Hertz 1992, eq. 1."""

    __slots__ = ()
    part, formula, source = "l2", "E + rate/2 sum w^2", "Krogh & Hertz 1992, eq. 1"


class L2OfSum(Shrinkage):
    """Adds rate/2 * sum w^2 to the sum of the losses of a batch, of which the training loss is the mean.

    The mean, and so the pull in a step, has that much divided by the batch's sum of weights, 1 a row without any:
    scikit-learn's ``alpha``.
    """

    __slots__ = ()
    part, formula, source = "l2_of_sum", "E + rate/2 sum w^2 / sum of weights", "Krogh & Hertz 1992, eq. 1"


class WeightDecay(Shrinkage):
    """w <- w - learning_rate rate w at every step, apart from loss and gradient, with any optimizer.

    By itself it is for weights alone, while ``AdamW`` lets biases decay too.
    Source: Loshchilov & Hutter 2019, eq. 1 and algorithms 1, 2.
    """

    __slots__ = ()
    part, formula, source = "decay", "w - lr rate w, then the step", "Loshchilov & Hutter 2019, eq. 1"


class MaxNorm(Regularizer):
    """After every step scales the weights of each unit, W[:, j], to a norm of at most limit.

    Source: Srebro & Shraibman 2005; Srivastava et al. 2014, 5.1.
    """

    __slots__ = ("limit",)
    part, formula, source = "max_norm", "W_j min(1, limit / |W_j|)", "Srivastava et al. 2014, 5.1"

    def __init__(self, limit):
        self._set(**check_fields(self, INTERVALS, limit=limit))


class Clipping(Description):
    """One way to bound the gradient of a step; ``part`` is the part of a Clip that its limit is."""

    __slots__ = ("limit",)
    formula = source = part = ""

    def __init__(self, limit):
        self._set(**check_fields(self, INTERVALS, limit=limit))

    @property
    def clip(self):
        """The Clip that the engine applies."""
        return Clip(**{self.part: self.limit})


class ClipValue(Clipping):
    """Brings every number of the gradient into [-limit, limit].   Source: Mikolov 2012, 3.2.2."""

    __slots__ = ()
    part, formula, source = "value", "min(max(g, -limit), limit)", "Mikolov 2012, 3.2.2"


class ClipNorm(Clipping):
    """Scales the gradient of each parameter array to a norm of at most limit.   Source: Pascanu et al. 2013, alg. 1."""

    __slots__ = ()
    part, formula, source = "norm", "g min(1, limit / |g|), g of one array", "Pascanu et al. 2013, alg. 1"


class ClipGlobalNorm(Clipping):
    """Scales the whole gradient to a norm of at most limit and keeps its direction.

    Source: Pascanu et al. 2013, algorithm 1.
    """

    __slots__ = ()
    part, formula, source = "global_norm", "g min(1, limit / |g|), g of all arrays", "Pascanu et al. 2013, alg. 1"


REGULARIZERS = {kind.__name__: kind for kind in (L1, L2, L2OfSum, WeightDecay, MaxNorm)}
CLIPS = {kind.__name__: kind for kind in (ClipValue, ClipNorm, ClipGlobalNorm)}


def check_regularizer(given):
    """-> a tuple of Regularizers, or a dict of them by parameter; what is not one is refused."""
    if isinstance(given, Mapping):
        return {name: _several(one) for name, one in given.items()}
    return _several(given)


def _several(given):
    several = () if given is None else (given,) if isinstance(given, Regularizer) else given
    if not isinstance(several, (tuple, list)) or not all(isinstance(one, Regularizer) for one in several):
        raise TypeError(
            "regularizer must be such as L2(1e-4), a list of them, or a dict from names of parameters to them; "
            f"got {given!r}"
        )
    return tuple(several)


def check_clip(given):
    """-> the Clipping, or None; what is none is refused."""
    if given is not None and not isinstance(given, Clipping):
        raise TypeError(f"clip must be one of {', '.join(CLIPS)}, such as ClipGlobalNorm(1.0), got {given!r}")
    return given


def restraints(regularizer, shapes):
    """-> dict, name of a parameter -> Restraint, for parameters of these shapes.

    A regularizer by itself is for all weights, not for biases.
    """
    if not isinstance(regularizer, dict):
        regularizer = {name: regularizer for name, shape in shapes.items() if len(shape) > 1}
    found = {}
    for name, several in regularizer.items():
        if name not in shapes:
            raise ValueError(f"regularizer names a parameter {name!r}; the network has: {', '.join(shapes)}")
        parts = [one.restraint for one in several]
        if not parts:
            continue
        *sums, max_norm = zip(*parts)
        found[name] = Restraint(*map(sum, sums), min(max_norm))
        if found[name].max_norm < math.inf and len(shapes[name]) == 1:
            raise ValueError(f"MaxNorm is for the weights of units, but {name!r} is a bias: give it to a weight")
    return found
