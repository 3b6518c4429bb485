"""What looks on while a Trainer fits: rules that stop it, functions and objects of the user's."""

import copy
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import digest
from samples import small_rows, small_trainer

import bpfast as bp

FOREVER = 10**8


class Recorder(bp.Callback):
    """Notes what it is called for, and the network as it then is."""

    def __init__(self):
        self.seen, self.ticks = [], 0

    def begin(self, trainer):
        self.seen.append(("begin", digest(trainer.network)))

    def epoch(self, trainer, figures):
        assert dict(figures) == trainer.history.last
        self.seen.append((trainer.history.n_epochs, digest(trainer.network)))

    def tick(self, trainer):
        self.ticks += 1

    def end(self, trainer):
        self.seen.append(("end", digest(trainer.network)))


def test_callbacks_see_every_epoch(engine, rows):
    """The parameters are those of the epoch; looking changes nothing."""
    expected, alone = [], small_trainer(engine)
    alone.network.build(6)
    expected.append(("begin", digest(alone.network)))
    for epoch in (1, 2, 3):
        alone.fit(*rows, epochs=1)
        expected.append((epoch, digest(alone.network)))
    expected.append(("end", expected[-1][1]))
    watched, recorder = small_trainer(engine), Recorder()
    watched.fit(*rows, epochs=3, callbacks=[recorder])
    assert recorder.seen == expected and recorder.ticks >= 3
    np.testing.assert_array_equal(watched.history["loss"], alone.history["loss"])


def test_functions(engine, rows):
    """One alone or several; True ends the fit, other answers do not."""
    trainer, seen = small_trainer(engine), []
    trainer.fit(*rows, epochs=3, callbacks=lambda t, figures: seen.append(figures["loss"]) or 1)
    np.testing.assert_array_equal(seen, trainer.history["loss"])
    trainer.fit(*rows, epochs=9, callbacks=[lambda t, f: t.history.n_epochs == 5, lambda t, f: seen.append(0)])
    assert trainer.history.n_epochs == 5 and len(seen) == 5


def test_a_callback_may_do_what_a_user_does(engine, rows):
    """Predict, evaluate, take gradients, copy and pickle the trainer: the copy goes on as this one does."""
    trainer, twins = small_trainer(engine), []

    def look(trainer, figures):
        assert trainer.evaluate(*rows)["loss"] == figures["val_loss"]
        trainer.predict(rows[0])
        trainer.loss_and_gradients(*rows)
        if trainer.history.n_epochs == 2:
            twins.extend([copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))])

    trainer.fit(*rows, epochs=4, validation=rows, callbacks=[look])
    for twin in twins:
        assert twin.history.n_epochs == 2
        twin.fit(*rows, epochs=2)
        assert digest(twin.network) == digest(trainer.network)


def test_a_callback_may_write_parameters(engine, rows):
    """The fit goes on from them, with the moments that there are."""
    trainer, expected = small_trainer(engine), small_trainer(engine)

    def halve(trainer, figures=None):
        for array in trainer.network.parameters.values():
            array *= 0.5

    trainer.fit(*rows, epochs=3, callbacks=[halve])
    for _ in range(3):
        expected.fit(*rows, epochs=1)
        halve(expected)
    assert digest(trainer.network) == digest(expected.network)


def test_a_callback_may_change_the_rate(engine, rows):
    trainer, expected = small_trainer(engine), small_trainer(engine)
    rates = [1e-2, 1e-3, 1e-4]

    def change(trainer, figures=None):
        trainer.optimizer = bp.Adam(rates[trainer.history.n_epochs - 1])

    trainer.fit(*rows, epochs=3, callbacks=[change])
    for _ in range(3):
        expected.fit(*rows, epochs=1)
        change(expected)
    assert digest(trainer.network) == digest(expected.network)
    with pytest.raises(AttributeError, match="cannot change its optimizer"):
        trainer.fit(*rows, epochs=3, callbacks=[lambda t, f: setattr(t, "optimizer", bp.SGD())])


