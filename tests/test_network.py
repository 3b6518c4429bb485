"""A Network: its parameters, names and shapes, copies and pickles, and its initial weights."""

import copy
import pickle

import numpy as np
import pytest
from checks import digest
from hypothesis import given
from hypothesis import strategies as st

import bpfast as bp
from bpfast.ops import ACTIVATIONS

LAYERS = [bp.Dense(5, "relu"), bp.Residual(bp.Dense(4, "tanh", name="narrow"), bp.Dense(5)), bp.Dense(3, "softmax")]
SHAPES = {
    "0.weight": (7, 5), "0.bias": (5,),
    "1.narrow.weight": (5, 4), "1.narrow.bias": (4,), "1.1.weight": (4, 5), "1.1.bias": (5,),
    "2.weight": (5, 3), "2.bias": (3,),
}  # fmt: skip


@pytest.fixture
def net(dtype):
    return bp.Network(LAYERS, input_shape=7, dtype=dtype, seed=1)


# -- parameters ---------------------------------------------------------------------------------------------


def test_names_and_shapes(net, dtype):
    assert {name: array.shape for name, array in net.parameters.items()} == SHAPES
    assert all(array.dtype == dtype and array.flags.writeable for array in net.parameters.values())
    assert len(net.parameters) == len(SHAPES) and "0.weight" in net.parameters
    assert net.input_shape == (7,)


def test_deep_names():
    layers = [bp.Residual(bp.Residual(bp.Dense(2, name="a"), name="b"), bp.Dense(2))]
    names = bp.Network(layers, input_shape=2).parameters
    assert list(names) == ["0.b.a.weight", "0.b.a.bias", "0.1.weight", "0.1.bias"]


def test_assigning_copies_in(net):
    arrays, mine = dict(net.parameters), np.arange(15.0).reshape(5, 3)
    net.parameters["2.weight"] = mine
    mine[...] = -1
    np.testing.assert_array_equal(net.parameters["2.weight"], np.arange(15.0).reshape(5, 3))
    assert all(net.parameters[name] is array for name, array in arrays.items())
    net.parameters["2.bias"] = [1, 2, 3]
    np.testing.assert_array_equal(net.parameters["2.bias"], [1, 2, 3])


def test_what_cannot_be_assigned(net):
    before = digest(net)
    for value in (np.zeros((3, 5)), np.zeros(15), 0.0, [[1]]):
        with pytest.raises(ValueError, match=r"'2.weight' has shape \(5, 3\)"):
            net.parameters["2.weight"] = value
    with pytest.raises(KeyError, match=r"no parameter '3.weight'.*2.bias"):
        net.parameters["3.weight"] = 0
    with pytest.raises(KeyError):
        net.parameters["3.weight"]
    assert digest(net) == before


def test_vector(net):
    vector = net.to_vector()
    assert vector.shape == (sum(np.prod(shape) for shape in SHAPES.values()),) and vector.dtype == net.dtype
    np.testing.assert_array_equal(vector[:35].reshape(7, 5), net.parameters["0.weight"])
    arrays = dict(net.parameters)
    net.from_vector(2 * vector)
    np.testing.assert_array_equal(net.to_vector(), 2 * vector)
    assert all(net.parameters[name] is array for name, array in arrays.items())
    vector[...] = 0  # the caller's own
    assert net.to_vector().any()
    for wrong in (vector[:-1], vector[None], 0.0, []):
        with pytest.raises(ValueError, match=r"need a vector of shape"):
            net.from_vector(wrong)


def test_restore(dtype, tmp_path):
    """A snapshot comes back into the arrays that there are, from a dict and from a file."""
    net = bp.Network([bp.Dense(4, "tanh"), bp.BatchNorm()], input_shape=3, dtype=dtype, seed=1)
    net.statistics["1.mean"] = np.arange(4)
    start, kept, arrays = net.copy(), net.snapshot(), net.arrays
    np.savez(tmp_path / "kept.npz", **kept)
    with np.load(tmp_path / "kept.npz") as file:
        for snapshot in (kept, file):
            for array in arrays.values():
                array[...] = 7
            net.restore(snapshot)
            assert net == start
    assert all(net.arrays[name] is array for name, array in arrays.items())


