"""What comes in: every kind of array that is accepted gives the same bits as the plain one, the others are refused."""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from checks import digest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bpfast as bp
from bpfast import data

N, N_IN, N_OUT = 30, 6, 3


@pytest.fixture
def plain(rng):
    """X, labels, numbers, weights: small whole numbers, which every dtype holds."""
    return (rng.integers(0, 2, (N, N_IN)).astype(float), rng.integers(0, N_OUT, N),
            rng.integers(0, 2, (N, N_OUT)).astype(float), rng.integers(1, 4, N).astype(float))


def labels_trainer(backend, dtype="float32"):
    net = bp.Network([bp.Dense(7, "tanh"), bp.Dense(N_OUT, "softmax")], dtype=dtype, seed=1)
    return bp.Trainer(net, loss="cross_entropy", batch_size=8, seed=2, backend=backend)


def numbers_trainer(backend, dtype="float32"):
    net = bp.Network([bp.Dense(7, "tanh"), bp.Dense(N_OUT)], dtype=dtype, seed=1)
    return bp.Trainer(net, loss="squared_error", batch_size=8, seed=2, backend=backend)


def kinds_trainer(backend, loss):
    """A loss with the output activation that suits it."""
    net = bp.Network([bp.Dense(7, "tanh"), bp.Dense(N_OUT, OUTPUTS[loss])], seed=1)
    return bp.Trainer(net, loss=loss, batch_size=8, seed=2, backend=backend)


OUTPUTS = {"binary_cross_entropy": "sigmoid", "poisson": "relu", "hinge": "linear"}


# -- accepted -----------------------------------------------------------------------------------------------


