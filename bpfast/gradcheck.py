"""Is the gradient right?  The engine's against the reference in float64, and against differentiation."""

import math
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from . import data
from .description import Description
from .differentiation import is_analytic, size_of, slope
from .reference import Reference
from .regularizers import restraints
from .trainer import Trainer

VAGUE = 0.1  # of a tensor's largest derivative: where more is tolerated, the check can hardly tell
UNDECIDED = 1e-6  # of a tensor's largest derivative: entries whose derivative is less certain are skipped


class GradientError(AssertionError):
    """A gradient is not the derivative of its loss."""


class Place(NamedTuple):
    """One derivative: of the tensor ``name`` at ``index`` (None: along a random direction), as found and expected.

    They may differ by ``tolerance``; ``against`` is "reference", "complex step" or "differences".
    """

    name: str
    index: tuple | None
    found: float
    expected: float
    tolerance: float
    against: str

    @property
    def error(self):
        """|found - expected|."""
        return abs(self.found - self.expected)

    @property
    def severity(self):
        """The error in units of what is tolerated; above 1 it is a fault."""
        if math.isnan(self.error):
            return math.inf
        return self.error / self.tolerance if self.tolerance else math.inf if self.error else 0.0

    def __str__(self):
        where = " along a random direction" if self.index is None else str(list(self.index) or "")
        return (f"{self.name}{where}: {self.found:.17g}, but {self.expected:.17g} by the {self.against}, "
                f"{self.error:.2g} apart where {self.tolerance:.2g} is tolerated")


class TensorCheck(NamedTuple):
    """What was found of one tensor; errors and tolerance are absolute, ``scale`` is its largest derivative.

    ``entries`` single entries and ``directions`` random directions were differentiated; of these a share ``skipped``
    lies at a kink, or beyond what differences can tell.  The comparison with the reference covers every entry.
    ``worst`` is the Place of the largest severity.
    """

    name: str
    shape: tuple
    entries: int
    directions: int
    skipped: float
    method: str
    scale: float
    tolerance: float
    reference_error: float | None
    derivative_error: float | None
    worst: Place | None

    @property
    def ok(self):
        """Whether something was compared, and no place differs by more than is tolerated."""
        return self.worst is not None and self.worst.severity <= 1

    @property
    def vague(self):
        """Whether more than a tenth of the scale is tolerated."""
        return self.tolerance > VAGUE * self.scale


COLUMNS = ("", "shape", "checked", "skipped", "method", "scale", "vs reference", "vs derivative", "tolerance", "")


class GradientReport(Description):
    """The outcome of a gradient check, a ``TensorCheck`` per tensor in ``checks``; ``print(report)`` shows a table.

    Its last column says "ok", or "WRONG", or "vague" in place of "ok" where more than a tenth of the scale is tolerated
    and the check can hardly tell: a gradient that is nothing but rounding, as that of a bias before a BatchNorm, or one
    that jumps where roundings carry units over a kink.  In float64 the second is rare.
    """

    __slots__ = ("checks",)

    def __init__(self, checks):
        self._set(checks=tuple(checks))

    @property
    def ok(self):
        """Whether every tensor's gradient is right."""
        return all(check.ok for check in self.checks)

    @property
    def worst(self):
        """The Place of the largest severity, or None where there was nothing to compare."""
        return max((check.worst for check in self.checks if check.worst), key=_severity, default=None)

    def raise_if_failed(self):
        """Raise GradientError with the worst place of every tensor that failed."""
        if self.ok:
            return
        failed = [check for check in self.checks if not check.ok]
        lines = [f"  {check.worst or f'{check.name}: nothing could be compared, x is at a kink'}" for check in failed]
        last = [check.name for check in failed if check.name not in ("loss", "X")][-1:]
        hint = f"\nDeltas flow from the output back: look first at what makes {last[0]!r}." if last else ""
        raise GradientError("\n".join([f"{len(failed)} of {len(self.checks)} gradients are wrong:", *lines]) + hint)

    def __str__(self):
        rows = [COLUMNS, *map(_cells, self.checks)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows)