@pytest.mark.parametrize("moment", ["begin", "epoch", "tick", "end"])
def test_a_callback_that_raises(engine, rows, moment):
    """The fit ends with this error, as of the last finished batch, and another one goes on."""
    trainer, expected = small_trainer(engine), small_trainer(engine)
    finished = {"begin": 0, "epoch": 1, "tick": 0, "end": 2}[moment]
    broken = bp.Callback.__new__(type("Broken", (bp.Callback,), {moment: lambda *_: 1 / 0}))
    with pytest.raises(ZeroDivisionError):
        trainer.fit(*rows, epochs=2, callbacks=[broken])
    assert trainer.history.n_epochs == finished
    if moment != "tick":
        if finished:
            expected.fit(*rows, epochs=finished)
        assert digest(trainer.network) == digest(expected.network.build(6))
        for t in (trainer, expected):
            t.fit(*rows, epochs=2)
        assert digest(trainer.network) == digest(expected.network)
    pickle.dumps(trainer)
    trainer.fit(*rows, epochs=1)


def test_a_callback_that_breaks_the_network(engine, rows):
    """NaN that it writes is refused by name; the network keeps what it had learned."""
    trainer, expected = small_trainer(engine), small_trainer(engine)
    expected.fit(*rows, epochs=1)

    def spoil(trainer, figures):
        trainer.network.parameters["1.bias"][1] = np.nan

    with pytest.raises(ValueError, match=r"parameter '1.bias'\[1\] is nan"):
        trainer.fit(*rows, epochs=3, callbacks=[spoil])
    assert digest(trainer.network) == digest(expected.network)


def test_no_fit_and_no_pickle_where_the_trainer_is_not_whole(engine, rows):
    class Tick(bp.Callback):
        def tick(self, trainer):
            pickle.dumps(trainer)

    with pytest.raises(RuntimeError, match="already fitting"):
        small_trainer(engine).fit(*rows, callbacks=[lambda t, f: t.fit(*rows)])
    with pytest.raises(RuntimeError, match="fitting; pickle"):
        small_trainer(engine).fit(*rows, callbacks=[Tick()])


# -- the rules that stop ----------------------------------------------------------------------------------


class Scripted(bp.Callback):
    """Sets the figure "val_loss" of each epoch, before the callback that comes after it looks."""

    def __init__(self, values):
        self._values = iter(values)
        self.digests = []

    def epoch(self, trainer, figures):
        figures["val_loss"] = next(self._values)
        self.digests.append(digest(trainer.network))


@pytest.mark.parametrize("values, rule, epochs, best", [
    ([5, 4, 3, 4, 4, 1], {"patience": 2}, 5, 3),
    ([5, 4, 3, 4, 2, 4, 4, 1], {"patience": 2}, 7, 5),
    ([5, 4.5, 3.9, 3.5, 2.8, 9, 9, 1], {"patience": 2, "min_delta": 1}, 7, 5),
    ([1, 2, 3, 3, 2, 9], {"patience": 2, "mode": "max"}, 5, 3),
    ([5, 5, 5, 5], {"patience": 3}, 4, 1),
    ([np.nan, 2, np.nan, 1, 3, 3], {"patience": 2}, 6, 4),
    ([3, 2, 1, 2], {"patience": 5}, 4, 3),
])
def test_early_stopping(backend, rows, values, rule, epochs, best):
    """It ends when the patience is over, or when the epochs are; the network is then that of the best epoch."""
    for restore in (True, False):
        trainer, script = small_trainer(backend), Scripted(values)
        trainer.fit(*rows, epochs=len(values), validation=rows,
                    callbacks=[script, bp.EarlyStopping(**rule, restore_best=restore)])
        assert trainer.history.n_epochs == epochs
        assert digest(trainer.network) == script.digests[(best if restore else epochs) - 1]


def test_early_stopping_on_data(engine, rows):
    """The best epoch by the history is the one that is kept; a fit goes on from it."""
    trainer = small_trainer(engine, optimizer=bp.Adam(0.05))
    X, y = rows
    history = trainer.fit(X, y, epochs=300, validation=0.3, callbacks=bp.EarlyStopping("val_accuracy", patience=5))
    values = history["val_accuracy"]
    assert history.n_epochs == 1 + values.argmax() + 5 < 300
    again = small_trainer(engine, optimizer=bp.Adam(0.05))
    again.fit(X, y, epochs=1 + int(values.argmax()), validation=0.3)
    assert digest(again.network) == digest(trainer.network)
    trainer.fit(X, y, epochs=1)


