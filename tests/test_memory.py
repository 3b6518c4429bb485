"""A fit takes memory for parameters, a batch and a few numbers per row, whatever the dtype and strides of X and y."""

import itertools
import tracemalloc

import numpy as np
import pytest
from checks import digest
from engines import BACKENDS

import bpfast as bp

N, N_IN, N_OUT = 16_000, 128, 2
PER_ROW = 48  # bytes; X itself has at least 128
ELSE = 9 << 17  # bytes for parameters, a batch and blocks of rows
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g",
          ">i2", ">u2", ">i4", ">u4", ">i8", ">u8", ">f2", ">f4", ">f8", ">g"]
WITHOUT_NUMBA = [backend for backend in BACKENDS if backend != "numba"]  # which allocates as numpy does


def memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def columns_apart(X, folder):
    return np.repeat(X, 2, axis=1)[:, ::2]


def field(X, folder):
    """Of records of 1 + 8 n_in bytes, so that no number stands where its size divides the address."""
    records = np.zeros(len(X), [("key", "u1"), ("X", X.dtype, X.shape[1])])
    records["X"] = X
    return records["X"]


LAYOUTS = {
    "F-order": lambda X, folder: np.asfortranarray(X),
    "backwards": lambda X, folder: X[::-1, ::-1],
    "columns apart": columns_apart,
    "the same row": lambda X, folder: np.broadcast_to(X[0], X.shape),
    "field": field,
    "memory map": memory_map,
    "swapped memory map": lambda X, folder: memory_map(X.astype(">f8"), folder),
    "F-order float16": lambda X, folder: np.asfortranarray(X.astype("f2")),
    "field of long doubles": lambda X, folder: field(X.astype("g"), folder),
}


def new_trainer(backend, **settings):
    net = bp.Network([bp.Dense(5, "tanh"), bp.Dense(N_OUT, "softmax")], seed=1)
    return bp.Trainer(net, loss="cross_entropy", seed=2, backend=backend, **{"batch_size": 128, **settings})


