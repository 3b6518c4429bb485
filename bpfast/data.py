"""What comes in from outside is checked here, before any work: inputs, targets, weights, settings."""

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from numbers import Complex, Integral, Real
from typing import NamedTuple

import numpy as np

from .backends.base import Data
from .ops import random
from .ops.table import within
from .sparse import SparseRows, numbers

BLOCK = 1 << 16  # elements looked at in one go, so that a check allocates little


def check_inputs(X, input_shape=None, dtype=np.float64, name="X"):
    """-> X (n, *input_shape) as a real, finite array, the caller's own unless it held objects; or as SparseRows."""
    X = check_rows(X, input_shape, name)
    check_finite(X, name, dtype)
    return X


def check_rows(X, input_shape=None, name="X"):
    """-> X (n, *input_shape) as a real array, or SparseRows; whether it is finite is left to those who read it.

    Rows of any shape are taken where it is not known: (n_in,), (length, channels) or (height, width, channels).
    """
    X = _check_sparse(X, name, input_shape) if hasattr(X, "tocsr") else check_numbers(X, name)
    if input_shape is None and not 2 <= X.ndim <= 4:
        cure = f"; {ONE_ROW.format(X=name)}" if X.ndim == 1 else ""
        raise ValueError(
            f"{name} must have 2 to 4 dimensions, (n_samples, n_inputs), (n_samples, length, channels) or "
            f"(n_samples, height, width, channels), got shape {X.shape}{cure}")
    if 0 in X.shape:
        raise ValueError(f"{name} is empty: shape {X.shape}; at least one row and one column are needed")
    if input_shape and X.shape[1:] != input_shape:
        if X.ndim == 2 and len(input_shape) == 1:
            raise ValueError(
                f"{name} has {X.shape[1]} columns, but the network's first layer takes {input_shape[0]} inputs")
        cure = _cure_of_shape(X.shape, input_shape)
        raise ValueError(
            f"{name} must have shape {_of_samples(input_shape)}, got {X.shape}{cure and '; ' + cure.format(X=name)}")
    return X


def _check_sparse(X, name, input_shape):
    """-> SparseRows of a SciPy matrix or array in CSR, whose arrays these are, or in CSC."""
    if getattr(X, "format", None) not in ("csr", "csc"):
        raise TypeError(f"{name} is a sparse matrix, but neither in CSR nor in CSC; use {name}.tocsr(), or a dense "
                        f"array: {name}.toarray()")
    if len(X.shape) != 2:
        raise ValueError(f"{name} must have 2 dimensions where it is sparse, (n_samples, n_inputs), got {X.shape}")
    if input_shape and len(input_shape) > 1:
        raise ValueError(f"{name} is a sparse matrix, whose rows are vectors, but the network takes rows of shape "
                         f"{input_shape}; use {name}.toarray().reshape({', '.join(map(str, (-1, *input_shape)))})")
    n, width = X.shape if X.format == "csr" else X.shape[::-1]
    starts = np.require(X.indptr, np.intp, ["C", "A"])
    places = np.require(X.indices, np.int32 if X.indices.dtype == np.int32 else np.int64, ["C", "A"])
    values = check_numbers(X.data, f"{name}.data")
    if starts.shape == (n + 1,) and starts[0] == 0 and (np.diff(starts) >= 0).all():
        places, values = places[: starts[-1]], values[: starts[-1]]
        if len(places) == len(values) == starts[-1] and ((places >= 0) & (places < width)).all():
            rows = SparseRows(starts, places, values, width)
            return rows if X.format == "csr" else _check_sparse(X.tocsr(), name, input_shape)
    raise ValueError(f"{name} is no valid {X.format.upper()} matrix: indptr, indices and data do not belong to shape "
                     f"{X.shape}; {name}.check_format() finds where")


ONE_ROW = "one row is {X}.reshape(1, -1), one column {X}.reshape(-1, 1)"


