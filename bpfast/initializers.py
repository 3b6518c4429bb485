"""How weights begin: variances that keep signals and gradients at one scale from layer to layer."""

import numpy as np

from .description import Description


class Initializer(Description):
    """Draws a weight (n_in, n_out) from a numpy Generator, in float64."""

    __slots__ = ()
    formula = source = ""

    def __call__(self, rng, shape):
        raise NotImplementedError

    @staticmethod
    def get(given):
        """The initializer meant by a name or an initializer."""
        if isinstance(given, Initializer):
            return given
        if isinstance(given, str) and given in INITIALIZERS:
            return INITIALIZERS[given]()
        raise ValueError(f"unknown initializer {given!r}; choose one of: {', '.join(INITIALIZERS)}")


class Glorot(Initializer):
    """w ~ U(-a, a), a = sqrt(6 / (n_in + n_out)), also called Xavier.   Source: Glorot & Bengio 2010, eq. 16."""

    __slots__ = ()
    formula, source = "U(-a, a), a = sqrt(6 / (n_in + n_out))", "Glorot & Bengio 2010, eq. 16"

    def __call__(self, rng, shape):
        limit = np.sqrt(6 / sum(shape))
        return rng.uniform(-limit, limit, shape)


class He(Initializer):
    """w ~ N(0, 2 / n_in), for rectifiers.   Source: He, Zhang, Ren & Sun 2015, eq. 10."""

    __slots__ = ()
    formula, source = "N(0, 2 / n_in)", "He, Zhang, Ren & Sun 2015, eq. 10"

    def __call__(self, rng, shape):
        return rng.normal(0, np.sqrt(2 / shape[0]), shape)


INITIALIZERS = {"glorot": Glorot, "he": He}