class Frame:
    """Something like a table of pandas: not an array, but it knows how to become one."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)


def strided(array):
    """The same numbers, every second column and every third row of a larger array."""
    wide = np.full([3 * array.shape[0], *(2 * n for n in array.shape[1:])], 7.0)
    part = wide[(slice(None, None, 3), *(slice(None, None, 2) for _ in array.shape[1:]))]
    part[...] = array
    return part


def backwards(array):
    """The same numbers in memory from the last to the first."""
    return np.ascontiguousarray(np.flip(array))[(slice(None, None, -1),) * array.ndim]


def unaligned(array):
    """The same numbers at an odd address."""
    memory = np.frombuffer(b"\0" + array.tobytes(), np.uint8)
    return memory[1:].view(array.dtype).reshape(array.shape)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def objects(of):
    return lambda array: np.array([of(number) for number in array.ravel().tolist()], object).reshape(array.shape)


DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "q", "Q", "f2", "f4", "f8", "g",
          ">i2", ">i4", ">u8", ">f2", ">f4", ">f8"]
KINDS = {
    "F-order": np.asfortranarray,
    "strided": strided,
    "backwards": backwards,
    "unaligned": unaligned,
    "read-only": read_only,
    "list": np.ndarray.tolist,
    "tuple": lambda array: tuple(map(tuple, array.tolist())) if array.ndim == 2 else tuple(array.tolist()),
    "list of arrays": list,
    "__array__": Frame,
    "int objects": objects(int),
    "float objects": objects(float),
    "bool objects": lambda array: objects(bool)(array) if array.max() < 2 else objects(int)(array),
    "Fraction": objects(Fraction),
    "Decimal": objects(Decimal),
    "mixed objects": objects(lambda number: np.float32(number) if number else 0),
    "unmasked": np.ma.masked_array,
    **{dtype: lambda array, dtype=dtype: array.astype(dtype) for dtype in DTYPES},
    **{f"strided {dtype}": lambda array, dtype=dtype: strided(array).astype(dtype, order="K") for dtype in DTYPES},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array(engine, dtype, plain, kind):
    """Inputs, labels, targets and weights of this kind, in fit, predict, evaluate and loss_and_gradients."""
    make = KINDS[kind]
    X, labels, numbers, weight = plain
    if "?" in kind or "bool" in kind:
        labels, weight = labels % 2, np.minimum(weight, 1)
    for new_trainer, y in (labels_trainer, labels), (numbers_trainer, numbers):
        given, expected = new_trainer(engine, dtype), new_trainer(engine, dtype)
        given.fit(make(X), make(y), epochs=2, sample_weight=make(weight), validation=(make(X), make(y), make(weight)))
        expected.fit(X, y, epochs=2, sample_weight=weight, validation=(X, y, weight))
        assert digest(given.network) == digest(expected.network)
        np.testing.assert_array_equal(given.history["val_loss"], expected.history["val_loss"])
        np.testing.assert_array_equal(given.predict(make(X)), expected.predict(X))
        np.testing.assert_array_equal(given.network.predict(make(X)), expected.network.predict(X))
        assert given.evaluate(make(X), make(y), make(weight)) == expected.evaluate(X, y, weight)
        assert given.loss_and_gradients(make(X), make(y))[0] == expected.loss_and_gradients(X, y)[0]


def test_memory_map(engine, plain, tmp_path):
    """A file that is only read."""
    X, labels, *_ = plain
    np.save(tmp_path / "X.npy", X.astype("f4"))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    trainers = labels_trainer(engine), labels_trainer(engine)
    for trainer, rows in zip(trainers, (mapped, X), strict=True):
        trainer.fit(rows, labels, epochs=2)
    assert digest(trainers[0].network) == digest(trainers[1].network)


def test_one_hot_is_labels(engine, plain):
    X, labels, *_ = plain
    expected = labels_trainer(engine).loss_and_gradients(X, labels)[0]
    for dtype in ("f4", "i8", "?", "u1"):
        assert labels_trainer(engine).loss_and_gradients(X, np.eye(N_OUT, dtype=dtype)[labels])[0] == expected
    for column in (labels[:, None], labels[:, None].astype(float)):
        assert labels_trainer(engine).loss_and_gradients(X, column)[0] == expected


@pytest.mark.parametrize("loss", OUTPUTS)
def test_kinds_of_targets(engine, plain, loss):
    """Truth values, integers and numbers of many outputs are the same targets."""
    X, _, y, _ = plain
    if loss == "hinge":
        y = 2 * y - 1
    expected = kinds_trainer(engine, loss).loss_and_gradients(X, y)[0]
    for dtype in ("i8", "f4", "O") if loss == "hinge" else ("?", "u1", "i8", "f4", "O"):
        assert kinds_trainer(engine, loss).loss_and_gradients(X, y.astype(dtype))[0] == expected
        assert kinds_trainer(engine, loss).evaluate(X, y.astype(dtype))["loss"] == pytest.approx(expected, rel=1e-6)


def test_one_column_may_be_flat(engine, plain):
    X, _, numbers, _ = plain
    net = bp.Network([bp.Dense(1)], input_shape=N_IN, seed=0)
    trainer = bp.Trainer(net, loss="squared_error", backend=engine)
    assert trainer.loss_and_gradients(X, numbers[:, 0])[0] == trainer.loss_and_gradients(X, numbers[:, :1])[0]


@given(hnp.arrays(st.sampled_from(["f4", "f8", "i4", "u1"]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
                  elements=st.integers(0, 100)), st.data())
def test_any_view(array, draw):
    """Any basic slice of an array predicts what its copy does, in every backend that "auto" may choose."""
    view = array[draw.draw(hnp.basic_indices(array.shape, min_dims=2, max_dims=2, allow_newaxis=False,
                                             allow_ellipsis=False))]
    if view.size:
        net = bp.Network([bp.Dense(3, "tanh")], input_shape=view.shape[1], seed=1)
        np.testing.assert_array_equal(net.predict(view), net.predict(view.copy()))


# -- refused ----------------------------------------------------------------------------------------------------


def with_entry(array, value, *index):
    array = array.astype(complex if isinstance(value, complex) else float)
    array[index] = value
    return array


def matrix(array):
    """NumPy warns of them itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(array)


class Sparse:
    """What is known of a sparse matrix without scipy."""

    def tocsr(self):
        return self


