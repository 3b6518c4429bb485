"""The learning-rate range test."""

import pickle

import numpy as np
import pytest
from checks import digest
from samples import small_trainer

import bpfast as bp
from bpfast.demo import optdigits


@pytest.mark.parametrize("optimizer", [bp.SGD(), bp.Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [16, 128])
def test_what_it_suggests_learns(optimizer, batch_size):
    """Digits, in ten epochs, where a tenth and ten times of the rate are worse or no better."""
    X, y, X_test, y_test = optdigits()
    X, y = X[:2000], y[:2000]

    def trainer(optimizer):
        net = bp.Network([bp.Dense(32, "relu"), bp.Dense(10, "softmax")], input_shape=64, seed=0)
        return bp.Trainer(net, loss="cross_entropy", optimizer=optimizer, batch_size=batch_size, seed=0)

    rate = bp.find_learning_rate(trainer(optimizer), X, y).suggestion
    losses = []
    for factor in (1, 0.02, 50):
        made = trainer(type(optimizer)(rate * factor))
        made.fit(X, y, epochs=10)
        losses.append(made.evaluate(X, y)["loss"])
        if factor == 1:
            assert made.evaluate(X_test, y_test)["accuracy"] > 0.9
    assert losses[0] == min(losses)


def test_steps_by_hand(engine, rows):
    """Each is a step of the optimizer at its rate, on the batches of a fit; the loss is that before the step."""
    X, y = rows
    weight = np.linspace(0.5, 2, len(X))
    weight[:3] = 0
    trainer = small_trainer(engine, optimizer=bp.Adam(), batch_size=64)
    test = bp.find_learning_rate(trainer, X, y, sample_weight=weight, lowest=1e-4, highest=1e-1, steps=9)
    np.testing.assert_allclose(test.rates, np.geomspace(1e-4, 1e-1, 9), rtol=1e-14)
    by_hand, losses = small_trainer("numpy", optimizer=bp.Adam(), batch_size=64), []
    net = by_hand.network.build(6)
    batches = [order[i : i + 64] for order in (net.plan("numpy").permutation(len(X), 2, epoch) for epoch in range(3))
               for i in range(0, len(X), 64)]
    for rate, batch in zip(test.rates, batches):
        by_hand.optimizer = bp.Adam(rate)
        losses.append(by_hand.loss_and_gradients(X[batch], y[batch], weight[batch])[0])
        by_hand.fit(X[batch], y[batch], sample_weight=weight[batch], epochs=1, shuffle=False)
    np.testing.assert_allclose(test.losses, losses, rtol=1e-9)
    average, n = 0.0, len(losses)
    for loss in losses:
        average = 0.95 * average + 0.05 * loss
    assert test.smoothed[-1] == pytest.approx(average / (1 - 0.95**n))


def test_it_ends_where_the_loss_explodes(engine, rng):
    X, y = rng.normal(size=(100, 5)), rng.normal(size=100)
    net = bp.Network([bp.Dense(1)], seed=0)
    test = bp.find_learning_rate(bp.Trainer(net, loss="squared_error", optimizer="sgd", seed=0, backend=engine), X, y,
                                 highest=1e6)
    assert len(test.rates) == len(test.losses) == len(test.smoothed) < 300
    assert np.isfinite(test.losses).all() and 1e-3 < test.suggestion < 1


def test_large_batches(engine, rng):
    """A step that compiled code makes in several runs is one step."""
    X, y = rng.normal(size=(2600, 6)), rng.integers(2, size=2600)
    test = bp.find_learning_rate(small_trainer(engine, batch_size="full"), X, y, steps=3, highest=0.1)
    assert test.losses[0] == pytest.approx(small_trainer(engine).evaluate(X, y)["loss"])


def test_nothing_is_left_of_it(engine, rows):
    trainer, alone = small_trainer(engine), small_trainer(engine)
    for t in (trainer, alone):
        t.fit(*rows, epochs=1)
    bp.find_learning_rate(trainer, *rows, steps=20)
    for t in (trainer, alone):
        t.fit(*rows, epochs=1)
    assert digest(trainer.network) == digest(alone.network) and trainer.history.n_epochs == 2
    new = small_trainer(engine)
    bp.find_learning_rate(new, *rows, steps=20)
    assert new.network.program is None


def test_result(rows):
    test = bp.find_learning_rate(small_trainer(), *rows, steps=20)
    assert "20 steps" in repr(test) and pickle.loads(pickle.dumps(test)).suggestion == test.suggestion
    ax = test.plot()
    assert ax.get_xscale() == "log" and len(ax.lines) == 3 and test.plot(ax) is ax


@pytest.mark.parametrize("settings, message", [
    ({"steps": 1}, "steps must be an integer of at least 2"),
    ({"lowest": 0}, r"lowest must be a number in \(0, inf\), got 0"),
    ({"lowest": 1, "highest": 0.1}, "below highest"),
    ({"highest": np.inf}, "highest must be a number in"),
])
def test_refused(rows, settings, message):
    with pytest.raises(ValueError, match=message):
        bp.find_learning_rate(small_trainer(), *rows, **settings)


def test_nothing_to_find(rows):
    with pytest.raises(ValueError, match="no learning rate to look for"):
        bp.find_learning_rate(small_trainer(optimizer=bp.LBFGS()), *rows)
    with pytest.raises(ValueError, match="X has 200 rows, but y has 1"):
        bp.find_learning_rate(small_trainer(), rows[0], rows[1][:1])
    trainer = bp.Trainer(bp.Network([bp.Dense(1)], input_shape=1), loss="squared_error", backend="numpy")
    trainer.network.parameters["0.weight"] = [[1e30]]
    with pytest.raises(bp.DivergenceError, match="not finite at the lowest rate"):
        bp.find_learning_rate(trainer, [[1.0]], [0.0])


def test_losses_below_zero(rng):
    """A poisson loss falls below zero, which is no explosion."""
    X, y = rng.normal(size=(60, 3)), rng.poisson(20, 60)
    net = bp.Network([bp.Dense(5, "tanh"), bp.Dense(1, "exponential")], seed=0)
    trainer = bp.Trainer(net, loss="poisson", optimizer=bp.Adam(0.05), batch_size=10, seed=0)
    trainer.fit(X, y, epochs=40)
    test = bp.find_learning_rate(trainer, X, y)
    assert len(test.rates) > 100 and test.losses[0] < 0


def test_it_takes_the_steps_that_fit_would(rows):
    """Of a trainer that has learned, too: its moments with the bias corrections of their step."""
    trainer = small_trainer(batch_size="full")
    trainer.fit(*rows, epochs=50)
    losses = bp.find_learning_rate(trainer, *rows, lowest=0.01, highest=0.010001, steps=2).losses
    trainer.optimizer = bp.Adam(0.01)
    trainer.fit(*rows, epochs=1)
    assert trainer.evaluate(*rows)["loss"] == pytest.approx(losses[1], rel=1e-9)


def test_rprop_has_no_rate_to_find(rows):
    with pytest.raises(ValueError, match="no learning rate to look for"):
        bp.find_learning_rate(small_trainer(optimizer="rprop", batch_size="full"), *rows)
