"""L-BFGS: on whole data, through SciPy."""

import pickle
import sys

import numpy as np
import pytest
from checks import digest
from samples import small_trainer

import bpfast as bp
from bpfast import data


def trainer_of(engine, dtype="float64", optimizer=None, **settings):
    return small_trainer(engine, dtype=dtype, optimizer=optimizer or bp.LBFGS(), **settings)


def test_least_squares(engine, rng):
    """One linear layer: the solution of the normal equations, weighted."""
    X, weight = rng.normal(size=(80, 4)), rng.uniform(0.1, 2, 80)
    y = X @ rng.normal(size=(4, 2)) + rng.normal(size=(80, 2))
    net = bp.Network([bp.Dense(2)], dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="squared_error", backend=engine,
                         optimizer=bp.LBFGS(gradient_tolerance=1e-12, loss_tolerance=0))
    history = trainer.fit(X, y, epochs=200, sample_weight=weight)
    assert history.n_epochs < 200  # it has converged
    root = np.sqrt(weight)[:, None]
    solution = np.linalg.lstsq(root * np.c_[X, np.ones(80)], root * y, rcond=None)[0]
    np.testing.assert_allclose(net.parameters["0.weight"], solution[:-1], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(net.parameters["0.bias"], solution[-1], rtol=1e-7, atol=1e-9)


def test_ridge_regression(engine, rng):
    """With L2 on the weights: the solution of the normal equations of ridge regression."""
    X, y = rng.normal(size=(80, 4)), rng.normal(size=80)
    net = bp.Network([bp.Dense(1)], dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="squared_error", backend=engine, regularizer=bp.L2(0.3),
                         optimizer=bp.LBFGS(gradient_tolerance=1e-12, loss_tolerance=0))
    history = trainer.fit(X, y, epochs=200)
    Z, penalized = np.c_[X, np.ones(80)], np.diag([1.0, 1, 1, 1, 0])
    solution = np.linalg.solve(Z.T @ Z / 80 + 0.3 * penalized, Z.T @ y / 80)
    np.testing.assert_allclose(net.to_vector(), solution, rtol=1e-7, atol=1e-9)
    expected = 0.5 * np.mean((Z @ solution - y) ** 2) + 0.15 * (solution[:-1] ** 2).sum()
    assert history["loss"][-1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("settings, match", [
    ({"regularizer": bp.WeightDecay(0.1)}, r"WeightDecay\(0.1\)"),
    ({"regularizer": {"0.weight": [bp.L2(0.1), bp.MaxNorm(1)]}}, r"MaxNorm\(1"),
    ({"clip": bp.ClipNorm(1)}, r"ClipNorm\(1"),
])
def test_what_is_no_part_of_a_loss_is_refused(rows, settings, match):
    with pytest.raises(ValueError, match=f"penalties, L1, L2 and L2OfSum.*{match}"):
        trainer_of("numpy", **settings).fit(*rows)


def test_history(engine, rows, dtype):
    """An epoch is an iteration; its loss is that of the parameters after it, and never grows."""
    trainer, seen = trainer_of(engine, dtype), []
    history = trainer.fit(*rows, epochs=8, validation=rows,
                          callbacks=[lambda t, f: seen.append(t.evaluate(*rows)["loss"])])
    assert history.n_epochs == 8 == len(seen) and (np.diff(history["loss"]) < 0).all()
    np.testing.assert_allclose(history["loss"], seen, rtol=1e-12 if dtype == "float64" else 1e-5)
    np.testing.assert_array_equal(history["val_loss"], seen)
    assert trainer.evaluate(*rows)["loss"] == seen[-1]


def test_it_learns_faster_than_it_steps(engine, rows):
    trainer = trainer_of(engine)
    trainer.fit(*rows, epochs=100)
    assert trainer.evaluate(*rows)["accuracy"] == 1.0


def test_rows_weights_and_classes(engine, rows):
    """Rows held out are not learned from; class weights are sample weights."""
    X, y = rows
    weight = np.linspace(0.5, 2, len(X))
    trainer, by_hand = trainer_of(engine), trainer_of(engine)
    history = trainer.fit(X, y, epochs=5, validation=0.3, sample_weight=weight, class_weight={0: 3.0})
    training, held = data.hold_out(len(X), 0.3, trainer.seed, y)
    weighted = weight * np.array([3.0, 1.0])[y]
    expected = by_hand.fit(X[training], y[training], epochs=5, sample_weight=weighted[training],
                           validation=(X[held], y[held], weight[held]))
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-9)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-6)


def test_batches_and_shuffling_play_no_part(rows):
    trainers = [trainer_of("numpy", batch_size=size) for size in (1, 32, "full")]
    for trainer, shuffle in zip(trainers, (True, False, True)):
        trainer.fit(*rows, epochs=4, shuffle=shuffle)
    assert len({digest(trainer.network) for trainer in trainers}) == 1