@pytest.mark.parametrize("change, error, message", [
    ({"0.bias": None}, KeyError, r"the snapshot has no '0.bias'; it has: 0.weight, 1.scale, "),
    ({"1.mean": None}, KeyError, "the snapshot has no '1.mean'; it has: "),
    ({"2.weight": 0}, KeyError, "no parameter or statistic '2.weight'; there are: 0.weight, .*1.variance"),
    ({"1.variance": np.ones(3)}, ValueError, r"'1.variance' has shape \(4,\), got \(3,\)"),
    ({"1.variance": 1.0}, ValueError, r"'1.variance' has shape \(4,\), got \(\)"),
    ({"1.variance": np.array(["a"] * 4)}, TypeError, "'1.variance' must hold numbers"),
])
def test_what_cannot_be_restored(change, error, message):
    """It is found before anything is copied."""
    net = bp.Network([bp.Dense(4, "tanh"), bp.BatchNorm()], input_shape=3, seed=1)
    snapshot = {name: array + 1 for name, array in net.snapshot().items()} | change
    before = net.copy()
    with pytest.raises(error, match=message):
        net.restore({name: array for name, array in snapshot.items() if array is not None})
    assert net == before


def test_parameters_compare(net):
    """As a mapping of arrays they have an answer, whatever it is; never an error."""
    assert (net.parameters == net.parameters) in (True, False)
    assert (net.parameters == net.copy().parameters) in (True, False)


# -- copies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    bp.Network.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)),
], ids=["copy", "deepcopy", "pickle"])
def test_copies(net, make, rng):
    X = rng.normal(size=(4, 7))
    net.predict(X)  # whose plan stays behind
    other = make(net)
    assert other == net and other is not net and other.layers == net.layers and other.dtype == net.dtype
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    other.parameters["2.bias"][0] += 1
    assert other != net and net == make(net)


def test_copies_before_the_first_data():
    net = bp.Network(LAYERS, seed=3)
    for other in (net.copy(), pickle.loads(pickle.dumps(net))):
        assert other == net and other.input_shape is None
        assert digest(other.build(7)) == digest(bp.Network(LAYERS, input_shape=7, seed=3))


def test_equality(dtype):
    net = bp.Network(LAYERS, input_shape=7, dtype=dtype, seed=1)
    assert net == bp.Network(LAYERS, input_shape=7, dtype=dtype, seed=1)
    assert net != bp.Network(LAYERS, input_shape=7, dtype=dtype, seed=2)
    assert net != bp.Network(LAYERS, input_shape=8, dtype=dtype, seed=1)
    assert net != bp.Network(LAYERS, dtype=dtype, seed=1)
    assert net != bp.Network(LAYERS[:2], input_shape=7, dtype=dtype, seed=1)
    assert net != "net" and net is not None
    other = "float64" if dtype == "float32" else "float32"
    assert net != bp.Network(LAYERS, input_shape=7, dtype=other, seed=1)


widths = st.integers(1, 9)
activations = st.sampled_from(list(ACTIVATIONS))


@given(st.lists(st.tuples(widths, activations), min_size=1, max_size=4), widths, st.integers(0, 2**64 - 1))
def test_round_trips(drawn, n_in, seed):
    """Any network: vector, pickle, copy and the printed form give it back."""
    net = bp.Network([bp.Dense(units, name) for units, name in drawn], input_shape=n_in, seed=seed)
    other = bp.Network(net.layers, input_shape=n_in, seed=None)
    other.from_vector(net.to_vector())
    assert other == net == net.copy() == pickle.loads(pickle.dumps(net))
    assert eval(repr(net), vars(bp)) == net


# -- building -----------------------------------------------------------------------------------------------


def test_one_layer_object_twice_is_two_layers():
    layer = bp.Dense(4, "tanh")
    net = bp.Network([layer, layer], input_shape=4, seed=0)
    assert len(net.parameters) == 4
    assert (net.parameters["0.weight"] != net.parameters["1.weight"]).any()


def test_the_first_data_tell_the_inputs(backend, rng):
    net = bp.Network(LAYERS, seed=1)
    assert net.input_shape is None
    assert bp.Network(LAYERS, seed=1).activations(rng.normal(size=(2, 7)))[-1].shape == (2, 3)
    for wanted in (lambda: net.parameters, net.to_vector, net.summary, lambda: net.plan("numpy")):
        with pytest.raises(ValueError, match=r"give Network\(..., input_shape="):
            wanted()
    trainer = bp.Trainer(net, loss="cross_entropy", backend=backend)
    trainer.predict(rng.normal(size=(2, 7)))
    assert net == bp.Network(LAYERS, input_shape=(7,), seed=1)
    for call in (net.predict, net.activations, trainer.predict):
        with pytest.raises(ValueError, match=r"X has 6 columns.*takes 7"):
            call(np.ones((2, 6)))
    with pytest.raises(ValueError, match=r"inputs of shape \(7,\), got \(6,\)"):
        net.build(6)