def _cure_of_shape(given, input_shape):
    """What makes rows of this shape of an array, or nothing."""
    if given[1:] == (input_shape[-1], *input_shape[:-1]):
        return "channels come last: np.moveaxis({X}, 1, -1)"
    if len(given) == len(input_shape) == 1:
        return ONE_ROW
    if given == input_shape:
        return f"one {'image' if len(given) == 3 else 'sequence'} is {{X}}[None]"
    if math.prod(given[1:]) == math.prod(input_shape):
        return f"{{X}}.reshape({', '.join(map(str, (-1, *input_shape)))}), if its numbers are in this order"
    return ""


def _of_samples(shape):
    """The shape of an array with rows of this one, in words."""
    return str(("n_samples", *shape)).replace("'", "")


def check_data(X, y, sample_weight, loss, program, dtype, name=""):
    """-> Data of checked inputs, and targets checked against a loss and a network's outputs.

    ``name`` prefixes the names in errors.
    """
    if loss.labels:
        y = check_labels(y, program.n_out, f"{name}y")
    else:
        y = check_targets(y, program.output_shape, dtype, f"{name}y", loss.targets)
    if len(y) != len(X):
        raise ValueError(f"{name}X has {len(X)} rows, but {name}y has {len(y)}; they must be the same")
    return Data(X, y, check_weight(sample_weight, len(X), f"{name}sample_weight"))


UNIQUE = "classes, {y} = numpy.unique({y}, return_inverse=True)"


class Kind(NamedTuple):
    """What targets may be, where they are something else, and what to write instead."""

    expected: str
    outside: Callable
    cure_of_strings: str | None = None
    mistaken: tuple = ()  # numbers that are often given for these
    cure_of_mistaken: str | None = None


KINDS = {
    "reals": Kind("numbers", lambda y: np.zeros(y.shape, bool)),
    "unit": Kind("numbers in [0, 1]", lambda y: (y < 0) | (y > 1), UNIQUE, (-1, 1), "({y} + 1) / 2"),
    "nonnegative": Kind("numbers of at least 0", lambda y: y < 0),
    "signs": Kind("-1 or +1", lambda y: (y != -1) & (y != 1), UNIQUE + "; {y} = 2 * {y} - 1", (0, 1), "2.0 * {y} - 1"),
}


def check_targets(y, output_shape, dtype=np.float64, name="y", kind="reals"):
    """-> y (n, n_out) of numbers of this kind (see ``ops.table.Loss``), from such rows or (n, *output_shape).

    (n,) is taken as one column.
    """
    kind, n_out = KINDS[kind], math.prod(output_shape)
    if kind.cure_of_strings:
        y = _array(y, name)
        _refuse_strings(y, name, f"targets must be {kind.expected}", kind.cure_of_strings)
    y = check_numbers(y, name)
    shapes = dict.fromkeys(((n_out,), output_shape, *([()] if n_out == 1 else ())))
    if y.shape[1:] not in shapes or not y.ndim:
        expected = " or ".join(map(_of_samples, shapes))
        raise ValueError(f"{name} must have shape {expected} for a network with {n_out} outputs, got {y.shape}")
    y = y.reshape(len(y), n_out)
    check_finite(y, name, dtype)
    for begin, block in _blocks(y):
        outside = kind.outside(block)
        if not outside.any():
            continue
        place = np.argwhere(outside)[0]
        row, column = begin + place[0], place[1]
        where = f"row {row}, output {column}," if n_out > 1 else f"row {row}"
        mistaken = kind.mistaken and np.isin(y, kind.mistaken).all()
        cure = f"; use {kind.cure_of_mistaken.format(y=name)}" if mistaken else ""
        raise ValueError(f"{name} must hold {kind.expected} for this loss; {where} is {y[row, column].item()!r}{cure}")
    return y


