"""Processes and threads: a fit hangs in none, leaves nothing behind, and gives the same bits in all of them."""

import gc
import multiprocessing
import resource
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import digest
from samples import fit_and_digest, python, small_rows, small_trainer

import bpfast as bp

LONG = 120  # seconds after which a process has hung


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_fit_in_other_processes(backend, method):
    """A fit here, in two workers, and here again: the same bits everywhere."""
    expected = fit_and_digest(backend)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(fit_and_digest, [backend] * 4, chunksize=1)
        assert fit_and_digest(backend) == expected
        assert found.get(timeout=LONG) == [expected] * 4
    assert fit_and_digest(backend) == expected


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork on this system")
def test_a_fit_goes_on_in_a_fork(backend):
    """A trainer that has begun goes on in a forked child as it does here."""
    rows, trainer = small_rows(np.random.default_rng(0)), small_trainer(backend)
    trainer.fit(*rows, epochs=2)

    def go_on(pipe):
        trainer.fit(*rows, epochs=2)
        pipe.send(digest(trainer.network))

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=go_on, args=(there,))
    process.start()
    assert here.poll(LONG)
    found = here.recv()
    process.join(LONG)
    trainer.fit(*rows, epochs=2)
    assert found == digest(trainer.network)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork on this system")
def test_a_fork_while_another_thread_draws_weights():
    """The child may draw its own."""
    expected, over = fit_and_digest("numpy"), threading.Event()

    def draw():
        while not over.is_set():
            bp.Network([bp.Dense(1000)], input_shape=1000)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(draw)
        try:
            for _ in range(5):
                here, there = multiprocessing.Pipe()
                process = multiprocessing.get_context("fork").Process(
                    target=lambda pipe: pipe.send(fit_and_digest("numpy")), args=(there,))
                process.start()
                answered = here.poll(LONG)
                process.kill()
                process.join()
                assert answered and here.recv() == expected
        finally:
            over.set()


def test_threads_share_a_network(backend, rng):
    """Eight threads predict with one trainer; each call gives the bits that it gives alone."""
    X, trainer = rng.normal(size=(400, 6)), small_trainer(backend)
    parts = [X[begin:end] for begin, end in ((0, 1), (3, 40), (50, 400), (0, 400), (7, 22))] * 80
    alone = [trainer.predict(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(trainer.predict, parts))
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_threads_share_a_network_that_is_new(rng):
    """Also when they are the first to use it."""
    X = rng.normal(size=(100, 6))
    expected = bp.Network([bp.Dense(9, "gelu"), bp.Dense(3)], input_shape=6, seed=0).predict(X)
    net = bp.Network([bp.Dense(9, "gelu"), bp.Dense(3)], input_shape=6, seed=0)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(net.predict, [X] * 40):
            np.testing.assert_array_equal(found, expected)


def test_fits_in_threads(backend):
    """Trainers of their own in eight threads do what they do one after the other."""
    expected = fit_and_digest(backend)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fit_and_digest, [backend] * 16)) == {expected}


def test_memory_does_not_grow(backend):
    """Over 200 fits, predictions and gradients: at most 0.1 KiB each of Python's memory, none of the process's."""
    rows, trainer = small_rows(np.random.default_rng(0)), small_trainer(backend)

    def work(times):
        for _ in range(times):
            fit_and_digest(backend)
            trainer.predict(rows[0])
            trainer.loss_and_gradients(*rows)
        gc.collect()
        return tracemalloc.get_traced_memory()[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    tracemalloc.start()
    try:
        work(20)
        before, peak_before = work(20)
        after, peak_after = work(200)
    finally:
        tracemalloc.stop()
    assert after - before <= 200 * 0.1 * 1024
    assert peak_after - peak_before < 8 * 1024  # KiB on Linux: far less than 200 networks and their buffers


def test_memory_is_given_back(backend, rng):
    """Networks that are gone give their memory back: 30 of 8 MB each."""
    X, y = rng.normal(size=(8, 1000)), np.zeros((8, 1000))

    def work(times):
        for _ in range(times):
            net = bp.Network([bp.Dense(1000)], input_shape=1000, seed=0)
            trainer = bp.Trainer(net, loss="squared_error", optimizer="sgd", backend=backend)
            trainer.loss_and_gradients(X, y)
            trainer.predict(X)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = work(5)
    assert work(30) - before < 60 * 1024


def check_denormals():
    smallest = np.nextafter(np.float32(0), np.float32(1))
    assert smallest > 0 and smallest * np.float32(1) == smallest and 5e-324 * 1.0 == 5e-324
    assert (np.full(100, 1e-40, "f4") * np.float32(0.5)).all()


def test_denormals_survive_a_fit(engine, rows):
    """What runs flush to zero is flushed within them alone, also when they end in an error or in a thread."""
    trainer = small_trainer(engine, dtype="float32")
    trainer.fit(*rows, epochs=2)
    check_denormals()
    trainer.predict(rows[0])
    trainer.loss_and_gradients(*rows)
    check_denormals()
    with pytest.raises(bp.DivergenceError):
        small_trainer(engine, dtype="float32", optimizer=bp.SGD(1e38)).fit(*rows, epochs=2)
    check_denormals()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fit_and_digest, engine).result()
        pool.submit(check_denormals).result()


def test_denormals_survive_the_import():
    """Libraries linked with -ffast-math switch them off for the whole process."""
    code = "import bpfast as bp; bp.show_config(); bp.Network([bp.Dense(1)]).predict([[1.0]]); " \
           "assert 5e-324 * 1.0 == 5e-324; import numpy as np; assert (np.full(9, 1e-40, 'f4') * np.float32(1)).all()"
    python("-c", code)


def test_nothing_global_is_changed(rows, backend):
    """Neither NumPy's error state nor its random numbers."""
    errors, state = np.geterr(), np.random.get_state()[1].copy()  # noqa: NPY002
    small_trainer(backend, seed=None).fit(*rows, epochs=1)
    bp.Network([bp.Dense(3)], input_shape=2)
    assert np.geterr() == errors
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