REFUSED_X = {
    "complex": (lambda X: X + 1j, ValueError, "X is complex"),
    "complex objects": (lambda X: with_entry(X, 1j, 2, 1).astype(object), ValueError, "X holds complex"),
    "small complex objects": (lambda X: objects(np.complex64)(X + 1j), ValueError, "X holds complex"),
    "empty": (lambda X: X[:0], ValueError, "X is empty"),
    "no columns": (lambda X: X[:, :0], ValueError, "X is empty"),
    "empty list": (lambda X: [], ValueError, "X"),
    "flat": (lambda X: X[:, 0], ValueError, r"X must have 2 to 4 dimensions, \(n_samples, n_inputs\), .*reshape"),
    "deep": (lambda X: X[None], ValueError, r"needs a vector \(n,\), but gets \(30, 6\); put Flatten\(\)"),
    "a number": (lambda X: 3.0, ValueError, r"X must have 2 to 4 dimensions.*got shape \(\)$"),
    "too deep": (lambda X: X[None, None, None], ValueError, r"X must have 2 to 4 dimensions.*\(1, 1, 1, 30, 6\)$"),
    "None": (lambda X: None, (TypeError, ValueError), "X"),
    "NaN": (lambda X: with_entry(X, np.nan, 7, 2), ValueError, r"X must be finite, but X\[7, 2\] is nan"),
    "infinity": (lambda X: with_entry(X, -np.inf, 0, 5), ValueError, r"X\[0, 5\] is -inf"),
    "NaN in float32": (lambda X: with_entry(X, np.nan, 29, 5).astype("f4"), ValueError, r"X\[29, 5\] is nan"),
    "NaN in float16": (lambda X: with_entry(X, np.nan, 1, 0).astype("f2"), ValueError, r"X\[1, 0\] is nan"),
    "NaN in objects": (lambda X: with_entry(X, np.nan, 1, 0).astype(object), ValueError, r"X\[1, 0\] is nan"),
    "inf - inf": (lambda X: with_entry(with_entry(X, np.inf, 3, 1), -np.inf, 3, 2), ValueError, r"X\[3, 1\] is inf"),
    "matrix": (matrix, TypeError, "X is a numpy.matrix.*asarray"),
    "masked": (lambda X: np.ma.masked_array(X, X > 0), ValueError, "X has masked entries"),
    "sparse": (lambda X: Sparse(), TypeError, "X is a sparse matrix.*toarray"),
    "strings": (lambda X: X.astype(str), TypeError, r"X must hold numbers, got strings .*X.astype\(float\)"),
    "dates": (lambda X: X.astype("M8[s]"), TypeError, "X must hold numbers"),
    "records": (lambda X: np.zeros(30, "f4, f4"), TypeError, "X must hold numbers"),
    "objects": (lambda X: np.full(X.shape, object()), TypeError, "X holds objects that are not numbers"),
    "missing": (lambda X: np.full(X.shape, None), ValueError, r"X\[0, 0\] is nan"),
    "ragged": (lambda X: [[1.0, 2.0], [3.0]], ValueError, "X cannot be read"),
    "beyond float64": (lambda X: np.full(X.shape, 10**400, object), (ValueError, TypeError), "X"),
    "dict": (lambda X: {"a": 1}, TypeError, "X"),
}
REFUSED_LABELS = {
    "too large": (lambda y: np.where(np.arange(N) == 4, N_OUT, y), ValueError, "class labels 0 .. 2.*row 4 is 3"),
    "from 1 on": (lambda y: y + 1, ValueError, "class labels 0 .. 2.*is 3; labels begin at 0: y - 1$"),
    "from 2 on": (lambda y: y + 2, ValueError, r"class labels 0 .. 2.*is \d$"),
    "negative": (lambda y: np.where(np.arange(N) == 4, -1, y), ValueError, "class labels 0 .. 2.*row 4 is -1"),
    "fractions": (lambda y: y + 0.5, ValueError, "class labels 0 .. 2.*row 0"),
    "NaN": (lambda y: with_entry(y, np.nan, 3), ValueError, r"y\[3\] is nan"),
    "strings": (lambda y: np.array(["cat", "dog", "cow"])[y], ValueError, "y holds str.*unique"),
    "bytes": (lambda y: np.array([b"cat", b"dog", b"cow"])[y], ValueError, "y holds.*unique"),
    "string objects": (lambda y: np.array(["cat", "dog", "cow"], object)[y], ValueError, "y holds.*unique"),
    "None": (lambda y: None, (TypeError, ValueError), "y"),
    "complex": (lambda y: y + 1j, ValueError, "y is complex"),
    "short": (lambda y: y[1:], ValueError, "X has 30 rows, but y has 29"),
    "not one-hot": (lambda y: np.ones((N, N_OUT)), ValueError, "one-hot"),
    "fractional one-hot": (lambda y: np.eye(N_OUT)[y] * 0.5, ValueError, "one-hot"),
    "one-hot of fewer": (lambda y: np.eye(N_OUT + 1)[y], ValueError, r"one-hot \(n_samples, 3\)"),
    "deep": (lambda y: y[:, None, None], ValueError, "y must be labels"),
    "empty": (lambda y: y[:0], ValueError, "X has 30 rows, but y has 0"),
    "matrix": (lambda y: matrix(y).T, TypeError, "y is a numpy.matrix"),
    "masked": (lambda y: np.ma.masked_array(y, y > 0), ValueError, "y has masked entries"),
    "sparse": (lambda y: Sparse(), TypeError, "y is a sparse matrix"),
    "ragged": (lambda y: [[1, 2], [0]], ValueError, "y cannot be read"),
    "huge": (lambda y: np.full(N, 2**63, np.uint64), ValueError, "class labels 0 .. 2"),
}
REFUSED_NUMBERS = {
    "flat": (lambda y: y[:, 0], ValueError, r"y must have shape \(n_samples, 3\) for .*got \(30,\)$"),
    "narrow": (lambda y: y[:, :2], ValueError, r"y must have shape \(n_samples, 3\).*got \(30, 2\)"),
    "NaN": (lambda y: with_entry(y, np.nan, 3, 2), ValueError, r"y\[3, 2\] is nan"),
    "complex": (lambda y: y + 1j, ValueError, "y is complex"),
    "strings": (lambda y: y.astype(str), TypeError, "y must hold numbers"),
    "matrix": (matrix, TypeError, "y is a numpy.matrix"),
    "masked": (lambda y: np.ma.masked_array(y, y > 0), ValueError, "y has masked entries"),
    "long": (lambda y: np.vstack([y, y]), ValueError, "X has 30 rows, but y has 60"),
    "None": (lambda y: None, (TypeError, ValueError), "y"),
}
REFUSED_KINDS = [  # loss, targets, error, message
    ("binary_cross_entropy", lambda y: 2 * y - 1, ValueError,
     r"y must hold numbers in \[0, 1\] for this loss; row \d+, output \d, is -1.0; use \(y \+ 1\) / 2"),
    ("binary_cross_entropy", lambda y: with_entry(y, 1.5, 4, 2), ValueError, "row 4, output 2, is 1.5$"),
    ("binary_cross_entropy", lambda y: np.where(y > 0, "yes", "no"), ValueError,
     r"y holds strings; targets must be numbers in \[0, 1\]: classes, y = numpy.unique\(y, return_inverse=True\)$"),
    ("binary_cross_entropy", lambda y: np.full(y.shape, None), ValueError, "y holds None; targets must be numbers in"),
    ("poisson", lambda y: with_entry(y, -3, 7, 0), ValueError,
     "y must hold numbers of at least 0 for this loss; row 7, output 0, is -3.0$"),
    ("poisson", lambda y: y.astype(str), TypeError, "y must hold numbers"),
    ("hinge", lambda y: y, ValueError,
     r"y must hold -1 or \+1 for this loss; row \d+, output \d, is 0.0; use 2.0 \* y - 1"),
    ("hinge", lambda y: y > 0, ValueError, r"is False; use 2.0 \* y - 1"),
    ("hinge", lambda y: with_entry(2 * y - 1, 0.5, 2, 1), ValueError, "row 2, output 1, is 0.5$"),
    ("hinge", lambda y: np.where(y > 0, "yes", "no"), ValueError, r"y = numpy.unique\(.*; y = 2 \* y - 1$"),
    ("hinge", lambda y: np.full(y.shape, np.nan), ValueError, r"y\[0, 0\] is nan"),
]
REFUSED_WEIGHTS = {
    "zero": (lambda w: np.zeros(N), ValueError, "(?=.*weight)(?=.*zero)"),
    "negative": (lambda w: with_entry(w, -2, 5), ValueError, "sample_weight must not be negative; row 5 is -2"),
    "NaN": (lambda w: with_entry(w, np.nan, 5), ValueError, r"sample_weight\[5\] is nan"),
    "infinity": (lambda w: with_entry(w, np.inf, 5), ValueError, r"sample_weight\[5\] is inf"),
    "short": (lambda w: w[1:], ValueError, r"sample_weight must have shape \(30,\)"),
    "a column": (lambda w: w[:, None], ValueError, r"sample_weight must have shape \(30,\)"),
    "a number": (lambda w: 1.0, ValueError, r"sample_weight must have shape \(30,\)"),
    "strings": (lambda w: w.astype(str), TypeError, "sample_weight must hold numbers"),
    "complex": (lambda w: w + 1j, ValueError, "sample_weight is complex"),
    "sum beyond float64": (lambda w: np.full(N, 1e308), ValueError, "sample_weight"),
}


