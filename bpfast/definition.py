"""What is tried when a user defines a function, before any Numba: errors and warnings name the line and what to write.

Refused is what can never be right: an exception, a complex number, nothing finite, a wrong count of results, a
derivative that differs from finite differences.  Warned of is what NumPy runs, but compiled code cannot, or only
slowly; what is not finite somewhere; and what float32 loses.
"""

import math
import traceback
import warnings

import numpy as np

from .differentiation import STEPS, differences
from .ops import dual
from .ops.objections import at_line, objections, slow_loops

GRID = tuple(float(x) for x in np.linspace(-8, 8, 65) + 1 / 128)  # where functions are tried: off most kinks
TARGETS = (-1.0, 0.0, 0.25, 1.0, 3.0)  # of a loss, tried with every prediction of the grid
FAR = (-100.0, -40.0, -20.0, 20.0, 40.0, 100.0)  # beyond the grid: exp of these overflows float32, and not float64
CLOSE = 1e-5  # a derivative and differences, relative to the larger of 1 and the derivative
SINGLE_CLOSE, SINGLE_LARGEST = 1e-2, 1e38  # a result in float32, likewise; what is larger it cannot hold anyway
NUMBERS_ONLY = "it must make a number from numbers, by arithmetic, math, branches and helpers of the same kind"


def check(op):
    """Try an op that a user wrote; raises ValueError, or warns."""
    (_check_update if op.kind == "optimizer" else _check_function)(op)
    for function in filter(None, (op.function, op.own_slope)):
        for part, line, why in objections(function):
            return _warn(op, part, line, f"cannot be compiled, it runs with backend='numpy' alone: {why}")
        for part, line, why in slow_loops(function):
            return _warn(op, part, line, f"does not vectorise, it runs number by number when compiled: {why}")


def _check_function(op):
    value_of, slope_of = op.value_of(), op.slope_of()
    places, at_once = _places(op)
    _check_truths(op, places)
    unknown, n_known = [], 0
    for numbers in places + at_once:
        value, slope = _call(op, value_of, numbers), _call(op, slope_of, numbers)
        if not math.isfinite(value):
            unknown.append((f"{value}", op.value_of, numbers))
            continue
        if value != _call(op, value_of, numbers):
            raise ValueError(f"{op.place} gives another number at each call with {_shown(numbers)}: it may depend "
                             "on its arguments alone, not on chance or state")
        n_known += 1
        if numbers in places and not _near(numbers[0], op):
            _check_slope(op, value_of, slope, numbers)
        if not math.isfinite(slope):
            unknown.append((f"finite, but its derivative is {slope}", op.slope_of, numbers))
    if not n_known:
        raise ValueError(f"{op.place} is {unknown[0][0]} at {_shown(unknown[0][2])}, and finite nowhere that it was "
                         f"tried{_source_of(op, *unknown[0][1:])}")
    n_bad = sum(numbers in places for _, _, numbers in unknown)
    if unknown:
        what, make, numbers = unknown[0]
        often = f", and not finite at {n_bad} of {len(places)} places where it was tried" if n_bad else ""
        _warn(op, op.function, None, f"is {what} at {_shown(numbers)}{_source_of(op, make, numbers)}{often}: a "
              "training that comes there diverges; keep arguments where functions are finite, as in "
              "math.log(max(x, 1e-6)), or math.sqrt(x * x + 1e-12) for the derivative")
    _check_single(op, [*places, *_far(op)])


def _check_truths(op, places):
    """No comparison is taken for a number in a way that NumPy has not."""
    for function in filter(None, (op.function, op.own_slope)):
        for numbers in places:
            try:
                dual.tried(function)(*numbers, *op.values)
            except dual.AddedComparisons as error:
                raise ValueError(f"{op.place}{_line_of(error, op)}: {error}") from None
            except Exception:  # which the other checks tell
                break


def _check_slope(op, value_of, slope, numbers):
    """The derivative, by differences where these are sure."""
    x, *others = numbers
    expected = differences(lambda t: _call(op, value_of, (x + t, *others)), 1.0)
    off = abs(slope - expected.value)
    if not math.isfinite(expected.uncertainty) or off <= CLOSE * max(1, abs(slope)) + 4 * expected.uncertainty:
        return
    if op.own_slope:
        raise ValueError(f"{op.place}: at {_shown(numbers)} its own derivative gives {slope:.6g}, finite "
                         f"differences give {expected.value:.6g}: correct the derivative by @{op.name}.derivative")
    if math.isfinite(slope):
        raise ValueError(f"{op.place}: at {_shown(numbers)} dual numbers give the derivative {slope:.6g}, finite "
                         f"differences {expected.value:.6g}: {NUMBERS_ONLY}")


