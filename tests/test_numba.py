"""The numba backend: what it learns, no Python within a call, short calls, compilation in threads, falling back."""

import re
import sys

import numba
import numpy as np
import pytest
from samples import ROOT, python, small_rows, small_trainer, targets_for

import bpfast as bp
from bpfast import backends
from bpfast.backends import base
from bpfast.backends.numba import plan as compiled
from bpfast.backends.numba.source import Elementwise, door_to
from bpfast.ops import ACTIVATIONS, LOSSES


@pytest.fixture
def plan(monkeypatch):
    """Of a small network, whose calls are as long as its data."""
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 1e9)
    return bp.Network([bp.Dense(5, "relu"), bp.Dropout(0.3), bp.Dense(3, "softmax")], input_shape=4, seed=0).plan(
        "numba", LOSSES["cross_entropy"], bp.Adam().update, 2)


def train(plan, state, workspace, n, *, seconds=1e9):
    """An epoch of n rows."""
    X = np.arange(4 * n).reshape(n, 4) % 7 - 3
    data = base.Data(X, X[:, 0] % 3)
    workspace.start()
    begin, coefficients = 0, bp.Adam().coefficients(1, n)
    while begin < n:
        begin = plan.run_batches(state, workspace, data, np.arange(n), begin, coefficients, seconds)
    return workspace


# -- as the reference ---------------------------------------------------------------------------------------


def check_fits(layers, loss, y, seed=4):
    """After some steps numba has learned what numpy has; the last batch is a smaller one."""
    X, found = np.random.default_rng(1).normal(size=(len(y), 4)), []
    for backend in ("numpy", "numba"):
        net = bp.Network(layers, dtype="float64", seed=3)
        trainer = bp.Trainer(net, loss=loss, optimizer=bp.SGD(0.01), batch_size=8, backend=backend, seed=seed)
        history = trainer.fit(X, y, epochs=2, sample_weight=np.arange(len(y)) % 3, verbose=False)
        found.append((net.to_vector(), history["loss"]))
    for expected, got in zip(*found):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, rng):
    layers = [bp.Dense(6, activation), bp.Dense(6, "tanh"), bp.Residual(bp.Activation(activation)), bp.Dense(2)]
    check_fits(layers, "squared_error", rng.normal(size=(21, 2)))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name, rng):
    """Behind the activation that it fuses with, and behind one that it does not fuse with, where it takes another."""
    loss = LOSSES[name]
    y = targets_for(loss, rng.integers(3, size=21), rng.normal(size=(21, 3)))
    suiting = [activation for activation in ("linear", "softmax", "sigmoid", "exponential", "softplus")
               if loss.accepts(ACTIVATIONS[activation])]
    assert suiting
    for activation in suiting[:2]:
        check_fits([bp.Dense(6, "tanh"), bp.Dense(3, activation)], loss, y)


def test_noise_under_a_large_seed(rng):
    check_fits([bp.Dense(7), bp.Dropout(0.3), bp.Dense(5, "selu"), bp.AlphaDropout(0.1), bp.Dense(2)],
               "mean_squared_error", rng.normal(size=(21, 2)), seed=2**64 - 1)


# -- calls --------------------------------------------------------------------------------------------------


def test_no_python_within_a_call(plan):
    """The functions that Python enters are as many for 100 batches as for 10."""
    state, counts = plan.new_state(plan_arrays(plan)), []
    with plan.workspace() as workspace:
        train(plan, state, workspace, 4)  # compiles
        for n in (20, 200):
            entered = []
            sys.setprofile(lambda frame, event, arg, entered=entered: entered.append(event))
            try:
                train(plan, state, workspace, n)
            finally:
                sys.setprofile(None)
            counts.append(sum(event == "call" for event in entered))
    assert state.steps == 2 + 10 + 100
    assert counts[0] == counts[1]