@pytest.mark.parametrize("layers, name", [
    ([bp.Dense(2, name="a"), bp.Dense(2, name="a")], "a"),
    ([bp.Dense(2, name="1"), bp.Dense(2)], "1"),
    ([bp.Dense(2, name="a"), bp.Activation("relu", name="a")], "a"),
    ([bp.Flatten(name="a"), bp.Dropout(name="a"), bp.Dense(2)], "a"),
    ([bp.Residual(bp.Dense(2, name="a"), bp.Dropout(name="a"))], "0.a"),
    ([bp.Residual(bp.Dense(2, name="shortcut"), shortcut=bp.Dense(2))], "0.shortcut"),
    ([bp.Residual(bp.Dense(2), shortcut=[bp.Dense(2, name="1"), bp.Dropout()])], "0.shortcut.1"),
])
def test_names_that_meet(layers, name):
    with pytest.raises(ValueError, match=f"two layers are called '{name}'; names must differ"):
        bp.Network(layers, input_shape=2)
    shared = [bp.Residual(bp.Dense(2, name="a"), name="b"), bp.Dense(2, name="a")]  # in blocks of their own they may
    assert len(bp.Network(shared, input_shape=2).parameters) == 4


def test_a_residual_keeps_the_width():
    with pytest.raises(ValueError, match=r"layer 1 \(Residual\).*\(3,\) into \(4,\).*shortcut=.*\(4,\)"):
        bp.Network([bp.Dense(3), bp.Residual(bp.Dense(4))], input_shape=2)
    trainer = bp.Trainer(bp.Network([bp.Residual(bp.Dense(4))]), loss="squared_error", backend="numpy")
    with pytest.raises(ValueError, match="Residual"):
        trainer.fit(np.ones((5, 3)), np.ones((5, 4)))
    assert trainer.network.program is None


@pytest.mark.parametrize("layers, error, message", [
    ([], ValueError, "Network needs at least one layer"),
    ([3], TypeError, "layer 0 must be a layer"),
    ([bp.Dense(2), "relu"], TypeError, "layer 1 must be a layer.*'relu'"),
    ([bp.Dense], TypeError, "layer 0 must be a layer"),
])
def test_refused_layers(layers, error, message):
    with pytest.raises(error, match=message):
        bp.Network(layers)


def test_a_single_layer_needs_no_list():
    assert bp.Network(bp.Dense(2), seed=0) == bp.Network([bp.Dense(2)], seed=0)


@pytest.mark.parametrize("layers", [
    [bp.Conv2D(1, activation="sigmoid")], [bp.Conv2D(1), bp.Activation("sigmoid")],
    [bp.Conv2D(1, activation="sigmoid"), bp.Flatten()], [bp.Conv2D(1), bp.Activation("sigmoid"), bp.Flatten()],
], ids=repr)
def test_an_activation_goes_behind_the_last_reshape(layers):
    """Where a loss may fuse it: the same instructions, whoever flattens."""
    program = bp.Network(layers, input_shape=(4, 3, 2)).program
    assert [(i.op, i.activation.name, i.layer) for i in program.instructions] == [
        ("conv", "linear", "0"), ("reshape", "linear", str(len(layers) - 1)),
        ("activation", "sigmoid", str(1 if bp.Activation("sigmoid") in layers else 0))]
    assert program.last_activation.name == "sigmoid" and program.n_out == 12


# -- initial weights ----------------------------------------------------------------------------------------