def traced(call):
    """-> (what a call returns, the most bytes that it had allocated)."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_allocation(call):
    """-> what a call returns, which must take little memory."""
    result, peak = traced(call)
    assert peak < PER_ROW * N + ELSE, f"{peak / N:.0f} bytes per row were allocated"
    return result


def check_in_place(backend, X, y, plain):
    """Everything that is done with X and y takes little memory, and makes of them what it makes of a plain X."""
    trainer, expected = new_trainer(backend), new_trainer(backend)
    trainer.fit(X[:64], y[:64], epochs=1)
    expected.fit(plain[:64], y[:64], epochs=1)
    check_allocation(lambda: trainer.fit(X, y, epochs=1))
    expected.fit(plain, y, epochs=1)
    assert digest(trainer.network) == digest(expected.network)
    assert check_allocation(lambda: trainer.evaluate(X, y)) == expected.evaluate(plain, y)
    np.testing.assert_array_equal(check_allocation(lambda: trainer.predict(X)), expected.predict(plain))


def plain_copy(X):
    """The same numbers in rows side by side, of a dtype that C has."""
    dtype = {"e": "f4", "g": "f8"}.get(X.dtype.char, X.dtype.newbyteorder("="))
    return np.ascontiguousarray(X, dtype)


@pytest.mark.parametrize("backend", WITHOUT_NUMBA)
@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "i8", "f2", "f4", "f8", "g", ">i2", ">u8", ">f2", ">f4", ">g"])
def test_dtypes_of_inputs(backend, dtype, rng):
    X = 3 * rng.normal(size=(N, N_IN))
    X = (np.abs(X) if "u" in dtype else X).astype(dtype)
    check_in_place(backend, X, rng.integers(N_OUT, size=N), plain_copy(X))


@pytest.mark.parametrize("backend", WITHOUT_NUMBA)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_inputs(backend, layout, rng, tmp_path):
    X = LAYOUTS[layout](rng.normal(size=(N, N_IN)), tmp_path)
    check_in_place(backend, X, rng.integers(N_OUT, size=N), plain_copy(X))


@pytest.mark.parametrize("backend", WITHOUT_NUMBA)
@pytest.mark.parametrize("dtype", ["?", "i8", ">i4", "f2", "g"])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "squared_error"])
def test_dtypes_of_targets(backend, dtype, loss, rng):
    """Labels, and numbers of so many outputs that a copy of them would be seen."""
    output, n_out = {"cross_entropy": ("softmax", 2), "binary_cross_entropy": ("sigmoid", N_IN),
                     "squared_error": ("linear", N_IN)}[loss]
    X, y = rng.normal(size=(N, 3)), rng.integers(2, size=(N, n_out) if n_out > 2 else N)

    def fitted(y):
        net = bp.Network([bp.Dense(n_out, output)], seed=1)
        trainer = bp.Trainer(net, loss=loss, batch_size=64, seed=2, backend=backend)
        trainer.fit(X[:64], y[:64], epochs=1)
        check_allocation(lambda: trainer.fit(X, y, epochs=1))
        return digest(net)

    assert fitted(y.astype(dtype)) == fitted(y.astype("f4"))


OF_ALL_ROWS = {
    "validation": lambda trainer, X, y: trainer.fit(X, y, epochs=2, validation=(X, y)),
    "share": lambda trainer, X, y: trainer.fit(X, y, epochs=2, validation=0.2),
    "weights": lambda trainer, X, y: trainer.fit(X, y, epochs=2, class_weight="balanced", sample_weight=y + 1.0),
    "restarts": lambda trainer, X, y: trainer.fit(X, y, epochs=1, restarts=2),
    "range test": lambda trainer, X, y: bp.find_learning_rate(trainer, X, y, steps=10),
    "gradient": lambda trainer, X, y: trainer.loss_and_gradients(X, y),
}


@pytest.mark.parametrize("backend", WITHOUT_NUMBA)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_a_row_takes_eight_bytes(backend, loss, rng):
    """Of its place in the order, and in the reference four more that this is drawn from."""
    n = 200_000
    X, y = rng.normal(size=(n, 1)), rng.integers(N_OUT, size=n)
    output, y = ("softmax", y) if loss == "cross_entropy" else ("linear", np.eye(N_OUT)[y])
    net = bp.Network([bp.Dense(N_OUT, output)], seed=1)
    trainer = bp.Trainer(net, loss=loss, batch_size=1000, backend=backend)
    trainer.fit(X[:1000], y[:1000], epochs=1)
    _, peak = traced(lambda: trainer.fit(X, y, epochs=1))
    assert peak < (8 if backend == "native" else 12) * n + (1 << 20), f"{peak / n:.1f} bytes per row were allocated"


IN_ONE_BATCH = ("numpy", "gradient")  # the reference takes all rows together


@pytest.mark.parametrize("backend, call", [pair for pair in itertools.product(WITHOUT_NUMBA, OF_ALL_ROWS)
                                           if pair != IN_ONE_BATCH])
def test_what_goes_through_all_rows(backend, call, rng):
    X, y = rng.normal(size=(N, N_IN)).astype(">f4"), rng.integers(N_OUT, size=N)
    OF_ALL_ROWS[call](new_trainer(backend), X[:640], y[:640])
    trainer = new_trainer(backend)
    check_allocation(lambda: OF_ALL_ROWS[call](trainer, X, y))


def test_lbfgs(rng):
    X, y = rng.normal(size=(N, N_IN)).astype(">f4"), rng.integers(N_OUT, size=N)
    new_trainer("auto", optimizer=bp.LBFGS()).fit(X[:640], y[:640], epochs=2)
    trainer = new_trainer("auto", optimizer=bp.LBFGS())
    check_allocation(lambda: trainer.fit(X, y, epochs=2))


# -- what is read in place is read rightly ------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DTYPES if name != "?"])
def test_every_number_is_read_as_numpy_reads_it(engine, dtype, name, rng):
    """Random numbers of this dtype, all of float16 with its denormals, through a network that changes nothing."""
    kind = np.dtype(name)
    if kind.char == "e":
        X = np.arange(1 << 16, dtype="u2").view("f2").astype(kind)
        X[~np.isfinite(X)] = 0
    elif kind.kind == "f":
        X = (rng.normal(size=4096) * 10.0 ** rng.integers(-30, 30, 4096)).astype(kind)
    else:
        X = np.frombuffer(rng.bytes(4096 * kind.itemsize), kind)
    X = X[:, None]
    net = bp.Network([bp.Dense(1)], input_shape=1, dtype=dtype)
    net.parameters["0.weight"] = np.ones((1, 1))
    trainer = bp.Trainer(net, loss="squared_error", backend=engine)
    np.testing.assert_array_equal(trainer.predict(X), plain_copy(X).astype(dtype))
    np.testing.assert_array_equal(trainer.predict(X[7:9]), plain_copy(X[7:9]).astype(dtype))  # of few rows


def test_a_label_that_changes_leads_nowhere(native_engine, rng):
    """Labels that a callback spoils after the check count as class 0."""
    X = rng.normal(size=(100, 4))

    def fitted(y, spoiled):
        class Spoil(bp.Callback):
            def begin(self, trainer):
                y[...] = spoiled

        trainer = new_trainer(native_engine)
        trainer.fit(X, y, epochs=1, callbacks=Spoil())
        return digest(trainer.network)

    expected = fitted(np.zeros(100, np.int64), 0)
    for dtype, spoiled in ("i8", 2), ("i8", 1 << 62), (">i8", -1), ("f8", np.nan), ("f4", np.inf), ("g", -np.inf):
        assert fitted(np.zeros(100, dtype), spoiled) == expected
