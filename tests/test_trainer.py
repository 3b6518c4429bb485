"""A Trainer: what a fit does, how it goes on, and what is refused when it is made."""

import numpy as np
import pytest
from checks import digest
from hypothesis import given
from hypothesis import strategies as st
from samples import small_trainer

import bpfast as bp
from bpfast import backends
from bpfast.ops import LOSSES


def test_it_learns(engine, dtype, rows):
    trainer = small_trainer(engine, dtype=dtype, optimizer=bp.Adam(0.02))
    history = trainer.fit(*rows, epochs=60)
    assert history is trainer.history
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert trainer.evaluate(*rows)["accuracy"] > 0.95


def test_every_row_is_learned_from_once(engine, rows):
    """In an epoch at rate zero the mean loss is that of evaluate, for every size of the last batch."""
    X, y = rows
    for n, batch_size in ((200, 32), (200, 200), (200, 300), (1, 32), (33, 32), (7, 1)):
        trainer = small_trainer(engine, optimizer=bp.SGD(0.0), batch_size=batch_size)
        history = trainer.fit(X[:n], y[:n], epochs=2)
        np.testing.assert_allclose(history["loss"], trainer.evaluate(X[:n], y[:n])["loss"], rtol=1e-13)


def test_steps_follow_the_order(engine, rows):
    """An epoch is a step per batch of the plan's order, made by hand here."""
    X, y = rows
    fitted, by_hand = small_trainer(engine, optimizer=bp.SGD(0.1)), small_trainer("numpy", optimizer=bp.SGD(0.1))
    fitted.fit(X, y, epochs=3)
    net = by_hand.network.build(6)
    for epoch in range(3):
        order = net.plan("numpy").permutation(len(X), 2, epoch)
        for begin in range(0, len(X), 32):
            batch = order[begin : begin + 32]
            for name, gradient in by_hand.loss_and_gradients(X[batch], y[batch])[1].items():
                net.parameters[name] -= 0.1 * gradient
    np.testing.assert_allclose(fitted.network.to_vector(), net.to_vector(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [1, 40, 2500])
def test_input_gradient(engine, dtype, n, rng):
    """Of any number of rows, also through a sum whose parts read the data both."""
    layers = [bp.Residual(bp.Dense(19, "relu"), bp.Dense(6)), bp.Dense(17, "tanh"), bp.Dense(4, "softmax")]
    X, y, weight = rng.normal(size=(n, 6)).astype("f4"), rng.integers(4, size=n), rng.integers(1, 3, n) * 1.0
    weight[1::5] = 0
    found, exact = (
        bp.Trainer(bp.Network(layers, dtype=dtype, seed=1), loss="cross_entropy", backend=backend)
        .input_gradient(X, y, weight) for backend, dtype in ((engine, dtype), ("numpy", "float64")))
    assert found.shape == (n, 6) and found.dtype == dtype and not found[1::5].any() and found[0].all()
    np.testing.assert_allclose(found, exact, rtol=0, atol=np.abs(exact).max() * (1e-13 if dtype == "float64" else 1e-5))


def test_shuffle_may_be_off(engine, rows):
    X, y = rows
    order = np.random.default_rng(0).permutation(len(X))
    plain, shuffled, reordered = (small_trainer(engine) for _ in range(3))
    plain.fit(X[order], y[order], epochs=1, shuffle=False)
    reordered.fit(X, y, epochs=1, shuffle=False)
    shuffled.fit(X, y, epochs=1)
    assert len({digest(trainer.network) for trainer in (plain, shuffled, reordered)}) == 3


def test_backends_agree(engine, rows):
    """On a shuffled fit with Adam, validation and weights, in float64 to 1e-9."""
    X, y = rows
    weight = np.linspace(0, 3, len(X))
    found, expected = small_trainer(engine), small_trainer("numpy")
    for trainer in (found, expected):
        trainer.fit(X, y, epochs=8, sample_weight=weight, validation=(X[:50], y[:50], weight[:50]))
    np.testing.assert_allclose(found.network.to_vector(), expected.network.to_vector(), rtol=1e-9, atol=1e-11)
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-9)


