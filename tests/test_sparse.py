"""Sparse rows: what is learned from them is what is learned from the same rows dense, and they stay sparse."""

import tracemalloc
import warnings

import numpy as np
import pytest
from checks import digest
from engines import BACKENDS, SAME_BITS
from samples import python
from scipy import sparse

import bpfast as bp
from bpfast import data

N, N_IN, N_OUT = 53, 37, 3


def some_rows(rng, n=N, n_in=N_IN, share=0.1, dtype="f8"):
    """-> X (n, n_in) dense, a row and a column of it empty, another row full."""
    X = rng.normal(size=(n, n_in)) * (rng.random((n, n_in)) < share)
    X[3], X[:, 5], X[4] = 0, 0, rng.normal(size=n_in)
    return X.astype(dtype)


def with_wide_indices(X):
    X = sparse.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X):
    X = sparse.csr_matrix(X)
    for begin, end in zip(X.indptr, X.indptr[1:]):
        X.data[begin:end], X.indices[begin:end] = X.data[begin:end][::-1].copy(), X.indices[begin:end][::-1].copy()
    return X


def with_zeros(X):
    """Every number of the first rows, zeros too."""
    indptr = np.minimum(np.arange(len(X) + 1), 9) * X.shape[1]
    first = sparse.csr_matrix((X[:9].ravel(), np.tile(np.arange(X.shape[1]), 9), indptr), X.shape)
    rest = sparse.csr_matrix(X)
    return sparse.vstack([first[:9], rest[9:]], format="csr")


def with_duplicates(X):
    """Each number as the sum of two halves, which stand apart."""
    X = sparse.csr_matrix(X)
    rows = [np.r_[begin:end, begin:end] for begin, end in zip(X.indptr, X.indptr[1:])]
    places = np.concatenate(rows)
    return sparse.csr_matrix((X.data[places] / 2, X.indices[places], 2 * X.indptr), X.shape)


KINDS = {
    "csr_matrix": sparse.csr_matrix, "csr_array": sparse.csr_array, "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array, "wide indices": with_wide_indices, "unsorted": unsorted, "zeros": with_zeros,
    "duplicates": with_duplicates,
}
LAYERS = {
    "one unit": [bp.Dense(1, "tanh")],
    "narrow": [bp.Dense(3, "relu")],
    "wide": [bp.Dense(130, "relu"), bp.Dense(9, "gelu")],
    "none": [],
    "no dense layer first": [bp.BatchNorm(), bp.Dropout(0.2), bp.Dense(5, "tanh")],
    "batches": [bp.Dense(7, "relu"), bp.BatchNorm(), bp.Dropout(0.2)],
    "two readers": [bp.Residual(bp.Dense(N_IN, "relu"))],
}


def new_trainer(layers=LAYERS["wide"], *, dtype="float64", backend="native", n_out=N_OUT, **settings):
    net = bp.Network([*layers, bp.Dense(n_out, "softmax" if n_out > 1 else "sigmoid")], dtype=dtype, seed=1)
    settings = {"batch_size": 8, "optimizer": bp.Adam(0.01), "seed": 2, **settings}
    return bp.Trainer(net, loss="cross_entropy" if n_out > 1 else "binary_cross_entropy", backend=backend, **settings)


def everything(trainer, X, y, **fitting):
    """-> arrays of all that a trainer makes of rows, each of which may be sparse."""
    trainer.fit(X, y, **{"epochs": 2, "validation": (X[:20], y[:20]), "verbose": False, **fitting})
    loss, gradients = trainer.loss_and_gradients(X, y)
    return [trainer.network.to_vector(), trainer.history["loss"], trainer.history["val_loss"], trainer.predict(X),
            trainer.network.predict(X), np.array([loss, trainer.evaluate(X, y)["loss"]]), *gradients.values(),
            trainer.input_gradient(X, y)]


def check_same(dtype, found, expected):
    """The same up to roundings."""
    off = {"float64": 1e-12, "float32": 2e-4}[dtype]  # Adam divides small gradients by their own size
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=off, atol=off * np.abs(b).max())


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(engine, rng, kind, dtype):
    X, y = some_rows(rng, dtype=dtype), rng.integers(N_OUT, size=N)
    check_same(dtype, everything(new_trainer(dtype=dtype, backend=engine), KINDS[kind](X), y),
               everything(new_trainer(dtype=dtype, backend=engine), X, y))


@pytest.mark.parametrize("layers", LAYERS)
def test_layers(engine, rng, layers, dtype):
    X, y = some_rows(rng), rng.integers(N_OUT, size=N)
    found = [everything(new_trainer(LAYERS[layers], dtype=dtype, backend=engine), rows, y)
             for rows in (sparse.csr_array(X), X)]
    check_same(dtype, *found)