def plan_arrays(plan):
    """Some parameters for a plan."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(plan.dtype) for name, shape in plan.program.shapes.items()}


def test_an_interrupt_comes_between_calls(plan, monkeypatch):
    """Short calls end after a batch; the state is then that after the batch, and counts it."""
    monkeypatch.setattr(compiled, "SECONDS_PER_CALL", 0)
    arrays, run = plan_arrays(plan), compiled.Training.run
    calls = []

    def interrupted(self, *batches):
        done = run(self, *batches)
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return done

    state, twin = plan.new_state(arrays), plan.new_state(arrays)
    with plan.workspace() as workspace:
        train(plan, twin, workspace, 6)
        monkeypatch.setattr(compiled.Training, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(plan, state, workspace, 20)
    assert calls == [2, 2, 2] and state.steps == twin.steps == 3
    assert all(np.array_equal(state.all_arrays[name], array) for name, array in twin.all_arrays.items())


def test_a_run_ends_at_its_deadline(plan):
    state = plan.new_state(plan_arrays(plan))
    with plan.workspace() as workspace:
        train(plan, state, workspace, 20, seconds=0)
    assert state.steps == 10 and workspace.steps == 10 and workspace.weight_sum == 20


def test_larger_batches_move_the_memory(rng):
    """Full batches of more rows than before: parameters, moments and constants of norms come along."""
    vectors = []
    for backend in ("numpy", "numba"):
        net = bp.Network([bp.Dense(4), bp.BatchNorm(affine=False), bp.Dense(1)], dtype="float64", seed=0)
        trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.Momentum(0.01), batch_size="full",
                             backend=backend, seed=0)
        rows = np.random.default_rng(5)
        for n in (5, 30, 7):
            trainer.fit(rows.normal(size=(n, 3)), rows.normal(size=n), epochs=2, verbose=False)
        vectors.append(net.to_vector())
    np.testing.assert_allclose(*vectors, rtol=1e-10, atol=1e-12)


def test_denormals_are_zeros_within_a_call_only(plan):
    """A moment that fades away ends at zero; what Python computes afterwards keeps its denormals."""
    state = plan.new_state(plan_arrays(plan))
    tiny = np.finfo(plan.dtype).smallest_normal
    state.load_slots({slot: {name: np.full(shape, 2 * tiny, plan.dtype) for name, shape in plan.program.shapes.items()}
                      for slot in plan.update.slots})
    state.load({name: np.zeros(shape, plan.dtype) for name, shape in plan.program.shapes.items()})  # no gradient of W0
    with plan.workspace() as workspace:
        train(plan, state, workspace, 40)
    moments = state.slots()["m"]["0.weight"]
    assert np.all((moments == 0) | (np.abs(moments) >= tiny)) and np.any(moments == 0)
    assert tiny * plan.dtype.type(0.5) > 0


# -- compilation --------------------------------------------------------------------------------------------

AT_ONCE = """
import os, sys, threading
import numpy as np, bpfast as bp, bpfast.backends.numba  # a fork within an import would hang in any package

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 4)), rng.normal(size=40)

def fit(activation):
    net = bp.Network([bp.Dense(4, activation), bp.Dense(1)], seed=0)
    bp.Trainer(net, loss="squared_error", backend="numba", seed=0).fit(X, y, epochs=2, verbose=False)
    return net.to_vector().tobytes()

found, names = {}, ["tanh", "relu", "tanh", "silu", "relu", "sigmoid"]
threads = [threading.Thread(target=lambda k=k: found.update({k: fit(names[k])})) for k in range(6)]
for thread in threads:
    thread.start()
child = os.fork() if hasattr(os, "fork") else None  # while they compile
if child == 0:
    fit("softplus")
    os._exit(0)
for thread in threads:
    thread.join()
assert child is None or os.waitpid(child, 0)[1] == 0
assert [found[k] for k in range(6)] == [fit(name) for name in names]
"""


def test_threads_compile_at_once():
    """In a fresh process six trainers learn what each learns alone, and so does a child forked meanwhile."""
    python("-W", "ignore::DeprecationWarning", "-c", AT_ONCE)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "softplus"])
def test_activations_are_loops_of_vectors(name):
    """And call nothing of libm, which takes its numbers one by one."""
    text = door_to(Elementwise(ACTIVATIONS[name].forward, ("x",), "y"), np.dtype("f4")).inspect_llvm()
    assert re.search(r"fmul .*<\d+ x float>", text)
    assert not re.search(r"call .*@(exp|expm1|log1p|tanh)f?\(", text)


def test_numbas_threads_and_cache_are_not_used(plan):
    """Of two threading layers one aborts; a cache of closures is never hit, and does not see a helper change."""
    with plan.workspace() as workspace:
        train(plan, plan.new_state(plan_arrays(plan)), workspace, 6)
    with pytest.raises(ValueError, match="not initialized"):
        numba.threading_layer()
    texts = "".join(path.read_text() for path in (ROOT / "bpfast").rglob("*.py"))
    assert not re.search(r"\b(parallel|cache)=True|prange|guvectorize", texts)


# -- falling back -------------------------------------------------------------------------------------------


def test_without_the_extension(monkeypatch):
    """"auto" takes numba, says so once, and learns."""

    def import_module(name, *package):
        if name == "bpfast.backends.native":
            raise ImportError("No module named 'bpfast.backends.native.engine'")
        return original(name, *package)

    original = backends.importlib.import_module
    monkeypatch.setattr(backends.importlib, "import_module", import_module)
    backends.warn_once.cache_clear()
    with pytest.warns(UserWarning, match="numba backend, slower than native") as warned:
        trainers = [small_trainer("auto", optimizer=bp.Adam(1e-2)) for _ in range(2)]
    assert len(warned) == 1 and trainers[0].backend == "numba"
    X, y = small_rows(np.random.default_rng(0))
    losses = trainers[0].fit(X, y, epochs=20, verbose=False)["loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("package", ["numba", "scipy"])
def test_what_numba_needs(monkeypatch, package):
    found = backends.importlib.util.find_spec
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None if name == package else found(name))
    assert f"{package} is not installed" in (backends.missing("numba") or "")