def test_one_rule_in_many_fits(backend):
    """Fits in threads share nothing, and a rule is a value: equal, hashable, pickled, printed as written."""
    rows, rule = small_rows(np.random.default_rng(0)), bp.EarlyStopping("loss", patience=1, min_delta=0.01)

    def fit(seed):
        trainer = small_trainer(backend, seed=seed)
        trainer.fit(*rows, epochs=60, callbacks=[rule])
        return digest(trainer.network), trainer.history.n_epochs

    alone = [fit(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, range(8))) == alone
    assert len({epochs for _, epochs in alone}) > 1
    for made in (rule, bp.StopBelow(0.1), bp.TimeLimit(2.5)):
        assert pickle.loads(pickle.dumps(made)) == made and hash(copy.deepcopy(made)) == hash(made)
        assert eval(repr(made), vars(bp)) == made
        with pytest.raises(AttributeError, match="cannot be changed"):
            made.patience = 3


def test_stop_below(engine, rows):
    trainer = small_trainer(engine, optimizer=bp.Adam(0.02))
    history = trainer.fit(*rows, epochs=500, callbacks=[bp.StopBelow(0.4)])
    assert history["loss"][-1] < 0.4 and (history["loss"][:-1] >= 0.4).all()


def test_time_limit(engine, rows, monkeypatch):
    """Within an epoch, whose steps are kept; the history has finished epochs alone."""
    clock = itertools.count()
    monkeypatch.setattr("bpfast.trainer.SECONDS_PER_RUN", 0)
    trainer = small_trainer(engine, batch_size=1, optimizer=bp.SGD(0.1))
    X, y = np.repeat(rows[0], 10, axis=0), np.repeat(rows[1], 10)
    with monkeypatch.context() as patch:
        patch.setattr("bpfast.callbacks.time", type("", (), {"monotonic": lambda: next(clock)}))
        trainer.fit(X, y, epochs=FOREVER, callbacks=[bp.TimeLimit(3)])
    assert trainer.history.n_epochs <= 3 and np.isfinite(trainer.network.to_vector()).all()
    trainer.fit(X[:5], y[:5], epochs=1)
    small_trainer(engine).fit(*rows, epochs=FOREVER, callbacks=[bp.TimeLimit(0.05)])  # it ends at all


@pytest.mark.parametrize("rule, validation, message", [
    (bp.EarlyStopping(), False, r"EarlyStopping: 'val_loss' is not measured.*loss, seconds.*validation="),
    (bp.EarlyStopping("val_f1"), True, "'val_f1' is not measured.*val_loss, val_accuracy"),
    (bp.StopBelow(1, "error"), True, "StopBelow: 'error' is not measured"),
    (bp.EarlyStopping("learning_rate"), True, "'learning_rate' is not measured"),
])
def test_a_figure_that_is_not_measured(rows, rule, validation, message):
    """Refused before any work."""
    trainer = small_trainer()
    with pytest.raises(ValueError, match=message):
        trainer.fit(*rows, validation=rows if validation else None, callbacks=[rule])
    assert trainer.network.program is None


def test_which_way_is_better(rows):
    def error(y_true, y_pred):
        return 0.0

    trainer = small_trainer(metrics=[error])
    with pytest.raises(ValueError, match='whether \'val_error\' should fall or grow: mode="min"'):
        trainer.fit(*rows, validation=rows, callbacks=[bp.EarlyStopping("val_error")])
    trainer.fit(*rows, validation=rows, epochs=1, callbacks=[bp.EarlyStopping("val_error", mode="min")])


@pytest.mark.parametrize("make, error, message", [
    (lambda: bp.EarlyStopping(patience=0), ValueError, "EarlyStopping: patience must be an integer of at least 1"),
    (lambda: bp.EarlyStopping(min_delta=-1), ValueError, r"EarlyStopping: min_delta .* in \[0, inf\), got -1"),
    (lambda: bp.EarlyStopping(mode="up"), ValueError, "mode must be"),
    (lambda: bp.EarlyStopping(3), ValueError, "metric must be the name"),
    (lambda: bp.EarlyStopping(restore_best=1), ValueError, "restore_best must be"),
    (lambda: bp.StopBelow(np.nan), ValueError, r"StopBelow: threshold must be a number in \(-inf, inf\), got nan"),
    (lambda: bp.TimeLimit(-1), ValueError, "TimeLimit: seconds"),
])
def test_refused_rules(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("wrong", [[3], [bp.EarlyStopping], ["early"], [None]])
def test_refused_callbacks(rows, wrong):
    with pytest.raises(TypeError, match="callbacks must be objects such as"):
        small_trainer().fit(*rows, callbacks=wrong)