@pytest.mark.parametrize("batch_size", [1, 8, 64, "full"])
@pytest.mark.parametrize("n_out", [1, 17])
def test_single_layer(engine, rng, n_out, batch_size):
    """Logistic regression; several blocks make a batch of all rows."""
    X, y = some_rows(rng, 1500), rng.integers(max(2, n_out), size=1500)
    found = [everything(new_trainer([], n_out=n_out, backend=engine, batch_size=batch_size), rows[:n], y[:n], epochs=1)
             for n in [1500 if batch_size == "full" else 150] for rows in (sparse.csr_matrix(X), X)]
    check_same("float64", *found)


@pytest.mark.parametrize("settings, fitting", [
    ({"regularizer": bp.L1(1e-3), "clip": bp.ClipNorm(0.1)}, {}),
    ({"clip": bp.ClipValue(0.01), "regularizer": bp.L2(1e-3), "optimizer": bp.AdamW(0.01)}, {}),
    ({}, {"validation": 0.3, "class_weight": "balanced"}),
    ({}, {"sample_weight": np.arange(N) % 4.0, "shuffle": False}),
    ({}, {"record_every": 2, "watch": True, "restarts": 2}),
    ({"optimizer": bp.LBFGS()}, {"epochs": 5}),
])
def test_settings(backend, rng, settings, fitting):
    X, y = some_rows(rng), rng.integers(N_OUT, size=N)
    found = [everything(new_trainer([bp.Dense(9, "relu")], backend=backend, **settings), rows, y, **fitting)
             for rows in (sparse.csr_matrix(X), X)]
    check_same("float64", *found)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "i8", "f4", "f8", "g"])
def test_dtypes_of_values(backend, rng, dtype):
    X, y = sparse.csr_array(np.abs(some_rows(rng, dtype="f4") * 4).astype("i1")), rng.integers(N_OUT, size=N)
    dense = X.toarray().astype(dtype)
    X.data = X.data.astype(dtype)
    check_same("float64", *(everything(new_trainer(backend=backend), rows, y) for rows in (X, dense)))


@pytest.mark.parametrize("layers", [
    [bp.Dense(1, "tanh"), bp.Dense(300)], [bp.Dense(70, "relu")], [bp.Dense(192, "relu")]])
def test_same_bits_for_any_number_of_threads(native_engine, rng, layers, dtype):
    """Layers whose rows, and others whose units, are shared; the steps of one are large enough for three."""
    X, y = sparse.csr_matrix(some_rows(rng, 300, 3000, 0.01)), rng.integers(10, size=300)
    digests = set()
    for n_threads in (1, 2, 3):
        trainer = new_trainer([*layers, bp.Dense(192)], n_out=10, dtype=dtype, n_threads=n_threads, batch_size=70)
        trainer.fit(X, y, epochs=2, validation=0.2, verbose=False)
        digests.add((digest(trainer.network), *trainer.history["val_loss"]))
    assert len(digests) == 1


@pytest.mark.skipif(len(SAME_BITS) < 2, reason="v3 and v4 do not both run here")
def test_levels_agree(monkeypatch, rng, dtype):
    X, y = sparse.csr_matrix(some_rows(rng)), rng.integers(N_OUT, size=N)
    found = []
    for level in SAME_BITS:
        monkeypatch.setenv("BPFAST_CPU", level)
        found.append([array.tobytes() for layers in LAYERS.values() if layers != LAYERS["no dense layer first"]
                      for array in everything(new_trainer(layers, dtype=dtype), X, y)])
    assert found[0] == found[1]


@pytest.mark.parametrize("units", [1, 3, 16, 37, 130])
def test_a_row_alone(native_engine, rng, units, dtype):
    """Of few rows the weights are read as they are: the same sums, and nothing of the rows beside."""
    X = sparse.csr_matrix(some_rows(rng, 200))
    net = bp.Network([bp.Dense(units, "gelu"), bp.Dense(5)], input_shape=N_IN, dtype=dtype, seed=1)
    net.parameters["0.bias"] = rng.normal(size=units)
    expected = net.predict(X)
    for i in (0, 3, 4, 199):
        np.testing.assert_array_equal(net.predict(X[i : i + 1])[0], expected[i])
        np.testing.assert_array_equal(net.predict(X[i : i + 1].toarray() if units > 1 else X[i]), expected[i : i + 1])


