"""Layers beyond dense in training: every engine as the reference, of any shape, from any memory, to the same bits."""

import numpy as np
import pytest
from checks import digest
from test_networks import check_same

import bpfast as bp

D, R = bp.Dense, bp.Residual
BATCH_SIZE = 6

NETS = {  # the shape of a row, layers; the outputs are numbers
    "one channel": ((5, 4, 1), [bp.Conv2D(1, 3, "tanh"), bp.MaxPool2D(2), bp.BatchNorm(), bp.Flatten(), D(2)]),
    "17 channels": ((4, 3, 17), [bp.Conv2D(17, 2, "tanh"), bp.AvgPool2D(2), bp.LayerNorm(), bp.Conv2D(33, 1, "gelu"),
                                 bp.GlobalAvgPool2D(), D(2)]),
    "one pixel": ((1, 1, 3), [bp.Conv2D(4, 3, "tanh"), bp.MaxPool2D(1), bp.BatchNorm(), bp.ResidualBlock(4),
                              bp.GlobalAvgPool2D(), D(2)]),
    "one line": ((1, 9, 2), [bp.Conv2D(3, (1, 4), "tanh", padding="valid"), bp.AvgPool2D((1, 2), stride=(1, 1)),
                             bp.MaxPool2D(2, padding="same"), bp.Flatten(), D(2)]),
    "one column": ((9, 1, 2), [bp.Conv2D(3, (4, 1), "tanh", stride=2), bp.MaxPool2D((2, 1)), bp.Flatten(), D(2)]),
    "a window as the image": ((4, 3, 2), [bp.Conv2D(3, (4, 3), "tanh", padding="valid"), bp.Flatten(), D(2)]),
    "pooled whole": ((4, 3, 2), [bp.Conv2D(3, 2, "tanh"), bp.MaxPool2D((4, 3)), bp.Flatten(), D(2)]),
    "far windows": ((9, 8, 2), [bp.Conv2D(5, 2, "tanh", stride=(3, 4)), bp.AvgPool2D(1, stride=2),
                                bp.MaxPool2D(1, stride=3, padding="same"), bp.Flatten(), D(2)]),
    "a large kernel": ((3, 2, 1), [bp.Conv2D(2, 7, "tanh"), bp.MaxPool2D(5, stride=1, padding="same"),
                                   bp.AvgPool2D(5, stride=2, padding="same"), bp.Flatten(), D(2)]),
    "sequences": ((7, 3), [bp.Conv1D(17, 3, "tanh"), bp.BatchNorm(), bp.LayerNorm(), bp.Conv1D(2, 2, stride=2),
                           bp.Flatten(), D(2)]),
    "images come out": ((4, 5, 2), [bp.Conv2D(3, 3, "tanh"), bp.BatchNorm(), bp.Conv2D(2, 3)]),
    "an activation of images": ((4, 5, 2), [bp.Conv2D(3, 3, bias=False), bp.LayerNorm(), bp.Activation("tanh")]),
    "flattened first": ((3, 2, 2), [bp.Flatten(), D(5, "tanh"), bp.BatchNorm(), D(2)]),
    "a pool first": ((6, 5, 3), [bp.MaxPool2D(2), bp.Flatten(), D(2)]),
    "a mean first": ((6, 5, 3), [bp.GlobalAvgPool2D(), D(2)]),
    "a norm first": ((4, 3, 2), [bp.BatchNorm(), bp.Flatten(), D(2)]),
    "a norm of vectors first": (5, [bp.BatchNorm(affine=False), D(2)]),
    "a layer norm first": ((4, 3, 5), [bp.LayerNorm(), bp.Flatten(), D(2)]),
    "dropout first": (9, [bp.Dropout(0.3), D(19, "tanh"), bp.AlphaDropout(0.2), D(2)]),
    "dropout of images": ((4, 3, 5), [bp.Dropout(0.3), bp.Conv2D(3, 2, "selu"), bp.AlphaDropout(0.2), bp.Flatten(),
                                      bp.Dropout(0.1), D(2)]),
    "dropout last": (9, [D(2), bp.Dropout(0.3)]),
    "an activation first": ((4, 3, 2), [bp.Activation("tanh"), bp.Conv2D(3, 2), bp.Flatten(), D(2)]),
    "a factor first": ((4, 3, 2), [bp.Scale(0.7), bp.Flatten(), D(2)]),
    "a shortcut first": ((4, 3, 2), [R(bp.Conv2D(2, 3, "tanh")), bp.Flatten(), D(2)]),
    "standardized": ((4, 3, 2), [bp.Standardize(), bp.Conv2D(3, 2, "tanh"), bp.Flatten(), D(2)]),
    "blocks": ((5, 4, 3), [bp.Conv2D(3, 3, bias=False), bp.ResidualBlock(3), bp.ResidualBlock(5, stride=2),
                           bp.GlobalAvgPool2D(), D(2)]),
    "shortcuts": ((4, 4, 3), [bp.Conv2D(3, 1),
                              R(bp.Conv2D(3, 3, bias=False), bp.BatchNorm(), bp.Dropout(0.2), bp.Scale(0.1)),
                              R(bp.MaxPool2D(2), bp.Conv2D(6, 3, "tanh"), shortcut=bp.Conv2D(6, 2, stride=2)),
                              R(bp.Flatten(), D(2, "tanh"), shortcut=[bp.GlobalAvgPool2D(), bp.Dropout(0.5), D(2)])]),
    "norms of vectors": (7, [D(17, "tanh"), bp.BatchNorm(), D(9, "tanh"), bp.LayerNorm(), bp.Scale(), D(2)]),
}
every_net = pytest.mark.parametrize("shape, layers", NETS.values(), ids=NETS)