def check_refused(trainer, X, y, weight, error, message):
    """Every call refuses, also as validation data, and the network never learns that there was one."""
    calls = [lambda: trainer.fit(X, y, sample_weight=weight), lambda: trainer.evaluate(X, y, weight),
             lambda: trainer.loss_and_gradients(X, y, weight)]
    for call in calls:
        with pytest.raises(error, match=message):
            call()
    assert trainer.network.program is None and trainer.history.n_epochs == 0


@pytest.mark.parametrize("kind", REFUSED_X)
def test_refused_inputs(plain, kind):
    make, error, message = REFUSED_X[kind]
    X, y, *_ = plain
    bad = make(X)
    check_refused(labels_trainer("numpy"), bad, y, None, error, message)
    for predict in (labels_trainer("numpy").predict, labels_trainer("numpy").network.predict,
                    labels_trainer("numpy").network.activations):
        with pytest.raises(error, match=message):
            predict(bad)


@pytest.mark.parametrize("kind", REFUSED_LABELS)
def test_refused_labels(plain, kind):
    make, error, message = REFUSED_LABELS[kind]
    X, y, *_ = plain
    check_refused(labels_trainer("numpy"), X, make(y), None, error, message)


@pytest.mark.parametrize("kind", REFUSED_NUMBERS)
def test_refused_targets(plain, kind):
    make, error, message = REFUSED_NUMBERS[kind]
    X, _, y, _ = plain
    check_refused(numbers_trainer("numpy"), X, make(y), None, error, message)


