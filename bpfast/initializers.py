"""How weights begin: variances that keep signals and gradients at one scale from layer to layer."""

import math
from abc import abstractmethod

import numpy as np

from .data import check_fields, check_real
from .description import Description
from .ops.table import Activation

REALS = "(-inf, inf)"
INTERVALS = {"value": REALS, "low": REALS, "high": REALS, "mean": REALS, "deviation": "(0, inf)"}  # of these fields
GAINS = {
    "linear": lambda: 1.0,
    "sigmoid": lambda: 1.0,
    "tanh": lambda: 5 / 3,
    "relu": lambda: math.sqrt(2),
    "leaky_relu": lambda slope: math.sqrt(2 / (1 + slope**2)),
    "selu": lambda: 1.0,
}


def gain(activation):
    """The factor of the weights' deviation that makes up for what an activation does to the variance; a float.

    linear, sigmoid 1; tanh 5/3; relu sqrt(2); leaky_relu sqrt(2 / (1 + slope^2)); selu 1.

    ``activation`` is a name or an op; one without a published gain is refused.
    Source: PyTorch, torch.nn.init.calculate_gain; relu and leaky_relu are He, Zhang, Ren & Sun 2015, eq. 10 and 15;
    selu is Klambauer, Unterthiner, Mayr & Hochreiter 2017, whose weights have variance 1 / n_in.
    """
    activation = Activation.get(activation)
    if activation.name not in GAINS:
        raise ValueError(
            f"there is no published gain for {activation.name}; give a number, or one of: {', '.join(GAINS)}"
        )
    return GAINS[activation.name](*activation.values)


class Initializer(Description):
    """Draws a weight (n_in, n_out) or a kernel (..., c_in, c_out) from a numpy Generator, in float64."""

    __slots__ = ()
    formula = source = ""

    @abstractmethod
    def __call__(self, rng, shape):
        """-> float64 array of this shape."""

    @staticmethod
    def get(given):
        """The initializer meant by a name or an initializer."""
        if isinstance(given, Initializer):
            return given
        if isinstance(given, str) and given in INITIALIZERS:
            return INITIALIZERS[given]
        raise ValueError(f"unknown initializer {given!r}; choose one of: {', '.join(INITIALIZERS)}")


def _distribution(owner, given):
    if given not in ("uniform", "normal"):
        raise ValueError(f"{owner}: distribution must be 'uniform' or 'normal', got {given!r}")
    return given


def _gain(owner, given):
    """A positive float, or an activation that has a gain."""
    if not isinstance(given, str | Activation):
        return check_real(given, f"{owner}: gain", "(0, inf)")
    gain(given)
    return Activation.get(given)


def _factor(given):
    """The number that a checked gain is."""
    return gain(given) if isinstance(given, Activation) else given


# -- the same for every shape -----------------------------------------------------------------------------


class Constant(Initializer):
    """w = value.  Units of one layer that begin alike stay alike: not for hidden layers."""

    __slots__ = ("value",)
    formula, source = "value", "Widrow & Hoff 1960"

    def __init__(self, value):
        self._set(**check_fields(self, INTERVALS, value=value))

    def __call__(self, rng, shape):
        return np.full(shape, self.value)


class Zeros(Initializer):
    """w = 0, for a network of a single layer: through zero weights no error passes back."""

    __slots__ = ()
    formula, source = "0", "Widrow & Hoff 1960"

    def __call__(self, rng, shape):
        return np.zeros(shape)


class Uniform(Initializer):
    """w ~ U(low, high)."""

    __slots__ = ("low", "high")
    formula, source = "U(low, high)", "Rumelhart, Hinton & Williams 1986"

    def __init__(self, low=-0.05, high=0.05):
        self._set(**check_fields(self, INTERVALS, low=low, high=high))
        if low >= high:
            raise ValueError(f"Uniform: low must be less than high, got {low!r} and {high!r}")

    def __call__(self, rng, shape):
        return rng.uniform(self.low, self.high, shape)


class Normal(Initializer):
    """w ~ N(mean, deviation^2)."""

    __slots__ = ("mean", "deviation")
    formula, source = "N(mean, deviation^2)", "Krizhevsky, Sutskever & Hinton 2012"

    def __init__(self, mean=0.0, deviation=0.05):
        self._set(**check_fields(self, INTERVALS, mean=mean, deviation=deviation))

    def __call__(self, rng, shape):
        return rng.normal(self.mean, self.deviation, shape)


class TruncatedNormal(Initializer):
    """w ~ N(mean, deviation^2), drawn again while |w - mean| > 2 deviation.

    ``deviation`` is that before the cut; after it the deviation is 0.8796 times as large.
    """

    __slots__ = ("mean", "deviation")
    formula, source = "N(mean, deviation^2) within 2 deviations", "Abadi et al. 2016 (TensorFlow)"

    def __init__(self, mean=0.0, deviation=0.05):
        self._set(**check_fields(self, INTERVALS, mean=mean, deviation=deviation))

    def __call__(self, rng, shape):
        z = rng.standard_normal(shape)
        while (far := np.abs(z) > 2).any():
            z[far] = rng.standard_normal(far.sum())
        return self.mean + self.deviation * z


