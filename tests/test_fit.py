"""What a fit may be asked for: rows held out, class weights, full batches, restarts; and what it refuses."""

import pickle

import numpy as np
import pytest
from checks import check_held_out, digest
from hypothesis import given
from hypothesis import strategies as st
from samples import small_trainer

import bpfast as bp
from bpfast import data
from bpfast.ops import random

# -- rows held out ------------------------------------------------------------------------------------------


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(1, 6), st.integers(0, 2**64 - 1))
def test_hold_out(n, share, n_classes, seed):
    """Each row is on one side, as many as asked for are held out, and every class stays to be learned."""
    labels = np.random.default_rng(seed).integers(n_classes, size=n) ** 2
    present = len(np.unique(labels))
    if not 0 < round(n * share) <= n - present:
        with pytest.raises(ValueError, match=f"of {n} rows would hold out {round(n * share)};.*{present} stay"):
            data.hold_out(n, share, seed, labels)
        return
    training, held = data.hold_out(n, share, seed, labels)
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held])), np.arange(n))
    assert len(held) == round(n * share)
    assert len(np.unique(labels[training])) == present
    assert (np.diff(training) > 0).all() and (np.diff(held) > 0).all()
    np.testing.assert_array_equal(held, data.hold_out(n, share, seed, labels)[1])


def test_classes_are_held_out_alike():
    check_held_out(data.hold_out, np.repeat([0, 1, 2], [500, 400, 100]), 0.2)


def test_every_row_may_be_held_out():
    """At random: each about as often as another, with another seed other rows."""
    counts = np.zeros(40)
    for seed in range(400):
        counts[data.hold_out(40, 0.25, seed)[1]] += 1
    assert counts.min() > 60 and counts.max() < 150


def test_a_share_held_out(engine, rows):
    """The fit is that of the other rows alone; the figures are those of the rows held out; X is never copied."""
    X, y = rows
    weight = np.linspace(0.5, 2, len(X))
    trainer, by_hand = small_trainer(engine), small_trainer(engine)
    history = trainer.fit(X, y, epochs=3, validation=0.3, sample_weight=weight)
    training, held = data.hold_out(len(X), 0.3, trainer.seed, y)
    expected = by_hand.fit(X[training], y[training], epochs=3, sample_weight=weight[training],
                           validation=(X[held], y[held], weight[held]))
    assert digest(trainer.network) == digest(by_hand.network)
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_array_equal(history[name], expected[name])
    trainer.fit(X, y, epochs=1, validation=0.3, shuffle=False, sample_weight=weight)
    by_hand.fit(X[training], y[training], epochs=1, shuffle=False, sample_weight=weight[training])
    assert digest(trainer.network) == digest(by_hand.network)  # the same rows again


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, True, np.nan, 0.001])
def test_refused_shares(rows, share):
    trainer = small_trainer()
    with pytest.raises(ValueError, match="validation"):
        trainer.fit(*rows, validation=share)
    assert trainer.network.program is None


def test_weights_of_zero_on_one_side(rows):
    X, y = rows
    training, held = data.hold_out(len(X), 0.5, 2, y)
    for side, name in ((training, "to learn from"), (held, "held out")):
        weight = np.ones(len(X))
        weight[side] = 0
        with pytest.raises(ValueError, match=f"zero.*{name}"):
            small_trainer().fit(X, y, sample_weight=weight, validation=0.5)


def test_validation_of_strings_is_refused(rows):
    X, y = rows
    with pytest.raises(ValueError, match="validation y holds strings.*numpy.unique"):
        small_trainer().fit(X, y, validation=(X, np.array(["a", "b"])[y]))