_severity = attrgetter("severity")


def _cells(check):
    relative = [
        "-" if number is None else f"{number / (check.scale or 1):.1e}"
        for number in (check.reference_error, check.derivative_error, check.tolerance)
    ]
    checked = f"{check.entries} + {check.directions}" if check.directions else str(check.entries or "-")
    skipped = f"{check.skipped:.0%}" if check.entries else "-"
    shape = "x".join(map(str, check.shape)) or "-"
    verdict = ("vague" if check.vague else "ok") if check.ok else "WRONG"
    return check.name, shape, checked, skipped, check.method, f"{check.scale:.2g}", *relative, verdict


# -- the two checks ------------------------------------------------------------------------------------


def check_gradients(network, loss, X, y, *, sample_weight=None, regularizer=None, backend="auto", entries=20,
                    directions=4, seed=0):
    """Check the gradient of a network's loss with respect to every parameter and to X; -> GradientReport.

    The backend's gradient, in the network's dtype, is compared with the NumPy reference in float64 (every entry) and
    with the derivative of the reference's loss (up to ``entries`` entries of a tensor drawn by ``seed``, and random
    ``directions`` of those with more).  The derivative is a complex step (Squire & Trapp 1998), or fourth-order
    differences (Fornberg 1988, table 1) where an activation or the loss is not analytic.  Entries at a kink, where it
    jumps, are skipped; the report tells their share.

    The tolerance is measured: 4 times the most that a tensor's gradient moves when every number on the way is off by
    8 roundings of the network's dtype, up or down at random; by 8 sqrt(n / 256) where sums have n > 256 terms, rows x
    pixels of images or inputs of a unit.  So saturated units, ReLUs that flip and weights of any scale raise no false
    alarm; in float64 it is usually near 1e-13 of the largest entry, in float32 near 1e-5, and more where sums are
    long; much more where roundings carry units over a kink, which equal pixels do all at once.

    The loss has the penalties of the ``regularizer``.  Arguments are those of ``Trainer`` and
    ``Trainer.loss_and_gradients``, and so are the errors.  The network keeps its parameters; it is built for X if it
    was not yet.  Every derivative costs a few forward passes, up to thirty with differences; a few dozen rows are
    enough, and about 8 rows of images: a ResNet of 2 blocks and 28 x 28 pixels then takes about half a minute.
    """
    draw = Draw(entries, directions, seed)
    trainer = Trainer(network, loss=loss, regularizer=regularizer, backend=backend)
    found_loss, found = trainer.loss_and_gradients(X, y, sample_weight)
    found["X"] = trainer.input_gradient(X, y, sample_weight)
    _check_differentiable(network)
    found_restraints = restraints(trainer.regularizer, network.program.shapes)
    reference = Reference(network, trainer.loss, X, y, sample_weight, found_restraints)
    exact_loss, exact = reference.gradient()
    for value, dtype in ((found_loss, network.dtype), (exact_loss, "float64")):
        if not np.isfinite(value):
            raise ValueError(f"the loss is {value} in {dtype}; a gradient can be checked where it is finite")
    found["loss"], exact["loss"] = np.array(found_loss), np.array(exact_loss)
    tolerances = reference.tolerances(exact, draw.rng)
    analytic = reference.is_analytic(draw.rng)
    return GradientReport(
        _judge(name, array, exact[name], reference.slopes(name, array, draw, analytic), tolerances[name])
        for name, array in found.items()
    )