def check_labels(y, n_out, name="y"):
    """-> (n,) whole numbers 0 <= y < n_out of any real dtype, from such labels, or from one-hot rows (n, n_out)."""
    y = _array(y, name)
    _refuse_strings(y, name, f"class labels must be integers 0 .. {n_out - 1}", UNIQUE)
    y = check_numbers(y, name)
    if y.ndim == 2 and y.shape[1] == n_out and n_out > 1:
        labels = np.empty(len(y), np.int64)
        for begin, block in _blocks(y):
            if not (((block == 0) | (block == 1)).all() and (block.sum(axis=1) == 1).all()):
                raise ValueError(f"{name} has shape {y.shape}, so its rows must be one-hot: one 1 and otherwise 0")
            labels[begin : begin + len(block)] = block.argmax(axis=1)
        return labels
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"{name} must be labels (n_samples,) or one-hot (n_samples, {n_out}), got shape {y.shape}")
    check_finite(y, name)
    for begin, block in _blocks(y):
        wrong = (block < 0) | (block >= n_out) | (block != np.floor(block))
        if wrong.any():
            row = begin + int(np.argmax(wrong))
            cure = f"; labels begin at 0: {name} - 1" if y.min() == 1 and y.max() == n_out else ""
            raise ValueError(
                f"{name} must hold class labels 0 .. {n_out - 1} for a network with {n_out} outputs; "
                f"row {row} is {y[row].item()!r}{cure}"
            )
    return y


def check_weight(weight, n, name="sample_weight"):
    """-> (n,) float64, finite, not negative, not all zero; or None."""
    if weight is None:
        return None
    weight = check_numbers(weight, name)
    if weight.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one weight per row of X, got {weight.shape}")
    check_finite(weight, name)
    if (weight < 0).any():
        row = int(np.argmax(weight < 0))
        raise ValueError(f"{name} must not be negative; row {row} is {weight[row].item()!r}")
    if not weight.any():
        raise ValueError(f"every sample weight is zero: there is nothing to learn from; give {name} a positive entry")
    weight = np.array(weight, np.float64)
    with np.errstate(over="ignore"):
        if not np.isfinite(weight.sum()):
            raise ValueError(f"{name} adds up to more than a float64 holds; scale it down: only its proportions matter")
    largest = weight.max()
    if not 1e-100 < largest < 1e100:  # only proportions matter, and sums of weighted losses stay finite
        weight /= largest
    weight[weight < np.finfo(np.float64).tiny] = 0  # a denormal counts as nothing in every backend
    return weight


def class_labels(y, targets):
    """-> (n,) int64 labels of checked targets, or None where they are no classes.

    Classes are labels, and of one output 0 and 1, or -1 and 1.
    """
    if targets == "labels":
        return y.astype(np.int64)
    if targets not in ("unit", "signs") or y.shape[1] > 1:
        return None
    if not all(((block == 0) | (np.abs(block) == 1)).all() for _, block in _blocks(y)):
        return None
    return (y[:, 0] > 0).astype(np.int64)


def weigh_classes(rows, class_weight, labels, n_classes, training=None):
    """-> Data whose weights are multiplied by those of the classes, in the rows to learn from (None: all).

    class_weight    "balanced": n / (k n_c), n_c of n rows in class c, k classes that there are; King & Zeng 2001
                    or a mapping label -> weight, 1 where it has none; or a sequence of a weight per class
    """
    if labels is None:
        raise ValueError("class_weight is for class labels, but these targets are numbers; use sample_weight")
    training = slice(None) if training is None else training
    weight = np.ones(len(labels)) if rows.weight is None else rows.weight.copy()
    weight[training] *= _class_weights(class_weight, labels[training], n_classes)[labels[training]]
    check_weight(weight[training], len(labels[training]), "sample_weight times class_weight")
    return rows._replace(weight=check_weight(weight, len(weight), "sample_weight times class_weight"))