@pytest.mark.parametrize("loss, make, error, message", REFUSED_KINDS)
def test_refused_kinds_of_targets(plain, loss, make, error, message):
    """A loss takes targets of its kind; the first others are named, and what to write instead."""
    X, _, y, _ = plain
    check_refused(kinds_trainer("numpy", loss), X, make(y), None, error, message)


def test_one_output_has_no_number(plain):
    X, _, y, _ = plain
    trainer = bp.Trainer(bp.Network([bp.Dense(1)]), loss="hinge", backend="numpy")
    with pytest.raises(ValueError, match=r"row \d+ is 0.0; use"):
        trainer.fit(X, np.where(np.arange(N) < 5, 1, y[:, 0] * 0))


@pytest.mark.parametrize("kind", REFUSED_WEIGHTS)
def test_refused_weights(plain, kind):
    make, error, message = REFUSED_WEIGHTS[kind]
    X, y, _, weight = plain
    check_refused(labels_trainer("numpy"), X, y, make(weight), error, message)


@pytest.mark.parametrize("validation, error, message", [
    (lambda X, y: X, ValueError, "validation must be"),
    (lambda X, y: (X,), ValueError, "validation must be"),
    (lambda X, y: (X, y, None, None), ValueError, "validation must be"),
    (lambda X, y: (X[:, 1:], y), ValueError, "validation X has 5 columns"),
    (lambda X, y: (X, y[1:]), ValueError, "validation X has 30 rows, but validation y has 29"),
    (lambda X, y: (X, y + 2), ValueError, "validation y must hold class labels"),
    (lambda X, y: (X * np.nan, y), ValueError, r"validation X\[0, 0\] is nan"),
    (lambda X, y: (X, y, np.zeros(N)), ValueError, "(?=.*weight)(?=.*zero)"),
])
def test_refused_validation(plain, validation, error, message):
    X, y, *_ = plain
    trainer = labels_trainer("numpy")
    with pytest.raises(error, match=message):
        trainer.fit(X, y, validation=validation(X, y))
    assert trainer.network.program is None and trainer.history.n_epochs == 0