def test_seeds(dtype):
    nets = [bp.Network(LAYERS, input_shape=7, dtype=dtype, seed=seed) for seed in (1, 1, 2, None, None)]
    digests = [digest(net) for net in nets]
    assert digests[0] == digests[1] and len(set(digests)) == 4
    assert all(not net.parameters[name].any() for net in nets for name in SHAPES if name.endswith("bias"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_variances(activation):
    """Glorot: uniform, variance 2 / (n_in + n_out).  He and LeCun: normal, 2 / n_in and 1 / n_in.  As the row says."""
    n_in, n_out = 300, 500
    weight = bp.Network([bp.Dense(n_out, activation)], input_shape=n_in, dtype="float64", seed=4).parameters["0.weight"]
    initializer = ACTIVATIONS[activation].initializer
    variance = {"glorot": 2 / (n_in + n_out), "he": 2 / n_in, "lecun": 1 / n_in}[initializer]
    assert weight.var() == pytest.approx(variance, rel=0.02)
    assert abs(weight.mean()) < 4 * np.sqrt(variance / weight.size)
    assert (np.abs(weight).max() <= np.sqrt(3 * variance)) == (initializer == "glorot")


def test_initializers_may_be_chosen():
    shape = {"input_shape": 4, "dtype": "float64", "seed": 0}
    he = bp.Network([bp.Dense(3, "tanh", initializer="he")], **shape)
    assert he == bp.Network([bp.Dense(3, "tanh", initializer=bp.He())], **shape)
    assert digest(he) != digest(bp.Network([bp.Dense(3, "tanh")], **shape))


# -- what a network shows -----------------------------------------------------------------------------------


def test_activations_that_stand_apart(rng):
    net, X = bp.Network([bp.Dense(4), bp.Activation("relu")], input_shape=7, seed=0), rng.normal(size=(3, 7))
    _, z, y = net.activations(X)
    np.testing.assert_array_equal(np.maximum(z, 0), y)


def test_activations(net, rng):
    """X, every value in between, and the prediction."""
    X = rng.normal(size=(6, 7)).astype(net.dtype)
    values = net.activations(X)
    np.testing.assert_array_equal(values[0], X)
    np.testing.assert_allclose(values[-1], net.predict(X), rtol=1e-4 if net.dtype == "float32" else 1e-12)
    hidden = X @ net.parameters["0.weight"] + net.parameters["0.bias"]
    np.testing.assert_allclose(values[1], np.maximum(hidden, 0), rtol=1e-5)
    assert [value.shape[1:] for value in values] == list(net.program.value_shapes)


def test_activations_of_every_instruction(rng):
    """Also where plans do one of them within another."""
    layers = [bp.Conv2D(3, bias=False), bp.BatchNorm(), bp.Activation("relu"), bp.Conv2D(2), bp.Activation("tanh")]
    net, X = bp.Network(layers, input_shape=(4, 3, 2), seed=0), rng.normal(size=(5, 4, 3, 2))
    values, instructions = net.activations(X), net.program.instructions
    assert [i.op for i in instructions] == ["conv", "batch_norm", "activation", "conv", "reshape", "activation"]
    assert [v.shape[1:] for v in values[1:]] == [net.program.value_shapes[i.output] for i in instructions]
    np.testing.assert_array_equal(values[3], np.maximum(values[2], 0))
    np.testing.assert_allclose(values[-1].reshape(5, 4, 3, 2), net.predict(X), rtol=1e-5, atol=1e-6)


def test_summary(net):
    text = net.summary()
    for name, shape in SHAPES.items():
        assert any(line.split()[0] == name and str(shape) in line for line in text.splitlines()[2:])
    assert text.splitlines()[-1].split() == ["total", "of", "parameters", f"{net.to_vector().size}"]


@pytest.mark.parametrize("layers, lines", [
    ([bp.Conv2D(1, bias=False, activation="relu")],
     ["0  Conv2D (8, 8, 1)", "0.weight (3, 3, 2, 1) 18", "total of parameters 18"]),
    ([bp.Conv2D(1, bias=False), bp.Activation("relu"), bp.Flatten(name="flat")],
     ["0  Conv2D (8, 8, 1)", "0.weight (3, 3, 2, 1) 18", "1  Activation (8, 8, 1)", "flat  Flatten (64,)",
      "total of parameters 18"]),
    ([bp.Residual(bp.BatchNorm(affine=False, name="norm")), bp.Flatten(), bp.Flatten(), bp.Dense(2, name="out")],
     ["0  Residual (8, 8, 2)", "0.norm.mean (2,) 2", "0.norm.variance (2,) 2", "1  Flatten (128,)", "2  Flatten (128,)",
      "out  Dense (2,)", "out.weight (128, 2) 256", "out.bias (2,) 2", "total of parameters 258"]),
], ids=["an image", "flattened", "a block"])
def test_summary_of_images(layers, lines):
    """Each layer with the shape that it makes, whatever the program adds behind the last; statistics have rows too."""
    text = bp.Network(layers, input_shape=(8, 8, 2)).summary()
    assert [" ".join(line.split()) for line in text.splitlines()[2:]] == [" ".join(line.split()) for line in lines]


def test_predict_gives_new_arrays(net, rng):
    X = rng.normal(size=(3, 7))
    first = net.predict(X)
    kept = first.copy()
    net.predict(-X)
    np.testing.assert_array_equal(first, kept)
    first[...] = 0
    np.testing.assert_array_equal(net.predict(X), kept)
    assert kept.dtype == net.dtype and kept.shape == (3, 3)