# -- class weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given, spelled", [
    ({0: 2.0, 1: 0.5}, [2.0, 0.5]), ({1: 3}, [1, 3]), ([0.25, 4], [0.25, 4]), (np.array([1, 2]), [1, 2]),
    ({np.int64(0): np.float32(2)}, [2, 1]),
])
def test_class_weight(engine, rows, given, spelled):
    """It is a sample weight, and multiplies one; validation is measured without it."""
    X, y = rows
    for weight in (None, np.linspace(0.5, 2, len(X))):
        weighted, by_hand = small_trainer(engine), small_trainer(engine)
        weighted.fit(X, y, epochs=2, class_weight=given, sample_weight=weight, validation=rows)
        by_hand.fit(X, y, epochs=2, validation=rows,
                    sample_weight=np.array(spelled, float)[y] * (1 if weight is None else weight))
        assert digest(weighted.network) == digest(by_hand.network)
        np.testing.assert_array_equal(weighted.history["val_loss"], by_hand.history["val_loss"])


def test_balanced(engine, rng):
    """scikit-learn's weights, of the rows that are learned from; labels may be one-hot."""
    from sklearn.utils.class_weight import compute_class_weight

    X, y = rng.normal(size=(100, 6)), np.repeat([0, 1], [80, 20])
    rng.shuffle(y)
    weighted, by_hand, one_hot, part = (small_trainer(engine) for _ in range(4))
    weighted.fit(X, y, epochs=2, class_weight="balanced")
    one_hot.fit(X, np.eye(2)[y], epochs=2, class_weight="balanced")
    by_hand.fit(X, y, epochs=2, sample_weight=compute_class_weight("balanced", classes=np.arange(2), y=y)[y])
    assert digest(weighted.network) == digest(by_hand.network) == digest(one_hot.network)
    part.fit(X, y, epochs=2, class_weight="balanced", validation=0.33)
    training, held = data.hold_out(100, 0.33, part.seed, y)
    other = small_trainer(engine)
    balance = compute_class_weight("balanced", classes=np.arange(2), y=y[training])
    other.fit(X[training], y[training], epochs=2, sample_weight=balance[y[training]], validation=(X[held], y[held]))
    assert digest(part.network) == digest(other.network)
    np.testing.assert_array_equal(part.history["val_loss"], other.history["val_loss"])


def test_labels_of_targets():
    """Class labels, or the 0 and 1 of one output."""
    assert data.class_labels(np.array([2, 0]), "labels").tolist() == [2, 0]
    assert data.class_labels(np.array([[1.0], [0.0]]), "unit").tolist() == [1, 0]
    assert data.class_labels(np.array([[0.5], [0.0]]), "unit") is None
    assert data.class_labels(np.array([[1.0, 0.0]]), "unit") is None
    assert data.class_labels(np.array([[1.0], [0.0]]), "reals") is None


@pytest.mark.parametrize("given, message", [
    ("even", 'class_weight must be "balanced".*\'even\''),
    (3.0, "class_weight must be"),
    ([1.0], "class_weight has 1 entries, but there are 2 classes"),
    ({2: 1.0}, "unknown label 2; labels are 0 .. 1"),
    ({"cat": 1.0}, "unknown label 'cat'"),
    ({0: -1.0}, r"class_weight\[0\] must be a number in \[0, inf\), got -1"),
    ([1, np.nan], r"class_weight\[1\]"),
    ([0, 0], "(?=.*weight)(?=.*zero)"),
])
def test_refused_class_weights(rows, given, message):
    trainer = small_trainer()
    with pytest.raises(ValueError, match=message):
        trainer.fit(*rows, class_weight=given)
    assert trainer.network.program is None


def test_class_weights_of_numbers_are_refused(rng):
    trainer = bp.Trainer(bp.Network([bp.Dense(1)]), loss="squared_error", backend="numpy")
    with pytest.raises(ValueError, match="class_weight is for class labels"):
        trainer.fit(rng.normal(size=(4, 2)), np.arange(4.0), class_weight="balanced")


# -- batches of all rows, and of one ------------------------------------------------------------------------