def check_gradient(f, gradient, x, *, rtol=1e-7, entries=20, directions=4, seed=0):
    """Check the gradient of any scalar function of an array; -> GradientReport of one tensor, "x".

    Parameters
    ----------
    f : function
        Of a float64 array shaped like x; a number.  If it takes complex arrays too and is analytic its derivative is a
        complex step, otherwise fourth-order differences.
    gradient : array like x, or function of x that gives one
    x : array
        Where to check.
    rtol : float
        The tolerance, relative to the largest derivative.
    entries, directions, seed
        As in ``check_gradients``.
    """
    draw = Draw(entries, directions, seed)
    x = data.check_numbers(x, "x").astype(np.float64)
    found = data.check_numbers(gradient(x.copy()) if callable(gradient) else gradient, "gradient")
    if found.shape != x.shape:
        raise ValueError(f"the gradient must have the shape of x, {x.shape}, got {found.shape}")
    if x.size == 0:
        raise ValueError(f"x is empty: shape {x.shape}; there is nothing to differentiate by")
    rtol = data.check_real(rtol, "rtol", "(0, inf)")
    value = lambda x: _scalar(f(x))
    if not np.isfinite(value(x)):
        raise ValueError(f"f is {value(x)} at x; a gradient can be checked where it is finite")
    v = size_of(x) * draw.rng.normal(size=x.shape)
    analytic = is_analytic(lambda t: value(x + t * v))
    slopes = [(index, float((found * v).sum()), slope(lambda t, v=v: value(x + t * v), size_of(x), analytic))
              for index, v in draw.along(x)]
    scale = max(float(np.abs(found).max()), *(abs(expected.value) for *_, expected in slopes))
    return GradientReport([_judge("x", found, None, slopes, rtol * scale)])


def _check_differentiable(network):
    for instruction in network.program.instructions:
        if not instruction.activation.differentiable:
            raise ValueError(
                f"layer {instruction.layer!r}: {instruction.activation.name!r} has no derivative; what passes back "
                "through it is a learning rule, and there is nothing to check it against"
            )


def _scalar(value):
    value = np.asarray(value)
    if value.size != 1:
        raise ValueError(f"f must give one number, got shape {value.shape}")
    return value.item()


class Draw:
    """Which derivatives of a tensor are looked at."""

    def __init__(self, entries, directions, seed):
        self._entries = data.check_integer(entries, "entries")
        self._directions = data.check_integer(directions, "directions", 0)
        self.rng = np.random.default_rng(data.check_seed(seed))

    def along(self, x):
        """Yield (index, unit vector) for every entry, or for some of many and then (None, random unit vector)."""
        for flat in self.rng.permutation(x.size)[: self._entries]:
            index = tuple(map(int, np.unravel_index(flat, x.shape)))
            v = np.zeros(x.shape)
            v[index] = 1
            yield index, v
        if x.size > self._entries:
            for _ in range(self._directions):
                v = self.rng.normal(size=x.shape)
                yield None, v / np.linalg.norm(v)


def _judge(name, found, exact, slopes, tolerance):
    """-> TensorCheck of what was found against the reference (or None) and against differentiation."""
    places = []
    scale = float(np.abs(found if exact is None else exact).max())
    reference_error = derivative_error = None
    if exact is not None:
        errors = np.abs(found - exact)
        flat = int(np.argmax(errors))  # NaN counts as the largest
        index = tuple(map(int, np.unravel_index(flat, errors.shape)))
        places.append(Place(name, index, float(found[index]), float(exact[index]), tolerance, "reference"))
        reference_error = places[0].error
    enough = max(tolerance, UNDECIDED * scale)
    usable = [(*_, expected) for *_, expected in slopes if expected and expected.uncertainty <= enough]
    if usable:
        by_slope = [Place(name, index, value, expected.value, tolerance + 4 * expected.uncertainty, expected.method)
                    for index, value, expected in usable]
        derivative_error = max(place.error for place in by_slope)
        places += by_slope
    entries = sum(index is not None for index, *_ in slopes)
    return TensorCheck(
        name, found.shape, entries, len(slopes) - entries, 1 - len(usable) / len(slopes) if slopes else 0.0,
        ", ".join(sorted({expected.method for *_, expected in usable})), scale, tolerance, reference_error,
        derivative_error, max(places, key=_severity, default=None),
    )
