"""What every backend promises: its states and workspaces; and how one is chosen."""

import re

import numpy as np
import pytest

import bpfast as bp
from bpfast import backends
from bpfast.backends import base
from bpfast.ops import LOSSES

LAYERS = [bp.Dense(19, "gelu"), bp.Residual(bp.Dense(7, "tanh"), bp.Dense(19)), bp.Dense(5, "softmax")]


@pytest.fixture
def net(dtype):
    return bp.Network(LAYERS, input_shape=6, dtype=dtype, seed=1)


@pytest.fixture
def plan(net, engine):
    return net.plan(engine, LOSSES["cross_entropy"], bp.Adam().update, 8)


@pytest.fixture
def batch(rng):
    return base.Data(rng.normal(size=(20, 6)), rng.integers(5, size=20), None)


def arrays_like(net, rng):
    return {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in net.parameters.items()}


def check_equal(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


# -- states -------------------------------------------------------------------------------------------------


def test_parameters_go_in_and_out(net, plan, rng):
    given, out = arrays_like(net, rng), arrays_like(net, rng)
    state = plan.new_state(net.parameters)
    state.store(out)
    check_equal(out, net.parameters)
    state.load(given)
    state.store(out)
    check_equal(out, given)


def test_slots_go_in_and_out(net, plan, rng):
    state = plan.new_state(net.parameters)
    assert list(state.slots()) == ["m", "v"]
    assert not any(array.any() for slot in state.slots().values() for array in slot.values())
    given = {"m": arrays_like(net, rng), "v": arrays_like(net, rng)}
    state.load_slots(given)
    for slot in given:
        check_equal(state.slots()[slot], given[slot])
    state.slots()["m"]["0.bias"][...] = 7  # a copy
    check_equal(state.slots()["m"], given["m"])


def test_what_is_saved_stands_still(net, plan, batch):
    state = plan.new_state(net.parameters)
    coefficients = bp.Adam().coefficients(1, 3)
    with plan.workspace() as workspace:
        workspace.start()
        assert plan.run_batches(state, workspace, batch, np.arange(20), 0, coefficients, np.inf) == 20
        before, slots = copy_of(state, net), state.slots()
        state.save()
        assert state.steps == 3
        workspace.start()
        plan.run_batches(state, workspace, batch, np.arange(20), 0, coefficients, np.inf)
    assert state.steps == 6 and (copy_of(state, net)["0.weight"] != before["0.weight"]).any()
    for _ in range(2):
        state.go_back()
        assert state.steps == 3
        check_equal(copy_of(state, net), before)
        check_equal(state.slots()["v"], slots["v"])


def copy_of(state, net):
    arrays = {name: np.empty_like(array) for name, array in net.parameters.items()}
    state.store(arrays)
    return arrays


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(net, plan, value):
    state = plan.new_state(net.parameters)
    assert not state.not_finite()
    for name, array in net.parameters.items():
        first = array.flat[-1]
        array.flat[-1] = value
        state.load(net.parameters)
        assert state.not_finite(), name
        array.flat[-1] = first
    state.load(net.parameters)
    assert not state.not_finite()


# -- the verbs ----------------------------------------------------------------------------------------------


def test_a_run_may_pause_after_every_batch(net, plan, batch):
    """Without time it returns after a batch, tells where to go on, and ends with the same bits and sums."""
    order, ends = np.random.default_rng(0).permutation(20), []
    at_once, in_steps = plan.new_state(net.parameters), plan.new_state(net.parameters)
    found = []
    for state, seconds in ((at_once, np.inf), (in_steps, 0)):
        with plan.workspace() as workspace:
            workspace.start()
            ends.append([0])
            while ends[-1][-1] < 20:
                coefficients = bp.Adam().coefficients(1, 3)
                ends[-1].append(plan.run_batches(state, workspace, batch, order, ends[-1][-1], coefficients, seconds))
            found.append((workspace.loss_sum, workspace.weight_sum, workspace.steps, state.steps))
    assert found[0] == found[1] and found[0][1:] == (20, 3, 3)
    assert ends[0] == [0, 20] and set(ends[1]) <= {0, 8, 16, 20}
    check_equal(copy_of(in_steps, net), copy_of(at_once, net))


def test_gradient_of_a_state(net, plan, batch):
    """It is that of the loss it returns, for the state's parameters, and makes no step."""
    state = plan.new_state(net.parameters)
    with plan.workspace() as workspace:
        loss = plan.gradient(state, workspace, batch)
        losses, _ = plan.losses(net.parameters, workspace, batch)
    assert loss == pytest.approx(losses.mean(), rel=1e-6)
    assert state.steps == 0
    check_equal(copy_of(state, net), net.parameters)
    assert {name: (a.shape, a.dtype) for name, a in state.gradients().items()} == {
        name: (a.shape, a.dtype) for name, a in net.parameters.items()}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_run_stops_at_a_loss_that_is_not_finite(net, plan, batch):
    net.parameters["2.bias"][0] = np.inf
    state = plan.new_state(net.parameters)
    with plan.workspace() as workspace:
        workspace.start()
        assert plan.run_batches(state, workspace, batch, np.arange(20), 0, bp.Adam().coefficients(1, 3), np.inf) < 20
        assert workspace.diverged
        workspace.start()
        assert not workspace.diverged


def test_losses_and_outputs(net, plan, batch):
    with plan.workspace() as workspace:
        losses, outputs = plan.losses(net.parameters, workspace, batch)
        np.testing.assert_array_equal(outputs, plan.forward(net.parameters, workspace, batch.X))
    assert losses.dtype == np.float64 and outputs.dtype == net.dtype
    np.testing.assert_allclose(losses, -np.log(outputs[np.arange(20), batch.y]), rtol=1e-5)


def test_workspaces_are_used_again(plan):
    """One caller after the other gets the same, two at once get two, an exception loses none."""
    with plan.workspace() as first, plan.workspace() as second:
        assert first is not second
    with pytest.raises(KeyError), plan.workspace() as third:
        raise KeyError
    with plan.workspace() as fourth:
        assert third is fourth and third in (first, second)


# -- programs -----------------------------------------------------------------------------------------------


def test_a_program_is_a_list_of_instructions(net):
    assert [(i.op, i.inputs, i.output) for i in net.program.instructions] == [
        ("dense", (0,), 1), ("dense", (1,), 2), ("dense", (2,), 3), ("add", (1, 3), 4),
        ("dense", (4,), 5), ("activation", (5,), 6)]  # fmt: skip
    assert net.program.value_shapes == ((6,), (19,), (7,), (19,), (19,), (5,), (5,))
    assert net.program.input_shape == (6,) and net.program.n_out == 5


def test_a_fused_loss_reads_the_logits(net):
    plan = net.plan("numpy", LOSSES["cross_entropy"], None, 1)
    assert plan.trained.instructions == net.program.instructions[:-1]
    assert plan.program == net.program and plan.loss == LOSSES["softmax_cross_entropy"]
    smoothed = net.plan("numpy", LOSSES["cross_entropy"](smoothing=0.1), None, 1)
    assert smoothed.loss == LOSSES["softmax_cross_entropy"](smoothing=0.1)
    assert net.plan("numpy", LOSSES["squared_error"], None, 1).trained == net.program


def test_a_fused_activation_stands_apart():
    """So that evaluation has both the logits and the outputs."""
    net = bp.Network([bp.Dense(3, "tanh"), bp.Dense(2, "sigmoid")], input_shape=4)
    plan = net.plan("numpy", LOSSES["binary_cross_entropy"], None, 1)
    assert [(i.op, i.inputs, i.output, i.activation.name) for i in plan.program.instructions] == [
        ("dense", (0,), 1, "tanh"), ("dense", (1,), 2, "linear"), ("activation", (2,), 3, "sigmoid")]  # fmt: skip
    assert plan.program.value_shapes == ((4,), (3,), (2,), (2,))
    assert plan.trained.output == 2 and plan.program.output == 3
    assert plan.loss == LOSSES["sigmoid_binary_cross_entropy"]


# -- choosing -----------------------------------------------------------------------------------------------


def hide(monkeypatch, *names):
    monkeypatch.setattr(backends, "missing", lambda name: f"{name} is hidden" if name in names else None)


def test_auto_takes_the_first_that_runs(monkeypatch):
    hide(monkeypatch)
    assert backends.choose("auto") == "native"
    for names, expected in ((["native"], "numba"), (["native", "numba"], "numpy")):
        hide(monkeypatch, *names)
        with pytest.warns(UserWarning, match=f"{expected} backend.*native is hidden"):
            assert backends.choose("auto") == expected


def test_a_backend_that_cannot_run_says_why(monkeypatch):
    hide(monkeypatch, "numba")
    with pytest.raises(RuntimeError, match=r"'numba' cannot run here: numba is hidden"):
        bp.Trainer(bp.Network([bp.Dense(1)]), loss="squared_error", backend="numba")
    assert backends.choose("numpy") == "numpy"


def test_which_backend_runs_a_row(monkeypatch):
    """One that is here, and for native one that has a twin of it."""
    from bpfast.ops import ACTIVATIONS

    assert all(backends.runs("numpy", op) for op in (*ACTIVATIONS.values(), *LOSSES.values()))
    assert backends.runs("numba", ACTIVATIONS["gelu"]) and backends.runs("numba", LOSSES["cross_entropy"])
    hide(monkeypatch, "numba")
    assert not backends.runs("numba", ACTIVATIONS["gelu"])


def test_what_to_do_about_a_missing_backend(monkeypatch):
    def import_module(name):
        raise ImportError("not here")

    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(backends.importlib, "import_module", import_module)
    assert "bpfast[numba]" in backends.missing("numba") and "compiler" in backends.missing("native")
    assert backends.missing("numpy") is None


def test_show_config(capsys):
    bp.show_config()
    text = capsys.readouterr().out
    for part in ("bpfast", bp.__version__, "python", "numpy", np.__version__, "threads", *backends.BACKENDS):
        assert part in text
    if not backends.missing("native"):
        assert re.search(r"native +available, CPU level \w+ of", text)


def test_cpu_levels(native_engine, monkeypatch):
    """BPFAST_CPU caps the level of every plan that is made from then on."""
    from bpfast.backends import native

    level = native.cpu_level()
    assert level in native.cpu_levels() and level == native.cpu_levels()[native.cpu_levels().index(level)]
    monkeypatch.delenv("BPFAST_CPU")
    assert native.cpu_level() == native.cpu_levels()[-1]
    monkeypatch.setenv("BPFAST_CPU", "v9")
    with pytest.raises(ValueError, match=r"BPFAST_CPU must be one of .*v3.*got 'v9'"):
        native.cpu_level()


def test_threads(monkeypatch):
    from bpfast import config

    for name in ("BPFAST_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    every = config.n_threads()
    assert every >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1,4")
    assert config.n_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert config.n_threads() == every
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("BPFAST_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="BPFAST_NUM_THREADS must be a positive integer"):
            config.n_threads()


def test_numba_keeps_the_dtype():
    """A row that was compiled for float64 first computes in float32 all the same: an overflow shows it."""
    large = np.full(3, 1e30)
    for dtype, expected in (("f8", 1e60), ("f4", np.inf)):
        kernels = backends.kernels("numba", dtype)
        y, t = large.astype(dtype)[:, None], np.zeros((3, 1), dtype)
        values, _ = kernels.loss(LOSSES["squared_error"], y, t, np.ones(3))
        np.testing.assert_allclose(values, expected / 2)