# -- scaled by the numbers of inputs and outputs ------------------------------------------------------------


def fans(shape):
    """-> n_in, n_out of a weight (n_in, n_out); of a kernel (..., c_in, c_out) the entries that meet in one number."""
    entries = math.prod(shape[:-2])
    return entries * shape[-2], entries * shape[-1]


class Scaled(Initializer):
    """w of mean 0 and variance gain^2 * numerator / fan, uniform or normal; n_in and n_out are its ``fans``."""

    __slots__ = ()
    numerator, gain, formulas = 1, 1.0, {}

    def __call__(self, rng, shape):
        factor = _factor(self.gain)
        if self.distribution == "normal":
            return rng.normal(0, factor * np.sqrt(self.numerator / self.fan(*fans(shape))), shape)
        limit = factor * np.sqrt(3 * self.numerator / self.fan(*fans(shape)))
        return rng.uniform(-limit, limit, shape)

    @staticmethod
    def fan(n_in, n_out):
        """What the variance is divided by."""
        return n_in

    @property
    def formula(self):
        """Of the distribution that was chosen."""
        return self.formulas[self.distribution]


class Glorot(Scaled):
    """w of variance gain^2 * 2 / (n_in + n_out), also called Xavier: uniform, U(-a, a), or normal.

    ``gain`` is a number, or the activation whose ``gain`` is meant: ``Glorot(gain="tanh")``.
    Source: Glorot & Bengio 2010, eq. 16.
    """

    __slots__ = ("distribution", "gain")
    numerator, source = 2, "Glorot & Bengio 2010, eq. 16"
    formulas = {
        "uniform": "U(-a, a), a = gain * sqrt(6 / (n_in + n_out))",
        "normal": "N(0, gain^2 * 2 / (n_in + n_out))",
    }

    def __init__(self, distribution="uniform", gain=1.0):
        self._set(distribution=_distribution("Glorot", distribution), gain=_gain("Glorot", gain))

    @staticmethod
    def fan(n_in, n_out):
        return n_in + n_out


class He(Scaled):
    """w of variance 2 / n_in, for rectifiers, also called Kaiming: normal, or uniform, U(-a, a).

    Source: He, Zhang, Ren & Sun 2015, eq. 10.
    """

    __slots__ = ("distribution",)
    numerator, source = 2, "He, Zhang, Ren & Sun 2015, eq. 10"
    formulas = {"normal": "N(0, 2 / n_in)", "uniform": "U(-a, a), a = sqrt(6 / n_in)"}

    def __init__(self, distribution="normal"):
        self._set(distribution=_distribution("He", distribution))


class LeCun(Scaled):
    """w of variance gain^2 / n_in: normal, or uniform, U(-a, a).

    ``gain`` is a number, or the activation whose ``gain`` is meant.
    Source: LeCun, Bottou, Orr & Mueller 1998, section 4.6.
    """

    __slots__ = ("distribution", "gain")
    numerator, source = 1, "LeCun, Bottou, Orr & Mueller 1998, section 4.6"
    formulas = {"normal": "N(0, gain^2 / n_in)", "uniform": "U(-a, a), a = gain * sqrt(3 / n_in)"}

    def __init__(self, distribution="normal", gain=1.0):
        self._set(distribution=_distribution("LeCun", distribution), gain=_gain("LeCun", gain))


class Orthogonal(Initializer):
    """w = gain * Q, with orthonormal columns, or rows where n_out > n_in; uniform among all such matrices.

    A kernel (..., c_in, c_out) is drawn as the matrix of its filters, one a column.

    Q R is the decomposition of a matrix of normal numbers, signs chosen so that R has a positive diagonal.
    ``gain`` is a number, or the activation whose ``gain`` is meant.
    Source: Saxe, McClelland & Ganguli 2014; the signs: Mezzadri 2007.
    """

    __slots__ = ("gain",)
    formula, source = "gain * Q, Q R = N(0, 1)", "Saxe, McClelland & Ganguli 2014"

    def __init__(self, gain=1.0):
        self._set(gain=_gain("Orthogonal", gain))

    def __call__(self, rng, shape):
        factor = _factor(self.gain)
        n_in, n_out = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
        q = q * np.where(np.diag(r) < 0, -factor, factor)
        return np.ascontiguousarray(q if n_in >= n_out else q.T).reshape(shape)


INITIALIZERS = {
    "zeros": Zeros(),
    "uniform": Uniform(),
    "normal": Normal(),
    "truncated_normal": TruncatedNormal(),
    "glorot": Glorot(),
    "glorot_uniform": Glorot("uniform"),
    "glorot_normal": Glorot("normal"),
    "xavier": Glorot(),
    "xavier_uniform": Glorot("uniform"),
    "xavier_normal": Glorot("normal"),
    "he": He(),
    "he_normal": He("normal"),
    "he_uniform": He("uniform"),
    "lecun": LeCun(),
    "lecun_normal": LeCun("normal"),
    "lecun_uniform": LeCun("uniform"),
    "orthogonal": Orthogonal(),
}