def test_parameters_are_the_truth(engine, rows):
    """What is written into the network between two calls is what the next call starts from."""
    used, new = (small_trainer(engine, optimizer=bp.SGD(0.1)) for _ in range(2))
    used.network.build(6)
    arrays, start = dict(used.network.parameters), used.network.copy()
    used.fit(*rows, epochs=2, shuffle=False)
    for name, array in start.parameters.items():
        arrays[name][...] = array
    np.testing.assert_allclose(used.predict(rows[0]), start.predict(rows[0]), rtol=1e-12)
    for trainer in (used, new):
        trainer.fit(*rows, epochs=1, shuffle=False)
    assert digest(used.network) == digest(new.network)
    assert all(used.network.parameters[name] is array for name, array in arrays.items())


def test_fit_again_keeps_the_moments(engine, rows):
    """Adam goes on from its moments and its step; a new Trainer of the same network begins with none."""
    trainer = small_trainer(engine)
    trainer.fit(*rows, epochs=3, shuffle=False)
    fresh = bp.Trainer(trainer.network.copy(), loss="cross_entropy", backend=engine)
    for t in (trainer, fresh):
        t.fit(*rows, epochs=1, shuffle=False)
    assert digest(trainer.network) != digest(fresh.network)
    assert trainer.history.n_epochs == 4 and fresh.history.n_epochs == 1


def test_a_batch_of_zero_weight_makes_no_step(engine, rows):
    """Adam's step number does not go on either: the fit is that of the other rows alone."""
    X, y = rows
    weight = np.ones(len(X))
    weight[32:64] = 0
    weighted, without = small_trainer(engine), small_trainer(engine)
    weighted.fit(X, y, epochs=2, sample_weight=weight, shuffle=False)
    without.fit(np.delete(X, slice(32, 64), axis=0), np.delete(y, slice(32, 64)), epochs=2, shuffle=False)
    np.testing.assert_allclose(weighted.network.to_vector(), without.network.to_vector(), rtol=1e-12)
    np.testing.assert_allclose(weighted.history["loss"], without.history["loss"], rtol=1e-12)


def test_weights_of_any_scale(engine, rows):
    """Only ratios count: weights of 1e-200 and 1e200 do what weights of one do."""
    losses = [small_trainer(engine).loss_and_gradients(*rows, np.full(200, size))[0] for size in (1.0, 1e-200, 1e200)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


def test_validation_changes_nothing(engine, rows):
    X, y = rows
    with_validation, without = small_trainer(engine), small_trainer(engine)
    history = with_validation.fit(X, y, epochs=3, validation=(X[:9], y[:9]))
    without.fit(X, y, epochs=3)
    assert digest(with_validation.network) == digest(without.network)
    assert set(history) == {"loss", "seconds", "val_loss", "val_accuracy"}
    assert history["val_loss"][-1] == with_validation.evaluate(X[:9], y[:9])["loss"]
    assert set(without.history) == {"loss", "seconds"}


def test_evaluate_by_hand(engine, rows):
    X, y = rows
    weight = np.linspace(0.5, 2, len(X))
    trainer = small_trainer(engine)
    trainer.fit(X, y, epochs=2)
    p = trainer.predict(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    found = trainer.evaluate(X, y, weight)
    assert found["loss"] == pytest.approx(np.average(-np.log(p[np.arange(len(X)), y]), weights=weight), rel=1e-12)
    assert found["accuracy"] == pytest.approx(np.average(p.argmax(axis=1) == y, weights=weight))
    assert all(type(value) is float for value in found.values())


def test_evaluate_of_numbers_has_no_accuracy(engine, rng):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    trainer = bp.Trainer(bp.Network([bp.Dense(2)], seed=0), loss="squared_error", backend=engine)
    loss = 0.5 * ((trainer.predict(X) - y) ** 2).sum(axis=1).mean()
    assert trainer.evaluate(X, y) == {"loss": pytest.approx(loss, rel=1e-5)}


def test_loss_and_gradients_change_nothing(engine, rows):
    X, y = rows
    trainer, other = small_trainer(engine), small_trainer(engine)
    for t in (trainer, other):
        t.fit(X, y, epochs=1)
    before = digest(trainer.network)
    loss, gradients = trainer.loss_and_gradients(X, y)
    assert type(loss) is float and loss == pytest.approx(trainer.evaluate(X, y)["loss"], rel=1e-13)
    assert {name: array.shape for name, array in gradients.items()} == {
        name: array.shape for name, array in trainer.network.parameters.items()}
    for array in gradients.values():
        array[...] = np.nan  # the caller's own
    assert digest(trainer.network) == before
    for t in (trainer, other):
        t.fit(X, y, epochs=1)
    assert digest(trainer.network) == digest(other.network)


def test_predict_before_fit(engine, rows):
    trainer = small_trainer(engine)
    np.testing.assert_allclose(trainer.predict(rows[0]), trainer.network.predict(rows[0]), rtol=1e-12)
    assert trainer.predict(rows[0]).dtype == np.float64 and trainer.predict(rows[0]).shape == (200, 2)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**64 - 1), st.integers(1, 3))