def new_trainer(shape, layers, backend="numpy", dtype="float64", **settings):
    net = bp.Network(layers, input_shape=shape, dtype=dtype, seed=5)
    settings = {"optimizer": bp.SGD(0.05), "batch_size": BATCH_SIZE, "seed": 6, **settings}
    return bp.Trainer(net, loss="squared_error", backend=backend, **settings)


def rows_for(trainer, rng, n=2 * BATCH_SIZE + 2):
    """X, y of the shapes of a network, float32 numbers; the last batch is smaller."""
    program = trainer.network.program
    X, y = (rng.normal(size=(n, *shape)).astype("f4") for shape in (program.input_shape, program.output_shape))
    return X, y, rng.integers(1, 4, n).astype(float)


def everything(trainer, X, y, weight=None, epochs=2):
    """-> name -> array: what a network computes, and what it is after a fit."""
    loss, found = trainer.loss_and_gradients(X, y, weight)
    found = {f"gradient {name}": array for name, array in found.items()}
    found |= {"loss": np.array(loss), "gradient X": trainer.input_gradient(X, y, weight)}
    found["losses"] = trainer.fit(X, y, epochs=epochs, sample_weight=weight)["loss"]
    return found | dict(trainer.network.arrays) | {"outputs": trainer.predict(X), "few": trainer.predict(X[:1])}


