"""What looks on while a network trains: lines of illnesses, an end to the fit, scalars for TensorBoard."""

import struct

import numpy as np
import pytest
from samples import small_trainer

import bpfast as bp
from bpfast import extras


def deep_trainer(n_layers=12, activation="sigmoid", **settings):
    """A network whose gradient vanishes."""
    net = bp.Network([*[bp.Dense(12, activation)] * n_layers, bp.Dense(2, "softmax")], seed=0)
    return bp.Trainer(net, loss="cross_entropy", seed=1, **settings)


def dying_trainer(rows, **settings):
    """A network that is well until its third epoch."""
    net = bp.Network([bp.Dense(12, "relu"), bp.Dense(12, "relu"), bp.Dense(2, "softmax")], seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", seed=1, **settings)

    def kill(trainer, figures):
        if trainer.history.n_epochs == 2:
            trainer.network.parameters["1.bias"][...] = -1000

    return trainer, kill


def test_an_illness_is_told_once(rows, capsys):
    deep_trainer().fit(*rows, epochs=3, watch=True)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("after epoch 0: vanishing gradient in layers '0', ..., '10': the gradient reaches")


def test_when_it_begins(rows, capsys):
    trainer, kill = dying_trainer(rows)
    trainer.fit(*rows, epochs=5, callbacks=kill, watch=True)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("after epoch 2: dead units in layer '1'")


def test_the_healthy_are_left_alone(backend, rows, capsys):
    watched, alone = (small_trainer(backend) for _ in range(2))
    watched.fit(*rows, epochs=5, watch=True)
    alone.fit(*rows, epochs=5)
    assert not capsys.readouterr().out
    np.testing.assert_array_equal(watched.network.to_vector(), alone.network.to_vector())


def test_stop_if_ill(rows, capsys):
    trainer, kill = dying_trainer(rows)
    stop = bp.StopIfIll()
    trainer.fit(*rows, epochs=9, callbacks=[kill, stop])
    assert trainer.history.n_epochs == 2 and "dead units" in capsys.readouterr().out
    trainer, kill = dying_trainer(rows)
    trainer.fit(*rows, epochs=4, callbacks=[kill, bp.StopIfIll("vanishing gradient")])
    assert trainer.history.n_epochs == 4 and "dead units" in capsys.readouterr().out


def test_stop_before_the_first_epoch(rows, capsys):
    trainer = deep_trainer()
    trainer.fit(*rows, epochs=9, callbacks=bp.StopIfIll("vanishing gradient"))
    assert trainer.history.n_epochs == 0 and "after epoch 0: vanishing" in capsys.readouterr().out


def test_restarts_end_one_by_one(rows, capsys):
    trainer = deep_trainer()
    trainer.fit(*rows, epochs=9, restarts=3, callbacks=bp.StopIfIll())
    assert capsys.readouterr().out.count("after epoch 0: vanishing") == 3


def test_rows_that_weigh_nothing_are_not_looked_at(rng, capsys):
    X, y, weight = rng.normal(size=(5000, 6)), rng.integers(2, size=5000), np.zeros(5000)
    weight[1:200:2] = 1
    X[weight == 0] *= 1e5
    trainer = small_trainer()
    trainer.fit(X, y, epochs=1, sample_weight=weight, watch=True)
    assert not capsys.readouterr().out
    np.testing.assert_array_equal(trainer.kept_rows.X, X[1:200:2])


def test_refused(rows):
    with pytest.raises(ValueError, match="unknown illness 'flu'; choose from: constant inputs, .*over-fitting"):
        bp.StopIfIll("flu")
    with pytest.raises(ValueError, match="watch must be"):
        small_trainer().fit(*rows, watch="yes")
    assert eval("bp." + repr(bp.StopIfIll("dead units"))) == bp.StopIfIll("dead units")


# -- diagnosis of a trainer that has kept rows -------------------------------------------------------------


def test_rows_are_kept(rows):
    trainer = deep_trainer()
    trainer.fit(*rows, epochs=1, record_every=100)
    assert [verdict.name for verdict in trainer.diagnose().verdicts] == ["vanishing gradient"]
    assert str(trainer.diagnose()) == str(trainer.diagnose(*rows))


def test_of_those_learned_from_a_thousand_are_kept(rng):
    X, y = rng.normal(size=(5000, 6)), rng.integers(2, size=5000)
    trainer = small_trainer()
    trainer.fit(X, y, epochs=1, validation=0.5, record_every=100)
    assert trainer.kept_rows.X.shape == (1000, 6) and len(trainer.kept_rows.y) == 1000
    trainer.fit(X[:50], y[:50], epochs=1, record_every=100)
    assert len(trainer.kept_rows.X) == 50
    X[...] = np.nan
    assert np.isfinite(trainer.kept_rows.X).all()  # they are a copy


# -- TensorBoard -------------------------------------------------------------------------------------------


def scalars(folder):
    """{tag: [(step, value)]} of all event files in a folder: records of a length, its check, data, their check."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            [n] = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + n]), data[16 + n :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {tag: sorted(values) for tag, values in found.items()}


def test_scalars(tmp_path, rows):
    trainer = small_trainer()
    for _ in range(2):
        trainer.fit(*rows, epochs=2, record_every=3, callbacks=bp.TensorBoard(tmp_path / "run"))
    found = scalars(tmp_path / "run")
    assert found["loss"] == list(zip(range(1, 5), trainer.history["loss"].astype("f4").tolist()))
    recording = trainer.recording
    for layer, name in enumerate(recording.layers):
        norms = recording.gradient_norm[:, layer].astype("f4").tolist()
        assert found[f"gradient_norm/{name}"] == list(zip(recording.steps.tolist(), norms))
    assert "dead/0" not in found  # tanh does not die
    assert [step for step, _ in found["gradient_angle/0"]] == [
        step for step, angle in zip(recording.steps, recording.gradient_angle[:, 0]) if np.isfinite(angle)]


def test_figures_alone(tmp_path, rows):
    small_trainer().fit(*rows, epochs=2, validation=0.2, callbacks=bp.TensorBoard(tmp_path))
    assert set(scalars(tmp_path)) == {"loss", "seconds", "val_loss", "val_accuracy"}


def test_without_the_package(tmp_path, rows, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    callback = bp.TensorBoard(tmp_path)
    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r'TensorBoard needs tensorboardX: .*"bpfast\[tensorboard\]"'):
        small_trainer().fit(*rows, callbacks=callback)