def test_ends(engine, rows, capsys):
    """By convergence, by a callback, by stop, by time: the network is that of the last iteration."""
    trainer = trainer_of(engine)
    history = trainer.fit(*rows, epochs=5000, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert history.n_epochs < 5000 and len(lines) == history.n_epochs + 1
    assert lines[-1].startswith("L-BFGS ended: CONVERGENCE")
    assert trainer.evaluate(*rows)["loss"] == pytest.approx(history["loss"][-1], rel=1e-12)

    for callback in (lambda t, f: t.history.n_epochs == 3, lambda t, f: t.history.n_epochs == 3 and t.stop(),
                     bp.StopBelow(history["loss"][1])):
        trainer = trainer_of(engine)
        trainer.fit(*rows, epochs=100, callbacks=[callback])
        assert trainer.history.n_epochs == 3
        np.testing.assert_array_equal(trainer.history["loss"], history["loss"][:3])
        assert trainer.evaluate(*rows)["loss"] == pytest.approx(history["loss"][2], rel=1e-12)
    start = digest(trainer.network)
    trainer.fit(*rows, epochs=100, callbacks=[bp.TimeLimit(0)])
    assert digest(trainer.network) == start and trainer.history.n_epochs == 3


def test_early_stopping(engine, rows):
    trainer = trainer_of(engine)
    history = trainer.fit(*rows, epochs=200, validation=0.4, callbacks=[bp.EarlyStopping(patience=4)])
    held = data.hold_out(len(rows[0]), 0.4, trainer.seed, rows[1])[1]
    assert history.n_epochs == history["val_loss"].argmin() + 5
    assert trainer.evaluate(rows[0][held], rows[1][held])["loss"] == history["val_loss"].min()


def test_a_callback_may_write_parameters(engine, rows):
    """The next iteration begins there, with nothing known of the curvature."""
    def halve(trainer, figures=None):
        if trainer.history.n_epochs == 3:
            for array in trainer.network.parameters.values():
                array *= 0.5

    trainer, expected = trainer_of(engine), trainer_of(engine)
    trainer.fit(*rows, epochs=6, callbacks=[halve])
    expected.fit(*rows, epochs=3)
    halve(expected)
    expected.fit(*rows, epochs=3)
    assert digest(trainer.network) == digest(expected.network) and trainer.history.n_epochs == 6


def test_restarts_and_pickles(backend, rows):
    trainer, one = trainer_of(backend), trainer_of(backend)
    one.fit(*rows, epochs=4)
    trainer.fit(*rows, epochs=4, restarts=3)
    assert trainer.evaluate(*rows)["loss"] <= one.evaluate(*rows)["loss"]
    twin = pickle.loads(pickle.dumps(one))
    for t in (one, twin):
        t.fit(*rows, epochs=2)
    assert digest(one.network) == digest(twin.network)


def test_interrupt(engine, rows):
    """In the middle of an iteration: what is left is the last finished one, and another fit goes on."""
    trainer, expected = trainer_of(engine), trainer_of(engine)

    class Interrupt(bp.Callback):
        def tick(self, trainer):
            if trainer.history.n_epochs == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*rows, epochs=50, callbacks=[Interrupt()])
    expected.fit(*rows, epochs=4)
    assert digest(trainer.network) == digest(expected.network) and trainer.history.n_epochs == 4
    trainer.fit(*rows, epochs=1)


@pytest.mark.filterwarnings("error")
def test_divergence(engine):
    """A loss that overflows is an error with the network as it was."""
    net = bp.Network([bp.Dense(1)], input_shape=1, dtype="float32")
    net.parameters["0.weight"] = [[1e30]]
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.LBFGS(), backend=engine)
    with pytest.raises(bp.DivergenceError, match="trial step of L-BFGS, iteration 1"):
        trainer.fit([[1.0]], [0.0], epochs=3)
    assert net.parameters["0.weight"] == np.float32(1e30)


def test_without_scipy(monkeypatch):
    """The error names the command, when the trainer is made."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r'LBFGS needs scipy: python -m pip install "bpfast\[scipy\]"'):
        small_trainer(optimizer=bp.LBFGS())


def test_description():
    rule = bp.LBFGS(5, gradient_tolerance=1e-3)
    assert rule == bp.LBFGS(max_history=5, gradient_tolerance=1e-3) != bp.LBFGS()
    assert repr(rule) == "LBFGS(5, 0.001)" and hash(rule) == hash(pickle.loads(pickle.dumps(rule)))
    for wrong in ({"max_history": 0}, {"gradient_tolerance": -1}, {"loss_tolerance": np.nan}):
        with pytest.raises(ValueError, match=f"LBFGS: {next(iter(wrong))}"):
            bp.LBFGS(**wrong)


def test_a_trainer_keeps_to_it(rows):
    trainer = trainer_of("numpy")
    trainer.fit(*rows, epochs=1)
    with pytest.raises(AttributeError, match="cannot change its optimizer"):
        trainer.optimizer = bp.SGD()
    trainer.optimizer = bp.LBFGS(3)