def test_dense_and_sparse_rows_in_turn(backend, rng):
    """A plan's buffers serve both."""
    X, y = some_rows(rng), rng.integers(N_OUT, size=N)
    kinds = [lambda X: X, sparse.csr_array, sparse.csc_matrix]
    mixed, dense = new_trainer(backend=backend), new_trainer(backend=backend)
    for i in range(6):
        mixed.fit(kinds[i % 3](X), y, epochs=1, validation=(kinds[(i + 1) % 3](X), y), verbose=False)
        dense.fit(X, y, epochs=1, validation=(X, y), verbose=False)
        check_same("float64", [mixed.predict(kinds[i // 2](X))], [dense.predict(X)])


def test_rows_are_read_as_they_stand(rng):
    X = sparse.csr_matrix(some_rows(rng))
    before = [X.data.copy(), X.indices.copy(), X.indptr.copy()]
    rows = data.check_rows(X)
    assert np.shares_memory(rows.values, X.data) and np.shares_memory(rows.columns, X.indices)
    np.testing.assert_array_equal(rows[np.array([7, 3, 4])], X.toarray()[[7, 3, 4]])
    np.testing.assert_array_equal(rows[10:60], X.toarray()[10:60])
    X.data.flags.writeable = X.indices.flags.writeable = X.indptr.flags.writeable = False
    everything(new_trainer(), X, rng.integers(N_OUT, size=N))
    for array, kept in zip((X.data, X.indices, X.indptr), before):
        np.testing.assert_array_equal(array, kept)


def test_numbers_beyond_the_indices(rng):
    """SciPy allows for more data than indptr speaks of."""
    X = sparse.csr_matrix(some_rows(rng))
    more = sparse.csr_matrix(X.shape)
    more.indptr, more.indices, more.data = X.indptr, np.append(X.indices, 10**6), np.append(X.data, np.nan)
    net = bp.Network([bp.Dense(2)], seed=1)
    np.testing.assert_array_equal(net.predict(more), net.predict(X))


def test_rows_without_numbers(backend):
    """Only the biases tell what they are."""
    X, y = sparse.csr_matrix((20, N_IN)), np.arange(20) % N_OUT
    trainer = new_trainer(backend=backend)
    check_same("float64", everything(trainer, X, y), everything(new_trainer(backend=backend), X.toarray(), y))


def test_who_looks_at_rows(rng):
    """Diagnosis, learning rates and gradients are those of the same rows, dense."""
    X, y = some_rows(rng, 300), rng.integers(N_OUT, size=300)
    rows = sparse.csr_matrix(X)
    assert str(new_trainer().diagnose(rows, y)) == str(new_trainer().diagnose(X, y))
    trainer = new_trainer()
    trainer.fit(rows, y, epochs=1, record_every=5, verbose=False)
    assert trainer.kept_rows.X.shape == X.shape and str(trainer.diagnose())
    losses = [bp.find_learning_rate(new_trainer(), part, y, steps=20).losses for part in (rows, X)]
    np.testing.assert_allclose(*losses, rtol=1e-9)
    assert bp.check_gradients(new_trainer().network, "cross_entropy", rows[:9], y[:9]).ok


def with_entry(X, value, place):
    X = sparse.csr_matrix(X)
    X.data[place] = value
    return X


def with_index(X, name, value, kind=sparse.csr_matrix):
    X = kind(X)
    getattr(X, name)[7] = value
    return X


REFUSED = {
    "coordinates": (sparse.coo_array, TypeError, r"X is a sparse matrix, but neither in CSR nor in CSC; use X.tocsr"),
    "flat": (lambda X: sparse.csr_array(X[0]), ValueError, r"X must have 2 dimensions where it is sparse.*got \(37,\)"),
    "no rows": (lambda X: sparse.csr_matrix(X)[:0], ValueError, "X is empty"),
    "no columns": (lambda X: sparse.csr_matrix(X)[:, :0], ValueError, "X is empty"),
    "fewer rows": (lambda X: sparse.csr_matrix(X)[1:], ValueError, "X has 52 rows, but y has 53"),
    "complex": (lambda X: sparse.csr_matrix(X + 0j), ValueError, "X.data is complex"),
    "NaN": (lambda X: with_entry(X, np.nan, -1), ValueError, r"X must be finite, but X\[52, 3\d\] is nan"),
    "infinity": (lambda X: with_entry(X, -np.inf, 0), ValueError, r"X\[0, \d+\] is -inf"),
    "too large": (lambda X: with_entry(X, 1e300, 0), ValueError, "too large for float32; scale it"),
    "column too large": (lambda X: with_index(X, "indices", N_IN), ValueError, "X is no valid CSR.*check_format"),
    "negative column": (lambda X: with_index(X, "indices", -1), ValueError, "X is no valid CSR matrix"),
    "row beyond the end": (lambda X: with_index(X, "indptr", 10**6), ValueError, "X is no valid CSR matrix"),
    "row too large": (lambda X: with_index(X, "indices", N, sparse.csc_matrix), ValueError, "X is no valid CSC matrix"),
    "row before the start": (lambda X: with_index(X, "indptr", -5), ValueError, "X is no valid CSR matrix"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_is_refused(rng, wrong):
    spoil, error, words = REFUSED[wrong]
    X, y = some_rows(rng, share=0.5), rng.integers(N_OUT, size=N)
    trainer = new_trainer(dtype="float32")
    with pytest.raises(error, match=words):
        trainer.fit(spoil(X), y)
    assert trainer.history.n_epochs == 0
    with pytest.raises(error, match=words.replace("X", "validation X").replace(" y ", " validation y ")):
        trainer.fit(X, y, validation=(spoil(X), y))
    if wrong != "fewer rows":
        with pytest.raises(error, match=words):
            trainer.evaluate(spoil(X), y)
        with pytest.raises(error, match=words):
            trainer.predict(spoil(X))


def test_layers_that_need_dense_rows(rng):
    X, y = sparse.csr_matrix(some_rows(rng)), rng.integers(N_OUT, size=N)
    with pytest.raises(ValueError, match=r"layer '0' would take the mean from X.*leave it out.*X.toarray\(\)"):
        new_trainer([bp.Standardize()]).fit(X, y)
    images = bp.Network([bp.Conv2D(3, 3), bp.Flatten(), bp.Dense(2)], input_shape=(6, 6, 1))
    with pytest.raises(ValueError, match=r"rows are vectors, but .* use X.toarray\(\).reshape\(-1, 6, 6, 1\)"):
        images.predict(X[:, :36])
    with pytest.raises(TypeError, match="y is a sparse matrix; a dense array is needed"):
        new_trainer().fit(X, X)
    with pytest.raises(ValueError, match="X has 37 columns, but the network's first layer takes 36"):
        bp.Network([bp.Dense(2)], input_shape=36).predict(X)


def test_scale_that_is_known(rng):
    """A Standardize layer that has learned from dense rows reads sparse ones."""
    X, y = some_rows(rng), rng.integers(N_OUT, size=N)
    trainer = new_trainer([bp.Standardize()])
    trainer.fit(X, y, verbose=False)
    np.testing.assert_array_equal(trainer.predict(sparse.csr_matrix(X)), trainer.predict(X))


def test_divergence_tells_the_largest_number(rng):
    X, y = sparse.csr_matrix(100 * some_rows(rng)), rng.normal(size=(N, 2))
    X.data[0] = -1234.5
    net = bp.Network([bp.Dense(4, "relu"), bp.Dense(2)], seed=1)
    with pytest.raises(bp.DivergenceError, match=r"the largest is 1234.5"):
        bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1e6), seed=1).fit(X, y, verbose=False)


# -- memory ---------------------------------------------------------------------------------------------

WIDE = 3000, 100_000  # 2.4 GB as float64, 77 MB of it a batch


def wide_rows():
    rng = np.random.default_rng(0)
    indices = rng.integers(WIDE[1], size=20 * WIDE[0])
    X = sparse.csr_matrix((np.ones(len(indices), "f4"), indices, np.arange(WIDE[0] + 1) * 20), WIDE)
    return X, rng.integers(2, size=WIDE[0])


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != "native"])
def test_a_batch_at_a_time_is_dense(backend):
    X, y = wide_rows()
    trainer = new_trainer([], n_out=1, backend=backend, batch_size=32, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(X[:32], y[:32], epochs=1, verbose=False)
        tracemalloc.start()
        try:
            trainer.fit(X, y, epochs=1, verbose=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 6 * 32 * WIDE[1] * 4  # bytes of a few batches


PEAK = """
import resource
from test_sparse import bp, wide_rows
X, y = wide_rows()
net = bp.Network([bp.Dense(2, "softmax")], seed=1)
trainer = bp.Trainer(net, loss="cross_entropy", batch_size=200, seed=1, backend="native")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trainer.fit(X, y, epochs=2, validation=0.2, verbose=False)
trainer.predict(X)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif("native" not in BACKENDS, reason="the native backend is not built")
def test_native_makes_no_batch_dense(root):
    """Kilobytes: of the entries and the parameters, not of 200 x 100 000 numbers, 80 000."""
    assert int(python("-c", PEAK, PYTHONPATH=f"{root}:{root / 'tests'}").stdout) < 40_000