@pytest.mark.parametrize("settings, message", [
    ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    ({"epochs": 2.0}, "epochs must be an integer"),
    ({"epochs": True}, "epochs must be an integer"),
    ({"epochs": "3"}, "epochs must be an integer"),
    ({"verbose": "loud"}, "verbose"),
])
def test_refused_settings(plain, settings, message):
    X, y, *_ = plain
    trainer = labels_trainer("numpy")
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, **settings)
    assert trainer.network.program is None and trainer.history.n_epochs == 0


def test_refusals_leave_no_trace(engine, plain):
    """A trainer that has refused much trains like a new one."""
    X, y, _, weight = plain
    used, new = labels_trainer(engine), labels_trainer(engine)
    for trainer in (used, new):
        trainer.fit(X, y, epochs=1)
    before = digest(used.network)
    for wrong in ((X[:, 1:], y, weight), (X * np.nan, y, weight), (X, y + 5, weight), (X, y, 0 * weight)):
        for call in (lambda X, y, w: used.fit(X, y, sample_weight=w), used.evaluate, used.loss_and_gradients):
            with pytest.raises(ValueError):
                call(*wrong)
    assert digest(used.network) == before
    for trainer in (used, new):
        trainer.fit(X, y, epochs=2)
    assert digest(used.network) == digest(new.network)


def test_nan_far_inside_is_found():
    """The first bad entry is named also where the check goes through in blocks."""
    X = np.zeros((3000, 1000), "f4")
    X[2500, 999] = np.inf
    X[2999, 0] = np.nan
    with pytest.raises(ValueError, match=r"X\[2500, 999\] is inf"):
        data.check_inputs(X)


def test_large_numbers_are_finite():
    """Whose sum is not."""
    assert data.check_inputs(np.full((4, 4), 1e308)).max() == 1e308
    assert data.check_inputs(np.full((4, 4), np.finfo("f4").max, "f4")).dtype == np.float32


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_beyond_float32(engine, plain):
    """Finite in float64, infinite in the network's float32: an error, and the network stays as it was."""
    X, y, *_ = plain
    trainer = labels_trainer(engine)
    trainer.fit(X, y, epochs=1)
    before = digest(trainer.network)
    with pytest.raises((ValueError, bp.DivergenceError)):
        trainer.fit(with_entry(X, 1e39, 3, 1), y, epochs=1)
    assert digest(trainer.network) == before


@pytest.mark.parametrize("wrong", ["float16", "f2", "int32", ">f4", "complex64", "real", 3, None])
def test_refused_dtypes(wrong):
    with pytest.raises(ValueError, match='dtype must be "float32" or "float64"'):
        bp.Network([bp.Dense(1)], dtype=wrong)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**64])
def test_refused_seeds(seed):
    with pytest.raises(ValueError, match="seed must be"):
        bp.Network([bp.Dense(1)], seed=seed)


@pytest.mark.parametrize("shape", [0, -1, 2.5, "3", (), (2, 3, 4, 5), (2, 0), (0,), True])
def test_refused_input_shapes(shape):
    with pytest.raises(ValueError, match="input_shape"):
        bp.Network([bp.Dense(1)], input_shape=shape)