def test_full_batches(engine, rows):
    X, y = rows
    full, counted = small_trainer(engine, batch_size="full"), small_trainer(engine, batch_size=len(X))
    for trainer in (full, counted):
        trainer.fit(X, y, epochs=3)
        trainer.fit(X[:50], y[:50], epochs=1)
    assert digest(full.network) == digest(counted.network) and full.batch_size == "full"
    full.fit(np.tile(X, (15, 1)), np.tile(y, 15), epochs=1)  # more rows than a block
    with pytest.raises(bp.DivergenceError):
        small_trainer(engine, dtype="float32", batch_size="full", optimizer=bp.SGD(1e38)).fit(X, y, epochs=3)


def test_refused_batches():
    with pytest.raises(ValueError, match='at least 1 or "full", got \'all\''):
        small_trainer(batch_size="all")


def test_online(engine, rows):
    """Batches of one row: a step per row."""
    X, y = rows[0][:7], rows[1][:7]
    trainer, by_hand = small_trainer(engine, batch_size=1, optimizer=bp.SGD(0.1)), small_trainer("numpy")
    trainer.fit(X, y, epochs=1, shuffle=False)
    net = by_hand.network.build(6)
    for i in range(7):
        for name, gradient in by_hand.loss_and_gradients(X[i : i + 1], y[i : i + 1])[1].items():
            net.parameters[name] -= 0.1 * gradient
    np.testing.assert_allclose(trainer.network.to_vector(), net.to_vector(), rtol=1e-10, atol=1e-13)


# -- restarts -----------------------------------------------------------------------------------------------


def attempts(engine, rows, n, **settings):
    """The fits that restarts are made of, each by a Trainer of its own."""
    for restart in range(n):
        trainer = small_trainer(engine)
        trainer.network.build(6)
        if restart:
            low, high = random.words(2, trainer.seed, random.RESTART, restart)
            trainer.network.redraw(int(low) + (int(high) << 32))
        trainer.fit(*rows, **settings)
        yield trainer


@pytest.mark.parametrize("validation", [None, 0.25])
def test_restarts(engine, rows, validation):
    """The best of fits that are each as if alone: its network, its history, its optimizer; it goes on as that one."""
    settings = {"epochs": 3, "validation": validation}
    alone = list(attempts(engine, rows, 4, **settings))
    if validation:
        losses = [trainer.history["val_loss"][-1] for trainer in alone]
    else:
        losses = [trainer.evaluate(*rows)["loss"] for trainer in alone]
    best, trainer = alone[int(np.argmin(losses))], small_trainer(engine)
    assert len(set(losses)) == 4 and np.argmin(losses) > 0
    history = trainer.fit(*rows, restarts=4, **settings)
    assert history is trainer.history and digest(trainer.network) == digest(best.network)
    np.testing.assert_array_equal(history["loss"], best.history["loss"])
    assert trainer.network.seed == best.network.seed
    for t in (trainer, best):
        t.fit(*rows, **settings)
    assert digest(trainer.network) == digest(best.network)


def test_restarts_keep_what_early_stopping_restored(rows):
    trainer = small_trainer(optimizer=bp.Adam(0.1))
    history = trainer.fit(*rows, epochs=40, validation=0.3, restarts=3, callbacks=[bp.EarlyStopping(patience=3)])
    held = data.hold_out(len(rows[0]), 0.3, trainer.seed, rows[1])[1]
    assert trainer.evaluate(rows[0][held], rows[1][held])["loss"] == history["val_loss"].min()


def test_stop_ends_all_restarts(rows):
    trainer, begun = small_trainer(), []

    class Count(bp.Callback):
        def begin(self, trainer):
            begun.append(trainer.network.seed)

    trainer.fit(*rows, epochs=2, restarts=5, callbacks=[Count(), lambda t, f: len(begun) == 2])
    assert len(set(begun)) == 5
    begun.clear()
    small_trainer().fit(*rows, epochs=2, restarts=5, callbacks=[Count(), lambda t, f: len(begun) == 2 and t.stop()])
    assert len(begun) == 2
    begun.clear()
    small_trainer().fit(*rows, epochs=2, restarts=5, callbacks=[Count(), bp.TimeLimit(0)])
    assert len(begun) == 1