def _class_weights(given, labels, n_classes):
    """-> (n_classes,) float64"""
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(labels, minlength=n_classes)
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if hasattr(given, "keys"):  # a mapping, or a pandas.Series with the labels for its index
        given = dict(given.items())
    elif not isinstance(given, (list, tuple, np.ndarray)):
        raise ValueError(f'class_weight must be "balanced", a mapping or a sequence, got {given!r}')
    else:
        if len(given) != n_classes:
            raise ValueError(f"class_weight has {len(given)} entries, but there are {n_classes} classes")
        given = dict(enumerate(given))
    weights = np.ones(n_classes)
    for label, weight in given.items():
        if label not in range(n_classes):
            raise ValueError(f"class_weight has the unknown label {label!r}; labels are 0 .. {n_classes - 1}")
        weights[int(label)] = check_real(weight, f"class_weight[{label!r}]", "[0, inf)")
    return weights


def hold_out(n, share, seed, labels=None):
    """-> (rows to learn from, rows held out), (k,) intp in ascending order: a share of n rows drawn from the seed.

    Each label gives its share as near as whole rows allow, and keeps at least one row to learn from.
    """
    if isinstance(share, bool) or not 0 < share < 1:
        raise ValueError(f"validation must be a share of the rows between 0 and 1, or (X, y), got {share!r}")
    labels = np.zeros(n, np.int64) if labels is None else labels
    shuffled = np.lexsort((random.words(n, seed, random.HOLD_OUT, 0), labels))  # by label, then at random
    first = np.diff(labels[shuffled], prepend=-1) != 0
    candidates = shuffled[~first]
    count = round(n * share)
    if not 0 < count <= len(candidates):
        raise ValueError(
            f"validation={share!r} of {n} rows would hold out {count}; at least one must be, and "
            f"{np.count_nonzero(first)} stay to learn from, one of each class"
        )
    held = np.zeros(n, bool)
    held[candidates[np.arange(count) * len(candidates) // count]] = True  # evenly, so that labels keep their shares
    return np.flatnonzero(~held), np.flatnonzero(held)


def evenly(n, most=1000, *, width=1, numbers=2e7):
    """-> (k,) intp, at most so many of n rows at equal distances; fewer, down to 32, of rows of many numbers each."""
    return np.linspace(0, n - 1, min(n, most, max(32, int(numbers / width)))).astype(np.intp)


def few_rows(rows, among=None):
    """-> Data, a dense copy of at most 1000 rows that weigh something, of all or of those of indices ``among`` (k,)."""
    among = np.arange(len(rows.X)) if among is None else among
    if rows.weight is not None:
        among = among[rows.weight[among] > 0]
    return rows.take(among[evenly(len(among), width=math.prod(rows.X.shape[1:]), numbers=2e6)])


def check_arrays(*groups):
    """Refuse NaN and infinity in a network's parameters and statistics."""
    for arrays in groups:
        for name, array in arrays.items():
            check_finite(array, f"{arrays.kind} {name!r}")


def check_integer(value, name, low=1):
    """-> int, at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
    return int(value)


def check_batch_size(batch_size):
    """-> int, or "full"."""
    if isinstance(batch_size, str):
        if batch_size != "full":
            raise ValueError(f'batch_size must be an integer of at least 1 or "full", got {batch_size!r}')
        return batch_size
    return min(check_integer(batch_size, "batch_size"), sys.maxsize)


def check_real(value, name, interval):
    """-> float, in an interval such as "[0, 1)"; an end that is inf is open."""
    if isinstance(value, bool) or not isinstance(value, Real) or not within(value, interval):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return float(value)


def check_fields(owner, intervals, **fields):
    """-> the numbers of a description as floats, each in the interval that stands under its name."""
    kind = type(owner).__name__
    return {name: check_real(value, f"{kind}: {name}", intervals[name]) for name, value in fields.items()}


def check_flag(value, name):
    """-> bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_seed(seed):
    """-> int of at most 64 bits, or None."""
    if seed is None:
        return None
    seed = check_integer(seed, "seed", 0)
    if seed >= 1 << 64:
        raise ValueError(f"seed must be below 2**64, got {seed}")
    return seed


def check_dtype(dtype):
    """-> numpy.dtype float32 or float64."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if dtype is None or checked is None or checked.str[1:] not in ("f4", "f8") or not checked.isnative:
        raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r}')
    return checked


def check_input_shape(shape):
    """-> the shape of a row of inputs, a tuple of 1 to 3 integers, from such a one or an int."""
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    if not 1 <= len(shape) <= 3:
        raise ValueError(
            "input_shape must be the number of inputs, (length, channels) or (height, width, channels), "
            f"got {shape!r}")
    return tuple(check_integer(size, "input_shape") for size in shape)


def _array(values, name):
    """-> an ndarray, or an error that says why this container is none."""
    if type(values) is np.ndarray:
        return values
    if isinstance(values, np.matrix):
        raise TypeError(f"{name} is a numpy.matrix, whose products differ from an array's; use numpy.asarray({name})")
    if hasattr(values, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix; a dense array is needed: {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries; fill them first: {name}.filled(value)")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from None


def check_numbers(values, name):
    """-> a real array, or an error that says what it is instead; lists and objects are converted whole."""
    array = _array(values, name)
    kind = array.dtype.kind
    if kind == "c":
        raise ValueError(f"{name} is complex ({array.dtype}); only real numbers can be learned from: {name}.real")
    if kind == "O":
        if any(isinstance(value, Complex) and not isinstance(value, Real) for value in array.flat):
            raise ValueError(f"{name} holds complex numbers; only real numbers can be learned from")
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"{name} holds objects that are not numbers: {error}") from None
    elif kind not in "biuf":
        given = f"dtype {array.dtype}"
        if kind in "US":
            given = f"strings ({array.dtype}); {name}.astype(float) reads them, if they are numbers"
        raise TypeError(f"{name} must hold numbers, got {given}")
    return array


def _blocks(array):
    """Pairs (number of the first row, some rows) of an array: what is made of a few rows takes little memory."""
    if array.size <= BLOCK:
        return ((0, array),)
    rows = max(1, BLOCK // max(1, array[:1].size))
    return ((begin, array[begin : begin + rows]) for begin in range(0, len(array), rows))


def _refuse_strings(array, name, expected, cure):
    """Strings and None are no targets; say what to write instead."""
    kind = array.dtype.kind
    if kind in "US" or (kind == "O" and any(isinstance(value, (str, bytes)) or value is None for value in array.flat)):
        held = "None" if any(value is None for value in array.flat) else "strings"
        raise ValueError(f"{name} holds {held}; {expected}: {cure.format(y=name)}")


@lru_cache
def _largest(dtype):
    return float(np.finfo(dtype).max)


def check_finite(array, name, dtype=np.float64):
    """Refuse NaN, infinity, and what is too large for the dtype, with the first place where it stands."""
    rows, array = array, numbers(array)
    if array.dtype.kind != "f":
        return
    most, quick = _largest(dtype), array.dtype.char in "fd"
    for begin, block in _blocks(array):
        if quick and float(np.vdot(block, block)) < most * most:  # then so is every square
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(block.astype(dtype))
        if not finite.all():
            place = np.argwhere(~finite)[0]
            value = block[tuple(place)]
            place[0] += begin
            place = rows.place_of(place[0]) if isinstance(rows, SparseRows) else place
            where = f"{name}[{', '.join(map(str, place))}] is {value}"
            if np.isfinite(value):
                wider = "" if dtype == np.float64 else ", or use dtype='float64'"
                raise ValueError(f"{where}, too large for {np.dtype(dtype)}; scale it{wider}")
            raise ValueError(f"{name} must be finite, but {where}; remove or impute such entries")