def check_bits(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@every_net
def test_every_engine_is_the_reference(engine, dtype, rng, shape, layers):
    """Gradients and training with the same masks and statistics, as the text computes it in float64."""
    exact, trainer = new_trainer(shape, layers), new_trainer(shape, layers, engine, dtype)
    X, y, weight = rows_for(exact, rng)
    check_same(everything(trainer, X, y, weight), everything(exact, X, y, weight), dtype)


SIZES = {"one row": (1, 4), "one row is left": (3, 7), "all at once": ("full", 11), "blocks": (2000, 1030),
         "larger than the data": (64, 11)}


@pytest.mark.parametrize("name, batch_size, n", [
    pytest.param(name, *SIZES[size], id=f"{name}-{size}")
    for name in ("norms of vectors", "sequences", "dropout of images", "images come out")
    for size in SIZES if (name, size) != ("norms of vectors", "one row")  # which is refused
])
def test_batches_of_any_size(engine, dtype, rng, name, batch_size, n):
    shape, layers = NETS[name]
    exact, trainer = (new_trainer(shape, layers, *where, batch_size=batch_size) for where in ((), (engine, dtype)))
    X, y, weight = rows_for(exact, rng, n)
    check_same(everything(trainer, X, y, weight, epochs=1), everything(exact, X, y, weight, epochs=1), dtype)


def test_rows_lie_anywhere(engine, dtype, rng):
    """Of any dtype and strides, such as images whose channels came first, they give the bits of a copy in C order."""
    shape, layers = (5, 4, 3), [bp.Standardize(), bp.Conv2D(4, 2, "tanh"), bp.BatchNorm(), bp.MaxPool2D(2),
                                bp.Flatten(), D(2)]
    whole = rng.integers(0, 200, size=(30, *shape)).astype("u1")
    y, wide = rng.normal(size=(30, 2)), np.zeros((60, 5, 8, 3), "u1")
    wide[::-2, :, ::2] = whole
    same = {
        "uint8": whole, "float16": whole.astype("f2"), "float64": whole.astype("f8"),
        "Fortran": np.asfortranarray(whole.astype("f4")), "big-endian": whole.astype(">f4"),
        "channels first": np.ascontiguousarray(whole.astype("f4").transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
        "a view": wide[::-2, :, ::2], "columns first": np.ascontiguousarray(whole.swapaxes(1, 2)).swapaxes(1, 2),
        "a list": whole.tolist(),
    }
    expected = everything(new_trainer(shape, layers, engine, dtype), whole.astype("f4"), y)
    for name, X in same.items():
        trainer = new_trainer(shape, layers, engine, dtype)
        np.testing.assert_array_equal(np.asarray(X), whole, err_msg=name)
        found = everything(trainer, X if name == "a list" else X[:], y)
        check_bits(found, expected)


@pytest.mark.parametrize("first", [bp.MaxPool2D(2), bp.GlobalAvgPool2D(), bp.LayerNorm(), bp.BatchNorm(), bp.Flatten(),
                                   bp.Dropout(0.2), bp.Activation("tanh"), bp.Scale(), R(bp.Conv2D(3, 2))], ids=repr)
def test_a_first_layer_reads_views(engine, dtype, rng, first):
    X = rng.normal(size=(13, 3, 6, 4)).astype("f4").transpose(0, 2, 3, 1)
    assert not X.flags.c_contiguous
    y, layers = rng.normal(size=(13, 2)), [first, bp.Flatten(), D(2)]
    found, expected = (everything(new_trainer((6, 4, 3), layers, engine, dtype), x, y) for x in (X, X.copy("C")))
    check_bits(found, expected)


@pytest.mark.parametrize("last", [[bp.Conv2D(1, 3, "sigmoid")], [bp.Conv2D(1, 3), bp.Activation("sigmoid")]], ids=str)
def test_images_are_learned(backend, rng, last):
    """Which pixels are bright: y has the shape of the outputs, or is flat."""
    X = rng.normal(size=(60, 5, 4, 1))
    y = (X > 0).astype(int)
    net = bp.Network([bp.Conv2D(4, 3, "relu"), *last], seed=0)
    trainer = bp.Trainer(net, loss="binary_cross_entropy", optimizer=bp.Adam(0.03), seed=1, backend=backend)
    flat = bp.Trainer(net.copy(), loss="binary_cross_entropy", optimizer=bp.Adam(0.03), seed=1, backend=backend)
    trainer.fit(X, y, epochs=20, validation=(X, y))
    flat.fit(X, y.reshape(60, -1), epochs=20)
    outputs = trainer.predict(X)
    assert outputs.shape == y.shape and outputs.dtype == np.float32
    assert ((outputs > 0.5) == y).mean() > 0.9
    assert trainer.evaluate(X, y)["loss"] == trainer.history["val_loss"][-1] < 0.4
    assert digest(flat.network) == digest(net)
    with pytest.raises(ValueError, match="y must have shape"):
        trainer.fit(X, y[:, :4])


def test_a_softmax_of_its_own_is_the_outputs(engine, dtype, rng):
    """As the last layer an Activation is what the activation of a Dense is."""
    X, y = rng.normal(size=(20, 4)), rng.integers(3, size=20)
    found = []
    for layers in ([D(3, "softmax", initializer="glorot")], [D(3, initializer="glorot"), bp.Activation("softmax")]):
        net = bp.Network(layers, input_shape=4, dtype=dtype, seed=0)
        trainer = bp.Trainer(net, loss="cross_entropy", seed=1, backend=engine)
        found.append([trainer.fit(X, y, epochs=3)["loss"].tolist(), digest(net)])
    assert found[0] == found[1]


# -- noise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bp.Dropout, bp.AlphaDropout])
def test_prediction_drops_nothing(engine, dtype, rng, kind):
    """Predictions, evaluation and figures of validation are those of the network without its noise."""
    X, y = rng.normal(size=(40, 6)).astype("f4"), rng.normal(size=(40, 2))
    noisy = new_trainer(6, [kind(0.5), D(8, "selu"), kind(0.9), D(2)], engine, dtype, optimizer=bp.SGD(1e-3))
    noisy.fit(X, y, epochs=2, validation=(X, y))
    plain = new_trainer(6, [D(8, "selu", name="1"), D(2, name="3")], engine, dtype)
    for name, array in noisy.network.parameters.items():
        plain.network.parameters[name] = array
    np.testing.assert_array_equal(noisy.predict(X), plain.predict(X))
    assert noisy.evaluate(X, y) == plain.evaluate(X, y)
    assert noisy.history["val_loss"][-1] == plain.evaluate(X, y)["loss"]
    assert noisy.loss_and_gradients(X, y)[0] != plain.loss_and_gradients(X, y)[0]


def test_every_step_and_layer_draws_anew(engine, dtype):
    """A network that hands ones on has outputs 0 or 2: dE/dX tells which; the masks of a fit show in its weights."""
    rows = np.ones((8, 50)), np.zeros((8, 50))
    net = bp.Network([bp.Dropout(0.5), bp.Dropout(0.5)], input_shape=50, dtype=dtype)
    gradient = bp.Trainer(net, loss="squared_error", backend=engine).input_gradient(*rows)
    assert set(np.unique(gradient)) == {0, 2}  # 4 * 4 / 8 where both kept it
    assert 0.15 < (gradient > 0).mean() < 0.35

    def masks(seed, epochs):
        trainer = new_trainer(50, [bp.Scale(), bp.Dropout(0.5)], engine, dtype, seed=seed, optimizer=bp.SGD(1e-3),
                              batch_size=1)
        trainer.fit(*rows, epochs=epochs, shuffle=False)
        return trainer.network.to_vector()

    first, second, other = masks(0, 1), masks(0, 2), masks(1, 1)
    assert len(set(np.round(first, 5))) > 4 and (first != other).any()
    assert (np.round(second / first, 3) != np.round(first, 3)).any()
    np.testing.assert_array_equal(masks(0, 1), first)


def test_a_rate_of_zero_is_no_dropout(engine, dtype, rng):
    X, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 2))
    for kind in (bp.Dropout, bp.AlphaDropout):
        found, plain = (everything(new_trainer(6, layers, engine, dtype), X, y)
                        for layers in ([kind(0.0), D(2, name="d")], [D(2, name="d")]))
        check_bits(found, plain)