def test_redraw():
    """The weights of another seed, in the same arrays."""
    net, other = (bp.Network([bp.Dense(3), bp.Dense(1)], input_shape=2, seed=seed) for seed in (1, 2))
    arrays = dict(net.parameters)
    arrays["0.bias"][...] = 1
    assert net.redraw(2) is net and net == other and net.seed == 2
    assert all(net.parameters[name] is array for name, array in arrays.items())
    with pytest.raises(ValueError, match="seed"):
        net.redraw(-1)
    with pytest.raises(ValueError, match="does not know the shape of its inputs"):
        bp.Network([bp.Dense(1)]).redraw(0)


def test_a_restart_that_diverges(rows):
    """Is passed over, unless they all do."""
    class Spoil(bp.Callback):
        def __init__(self, last):
            self._begun, self._last = 0, last

        def begin(self, trainer):
            self._begun += 1
            rate = 1e38 if self._begun <= self._last else 0.1
            trainer.optimizer = bp.SGD(rate)

    trainer = small_trainer(dtype="float32", optimizer=bp.SGD(0.1))
    history = trainer.fit(*rows, epochs=2, restarts=3, callbacks=[Spoil(2)])
    assert history.n_epochs == 2 and np.isfinite(trainer.network.to_vector()).all()
    with pytest.raises(bp.DivergenceError):
        small_trainer(dtype="float32", optimizer=bp.SGD(0.1)).fit(*rows, epochs=2, restarts=3, callbacks=[Spoil(3)])


def test_an_error_leaves_the_best_restart(rows):
    first, trainer = small_trainer(), small_trainer()
    first.fit(*rows, epochs=2)

    def interrupt(trainer, figures):
        if trainer.network.seed != 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*rows, epochs=2, restarts=3, callbacks=[interrupt])
    assert digest(trainer.network) == digest(first.network) and trainer.history.n_epochs == 2
    for t in (first, trainer):
        t.fit(*rows, epochs=1)
    assert digest(trainer.network) == digest(first.network)


def test_restarts_need_a_new_trainer(rows):
    trainer = small_trainer()
    with pytest.raises(ValueError, match="restarts must be an integer of at least 1"):
        trainer.fit(*rows, restarts=0)
    trainer.fit(*rows, epochs=1)
    before = digest(trainer.network)
    with pytest.raises(ValueError, match="restarts=2 draws weights anew.*new Trainer"):
        trainer.fit(*rows, restarts=2)
    assert digest(trainer.network) == before


def test_restarts_are_shown(rows, capsys):
    small_trainer().fit(*rows, epochs=2, restarts=2, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        [f"restart {restart}/2", f"epoch {epoch}/2"] for restart in (1, 2) for epoch in (1, 2)]


# -- weights that are all zero ------------------------------------------------------------------------------


def test_all_zero_weights(engine, rows):
    """Of a network with hidden layers: refused, since its units would stay alike; one layer may begin so."""
    trainer = small_trainer(engine)
    for name in ("0.weight", "1.weight"):
        trainer.network.build(6).parameters[name][...] = 0
    with pytest.raises(ValueError, match=r"every weight is zero, '0\.weight'.*initializer"):
        trainer.fit(*rows)
    trainer.network.parameters["0.weight"][0, 0] = 0.1
    trainer.fit(*rows, epochs=1)
    single = bp.Trainer(bp.Network([bp.Dense(2, "softmax")], input_shape=6), loss="cross_entropy", backend=engine)
    single.network.parameters["0.weight"] = np.zeros((6, 2))
    assert single.fit(*rows, epochs=1).n_epochs == 1


# -- what is set, and what callbacks and metrics give ----------------------------------------------------------