def _check_single(op, places):
    """float32 beside float64: what overflows there, or loses most of its digits."""
    for make, words in ((op.value_of, ""), (op.slope_of, "the derivative ")):
        wide, narrow = make(), make(np.float32)
        for numbers in places:
            exact, found = _call(op, wide, numbers), _call(op, narrow, numbers)
            x, *others = numbers
            if not abs(exact) < SINGLE_LARGEST or any(
                    _is_close(found, _call(op, wide, (x * (1 + shift), *others))) for shift in (0, 2e-6, -2e-6)):
                continue
            lost = "differences of almost equal numbers lose digits: rewrite them, as exp(x) - 1 by math.expm1(x)"
            over = ("exp(x) is inf there beyond 88: rewrite it so that exp takes nothing positive, as log(1 + exp(x)) "
                    "by max(x, 0) + math.log1p(math.exp(-abs(x)))")
            return _warn(op, op.function, None, f"{words}is {found:.6g} in float32 at {_shown(numbers)}, in float64 "
                         f"{exact:.6g}{_source_of(op, make, numbers, np.float32)}; "
                         f"{lost if math.isfinite(found) else over}")


def _is_close(found, exact):
    return abs(found - exact) <= SINGLE_CLOSE * max(1, abs(exact))


def _check_update(op):
    """Three steps from zero slots make finite numbers, as many as there are; so do gradients of zero, and float32."""
    slots = [0.0] * len(op.slots)
    _check_truths(op, [(g, 0.5, *slots, 0.01, step) for g in (0.25, -0.25) for step in (1.0, 3.0)])
    step, made = _steps(op, 0.25, np.float64)
    if not all(map(math.isfinite, made)):
        raise ValueError(f"{op.place}: step {step:g} makes {_shown(made)}, which must be finite")
    for kind, gradient in ((np.float64, 0.0), (np.float32, 0.0), (np.float32, 0.25)):
        step, made = _steps(op, gradient, kind)
        if not all(map(math.isfinite, made)):
            return _warn(op, op.function, None, f"makes {_shown(made)} from the gradient {gradient:g} in "
                         f"{kind.__name__}, step {step:g}: inputs that are always 0 have gradients 0; add something "
                         "that float32 holds, such as epsilon=1e-8, to what it divides by")


def _steps(op, gradient, kind):
    """-> the number of the third step, or of the first that makes something infinite; what it makes."""
    rule, n = op.value_of(kind), 1 + len(op.slots)
    made = (0.5, *[0.0] * (n - 1))
    for step in (1.0, 2.0, 3.0):
        made = _call(op, rule, (gradient, *made, 0.01, step), n)
        if not all(map(math.isfinite, made)):
            break
    return step, made


# -- where, and how ----------------------------------------------------------------------------------


def _places(op):
    """-> arguments to try, the first is differentiated by; others at which a kink may lie."""
    if op.kind == "activation":
        return [(x,) for x in GRID], [(0.0,)]
    return [(y, t) for y in GRID[::4] for t in TARGETS], [(t, t) for t in TARGETS]


def _far(op):
    return [(x, *others) for x in FAR for others in ([()] if op.kind == "activation" else [(t,) for t in TARGETS])]


def _near(x, op):
    """Whether differences would reach over a kink that the user names."""
    return any(abs(x - kink) <= 2 * STEPS[0] for kink in getattr(op, "kinks", None) or ())


def _call(op, function, numbers, n=None):
    """-> a float, or n of them; an error names the line of the user's text."""
    try:
        made = function(*numbers, *op.values)
    except Exception as error:
        why = next((f"{why} ({at_line(part.__code__.co_filename, line)})"
                    for part, line, why in objections(op.own_slope or op.function)), NUMBERS_ONLY)
        raise ValueError(f"{op.place} raises {type(error).__name__} at {_shown(numbers)}{_line_of(error, op)}: "
                         f"{error}; {why}") from error
    if n == 1 and not isinstance(made, tuple):
        made = (made,)
    if n and (not isinstance(made, tuple) or len(made) != n):
        raise ValueError(f"{op.place} must return {', '.join(('w', *op.slots))}, got {made!r}")
    if n is None and isinstance(made, tuple):
        raise ValueError(f"{op.place} must return one number, got {made!r}")
    return made


def _line_of(error, op):
    """The last line of the user's text that an error went through, in words."""
    files = {function.__code__.co_filename for function in (op.function, op.own_slope) if function}
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f", line {lines[-1].lineno}: {lines[-1].line}" if lines else ""


def _source_of(op, make, numbers, kind=np.float64):
    """The line from which nan or inf come, in words."""
    try:
        make(kind, "raise")(*numbers, *op.values)
    except FloatingPointError as error:
        return _line_of(error, op)
    except Exception:
        return ""
    return ""


def _warn(op, function, line, text):
    code = function.__code__
    warnings.warn_explicit(f"{op.place} {text}", UserWarning, code.co_filename, line or code.co_firstlineno)


def _shown(numbers):
    return ", ".join(f"{number:g}" for number in numbers)