def test_any_sizes(n, batch_size, seed, epochs):
    """n rows in batches of any size, every backend: finite, and each as the reference."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 3)), rng.integers(2, size=n)
    vectors = []
    for name in backends.BACKENDS:
        if not backends.missing(name):
            net = bp.Network([bp.Dense(5, "gelu"), bp.Dense(2, "softmax")], dtype="float64", seed=seed)
            trainer = bp.Trainer(net, loss="cross_entropy", batch_size=batch_size, seed=seed, backend=name)
            trainer.fit(X, y, epochs=epochs)
            assert trainer.history.n_epochs == epochs
            vectors.append(net.to_vector())
    for vector in vectors:
        np.testing.assert_allclose(vector, vectors[-1], rtol=1e-9, atol=1e-11)


def test_no_seed_draws_one(rows):
    first, second = small_trainer(seed=None), small_trainer(seed=None)
    assert first.seed != second.seed
    first.fit(*rows, epochs=1)
    again = small_trainer(seed=first.seed)
    again.fit(*rows, epochs=1)
    assert digest(first.network) == digest(again.network)


# -- what is refused when it is made --------------------------------------------------------------------------


@pytest.mark.parametrize("activation, loss, message", [
    ("linear", "cross_entropy", "'softmax', but .* 'linear'.*Dense\\(3, 'softmax'\\) with loss 'cross_entropy'"),
    ("sigmoid", "cross_entropy", "'softmax', but .* 'sigmoid'"),
    ("tanh", "binary_cross_entropy", "'sigmoid', but .* 'tanh'.*Dense\\(3, 'sigmoid'\\)"),
    ("linear", "binary_cross_entropy", "'sigmoid', but .* 'linear'"),
    ("linear", "poisson", "'exponential', but .* 'linear'"),
    ("softmax", "softmax_cross_entropy", "'linear', but .* 'softmax'.*'softmax'\\) with loss 'cross_entropy', or in "
                                         "Dense\\(3, 'linear'\\) with 'softmax_cross_entropy', which reads logits"),
    ("sigmoid", "sigmoid_binary_cross_entropy", "'linear', but .* 'sigmoid'.*'binary_cross_entropy'"),
])
def test_refused_pairs(activation, loss, message):
    """The pair that was meant is named."""
    with pytest.raises(ValueError, match=f"loss {loss!r} belongs to the output activation {message}"):
        bp.Trainer(bp.Network([bp.Dense(3, activation)]), loss=loss, backend="numpy")


@pytest.mark.parametrize("input_shape", [None, 4])
@pytest.mark.parametrize("behind", [bp.Dropout(0.2), bp.BatchNorm(), bp.Scale(), bp.Residual(bp.Dense(3))], ids=repr)
def test_nothing_comes_behind_a_softmax(behind, input_shape):
    for layers in ([bp.Dense(3, "softmax"), behind], [bp.Dense(3), bp.Activation("softmax"), behind, bp.Flatten()]):
        with pytest.raises(ValueError) as caught:
            bp.Trainer(bp.Network(layers, input_shape=input_shape), loss="cross_entropy", backend="numpy")
        assert f"'softmax', behind which nothing but Flatten() may come, but {behind!r} does" in str(caught.value)
    with pytest.raises(ValueError, match="end the network in"):
        bp.Trainer(bp.Network([*layers, bp.Dense(3)], input_shape=input_shape), loss="cross_entropy", backend="numpy")


@pytest.mark.parametrize("activation, loss, size", [
    ("sigmoid", "binary_cross_entropy", 1e3),  # whose outputs are near 0 and 1, where only logits tell the loss
    ("exponential", "poisson", 1),
])
@pytest.mark.parametrize("kind, input_shape", [(bp.Conv2D, (4, 3, 2)), (bp.Conv1D, (7, 2))])
def test_flattening_is_the_users_or_the_programs(engine, dtype, rng, kind, input_shape, activation, loss, size):
    """A loss is fused with the activation before a last Flatten as with that of a network of images: the same bits."""
    X, y = rng.normal(size=(13, *input_shape)), rng.integers(2, size=(13, *input_shape[:-1], 1))
    found = []
    for layers in ([kind(1, 3, activation)], [kind(1, 3, activation), bp.Flatten()],
                   [kind(1, 3, initializer="glorot"), bp.Activation(activation), bp.Flatten()]):
        net = bp.Network(layers, dtype=dtype, seed=0)
        trainer = bp.Trainer(net, loss=loss, optimizer=bp.SGD(1e-6), seed=1, backend=engine)
        net.build(input_shape).parameters["0.weight"] *= size
        assert bp.Trainer(net, loss=loss).loss == trainer.loss  # accepted before and after the building
        trainer.fit(X, y.reshape(len(y), -1), epochs=2)
        found.append([trainer.history["loss"].tolist(), digest(net), trainer.predict(X).ravel().tolist()])
    assert found[0] == found[1] == found[2]


def test_a_residual_ends_in_a_sum():
    with pytest.raises(ValueError, match=r"cross_entropy.*softmax"):
        bp.Trainer(bp.Network([bp.Residual(bp.Dense(3, "softmax"))]), loss="cross_entropy", backend="numpy")


def test_softmax_of_one_output():
    for activation, loss in (("softmax", "cross_entropy"), ("softmax", "squared_error"),
                             ("linear", "softmax_cross_entropy")):
        with pytest.raises(ValueError, match=r"Dense\(2, 'softmax'\).*Dense\(1, 'sigmoid'\).*'binary_cross_entropy'"):
            bp.Trainer(bp.Network([bp.Dense(1, activation)]), loss=loss, backend="numpy")


@pytest.mark.parametrize("settings, error, message", [
    ({"loss": "mse"}, ValueError, "unknown loss 'mse'.*squared_error, .*, cross_entropy"),
    ({"loss": None}, ValueError, "unknown loss None"),
    ({"optimizer": "sofia"}, ValueError, "unknown optimizer 'sofia'.*sgd, momentum.*adam"),
    ({"optimizer": bp.SGD}, ValueError, "unknown optimizer"),
    ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
    ({"batch_size": 2.5}, ValueError, "batch_size"),
    ({"batch_size": True}, ValueError, "batch_size"),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": 2**64}, ValueError, "seed"),
    ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'.*auto, native, numba, numpy"),
    ({"network": [bp.Dense(1)]}, TypeError, "network must be a bpfast.Network"),
])
def test_refused_when_made(settings, error, message):
    made = {"network": bp.Network([bp.Dense(2, "softmax")]), "loss": "cross_entropy", "backend": "numpy", **settings}
    with pytest.raises(error, match=message):
        bp.Trainer(made.pop("network"), **made)


def test_strings_are_short_for_objects():
    net = bp.Network([bp.Dense(2, "softmax")])
    for loss in ("cross_entropy", LOSSES["cross_entropy"]):
        for optimizer, made in (("adam", bp.Adam()), ("SGD", bp.SGD()), (bp.Adam(1e-4), bp.Adam(1e-4))):
            trainer = bp.Trainer(net, loss=loss, optimizer=optimizer, backend="numpy")
            assert trainer.loss == LOSSES["cross_entropy"] and trainer.optimizer == made


def test_it_prints_what_differs_from_the_defaults():
    net = bp.Network([bp.Dense(2)])
    assert repr(bp.Trainer(net, loss="squared_error", seed=3)) == "Trainer(Network, loss='squared_error', seed=3)"
    trainer = bp.Trainer(net, loss="huber", optimizer=bp.SGD(0.1), batch_size="full", regularizer=bp.L2(0.5), seed=0,
                         clip=bp.ClipNorm(1.0), n_threads=2)
    assert repr(trainer) == ("Trainer(Network, loss='huber', optimizer=SGD(0.1), batch_size='full', "
                             "regularizer=(L2(0.5),), clip=ClipNorm(1.0), seed=0, n_threads=2)")