@pytest.mark.parametrize("class_weight, error", [
    ([0, 0], "every sample weight is zero"), ({1, 2}, "a mapping or a sequence"), ((w for w in (1, 2)), "a mapping or"),
])
def test_refused_class_weights_of_the_rows_to_learn_from(rows, class_weight, error):
    """Also where rows held out keep their weight."""
    with pytest.raises(ValueError, match=error):
        small_trainer().fit(*rows, class_weight=class_weight, validation=0.2)


def test_class_weights_by_the_index_of_a_series(rows):
    import pandas

    series = pandas.Series([2.0, 1.0], index=[1, 0])
    found, expected = (small_trainer().fit(*rows, class_weight=weight, epochs=1)["loss"]
                       for weight in (series, {0: 1.0, 1: 2.0}))
    np.testing.assert_array_equal(found, expected)


def test_settings_are_checked_when_they_are_set(rows):
    trainer = small_trainer()
    trainer.clip, trainer.regularizer, trainer.batch_size = bp.ClipNorm(1), bp.L2(0.1), 10
    trainer.metrics, trainer.seed = "f1", 3
    trainer.fit(*rows, epochs=1, validation=0.2)
    assert trainer.clip == bp.ClipNorm(1) and "val_f1" in trainer.history
    for name, value in (("batch_size", 0), ("seed", -1), ("metrics", ["r3"]), ("clip", 1.0), ("loss", "hubert")):
        with pytest.raises((ValueError, TypeError), match=name.removesuffix("s")):
            setattr(trainer, name, value)
    with pytest.raises(AttributeError, match="cannot change its loss"):
        trainer.loss = "cross_entropy"


def test_a_copy_keeps_the_rule(rows):
    """What one rule remembers is not handed to another."""
    trainer = small_trainer(optimizer=bp.AdaGrad(0.01))
    trainer.fit(*rows, epochs=1)
    with pytest.raises(AttributeError, match="cannot change its optimizer"):
        pickle.loads(pickle.dumps(trainer)).optimizer = bp.RMSProp(0.01)


@pytest.mark.parametrize("answer", [True, np.True_])
def test_what_a_callback_answers(rows, answer):
    assert small_trainer().fit(*rows, epochs=5, callbacks=lambda trainer, figures: answer).n_epochs == 1


def test_every_restart_begins_with_the_optimizer(rows):
    """Which a callback may replace; the best one's stays."""
    rates = []

    class Halve(bp.Callback):
        def begin(self, trainer):
            rates.append(trainer.optimizer.learning_rate)

        def epoch(self, trainer, figures):
            trainer.optimizer = bp.Adam(trainer.optimizer.learning_rate / 2)

    trainer = small_trainer(optimizer=bp.Adam(0.1))
    trainer.fit(*rows, epochs=3, restarts=3, callbacks=Halve())
    assert rates == [0.1] * 3 and trainer.optimizer == bp.Adam(0.0125)


def test_a_metric_gives_a_number(rows):
    def pair(y_true, y_pred):
        return np.ones(2)

    with pytest.raises(TypeError, match="metric 'pair' must give one real number"):
        small_trainer(metrics=pair).fit(*rows, validation=0.2)


@pytest.mark.parametrize("clip", [None, bp.ClipGlobalNorm(2)])
def test_settings_can_be_handed_on(clip):
    trainer = small_trainer(clip=clip, regularizer=bp.L2(0.1))
    assert small_trainer(clip=trainer.clip, regularizer=trainer.regularizer).clip == clip


def test_hinge_has_classes(rows):
    X, y = rows
    net = bp.Network([bp.Dense(1)], seed=0)
    trainer = bp.Trainer(net, loss="hinge", seed=0)
    history = trainer.fit(X, 2.0 * y - 1, class_weight="balanced", validation=0.25, epochs=2)
    assert 0 <= history["val_accuracy"][-1] <= 1
