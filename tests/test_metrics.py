"""Metrics: each against scikit-learn, and what a Trainer makes of them."""

import numpy as np
import pytest
from checks import check_metric
from samples import small_trainer

import bpfast as bp
from bpfast import LOSSES, metrics

TWINS = {"f1": lambda sk: lambda t, y, w: sk.f1_score(t, y, sample_weight=w, average="macro"),
         "accuracy": lambda sk: lambda t, y, w: sk.accuracy_score(t, y, sample_weight=w),
         "balanced_accuracy": lambda sk: lambda t, y, w: sk.balanced_accuracy_score(t, y, sample_weight=w),
         "r2": lambda sk: lambda t, y, w: sk.r2_score(t, y, sample_weight=w)}


def twin(name):
    """The function of scikit-learn."""
    import sklearn.metrics as sk

    if name in TWINS:
        return TWINS[name](sk)
    return lambda t, y, w: getattr(sk, name)(t, y, sample_weight=w)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("name", metrics.OF_CLASSES)
@pytest.mark.parametrize("n_classes", [2, 5])
def test_of_classes(name, n_classes, rng):
    for missing in (None, 0, n_classes - 1):  # a class that never is, or is never predicted
        t, y = rng.integers(n_classes, size=(2, 60))
        if missing is not None:
            y[y == missing] = 1 - missing % 2
            t[:5] = missing
        weight = rng.uniform(0.1, 3, 60)
        for true, predicted in ((t, y), (y, t)):
            check_metric(bp.METRICS[name], twin(name), true, predicted, weight)


@pytest.mark.parametrize("name", metrics.OF_NUMBERS)
@pytest.mark.parametrize("k", [1, 3])
def test_of_numbers(name, k, rng):
    t = rng.normal(size=(50, k))
    for y in (t + rng.normal(size=t.shape), t, np.zeros_like(t)):
        check_metric(bp.METRICS[name], twin(name), t, y, rng.uniform(0.1, 3, 50))


def test_r2_of_targets_that_are_alike():
    t = np.full((4, 2), 3.0)
    for y in (t, t + np.array([0.0, 1.0])):
        assert metrics.r2(t, y) == pytest.approx(twin("r2")(t, y, None))


def test_accuracy_of_several_labels(rng):
    t, y = rng.integers(2, size=(2, 30, 4))
    weight = rng.uniform(size=30)
    assert metrics.accuracy(t, y, weight) == pytest.approx(
        np.mean([twin("accuracy")(t[:, j], y[:, j], weight) for j in range(4)]))


def test_classes():
    """What is predicted: the largest output, y > 0.5, the sign; NaN predicts nothing."""
    t, y = metrics.classes(LOSSES["cross_entropy"], np.array([0, 1, 1]), np.array([[2.0, 1.0], [0, 3], [np.nan, 5]]))
    assert t.tolist() == [0, 1, 1] and y.tolist() == [0, 1, -1]
    outputs = np.array([[0.4], [0.6], [0.5], [np.nan]])
    t, y = metrics.classes(LOSSES["binary_cross_entropy"], np.array([[0.0], [1.0], [1.0], [0.0]]), outputs)
    assert t.tolist() == [0, 1, 1, 0] and y.tolist() == [0, 1, 0, -1]
    t, y = metrics.classes(LOSSES["binary_cross_entropy"], np.array([[0, 1]]), np.array([[0.9, 0.9]]))
    assert t.tolist() == [[0, 1]] and y.tolist() == [[1, 1]]
    t, y = metrics.classes(LOSSES["hinge"], np.array([[-1.0], [1.0]]), np.array([[-0.1], [0.1]]))
    assert t.tolist() == [0, 1] and y.tolist() == [0, 1]
    assert metrics.f1(np.array([0, 0, 1]), np.array([-1, 0, 1])) == pytest.approx((2 / 3 + 1) / 2)
    t, y = metrics.classes(LOSSES["sigmoid_binary_cross_entropy"], np.array([[0.0], [1.0]]), np.array([[-0.1], [0.1]]))
    assert t.tolist() == [0, 1] and y.tolist() == [0, 1]


def test_evaluate(engine, rows):
    """Names and functions, with weights and without; validation measures the same."""
    X, y = rows
    seen = []

    def log_loss(y_true, y_pred, sample_weight):
        seen.append((y_true, y_pred, sample_weight))
        return np.average(-np.log(y_pred[np.arange(len(y_true)), y_true]), weights=sample_weight)

    def largest(y_true, y_pred):
        return y_pred.max()

    weight = np.linspace(0.5, 2, len(X))
    trainer = small_trainer(engine, metrics=("balanced_accuracy", "f1", log_loss, largest))
    history = trainer.fit(X, y, epochs=2, validation=(X, y, weight))
    found, p = trainer.evaluate(X, y, weight), trainer.predict(X)
    assert list(found) == ["loss", "balanced_accuracy", "f1", "log_loss", "largest"]
    assert set(history) == {"loss", "seconds", *(f"val_{name}" for name in found)}
    for name, value in found.items():
        assert type(value) is float and history[f"val_{name}"][-1] == value
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12) and found["largest"] == p.max()
    assert found["f1"] == pytest.approx(twin("f1")(y, p.argmax(axis=1), weight))
    np.testing.assert_array_equal(seen[-1][0], y)
    assert trainer.evaluate(X, y)["balanced_accuracy"] == pytest.approx(
        twin("balanced_accuracy")(y, p.argmax(axis=1), None))
    assert seen[-1][2] is None


def test_evaluate_numbers(engine, rng):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    trainer = bp.Trainer(bp.Network([bp.Dense(2)], seed=0), loss="squared_error", backend=engine, metrics="r2")
    assert trainer.evaluate(X, y)["r2"] == pytest.approx(twin("r2")(y, trainer.predict(X), None), rel=1e-6)


@pytest.mark.parametrize("given, message", [
    ("recall", "unknown metric 'recall'.*accuracy, balanced_accuracy"),
    ([None], "unknown metric None"),
    (["f1", "f1"], "'f1' is taken"),
    ([lambda t, y: 0.0, lambda t, y: 1.0], "'<lambda>' is taken"),
])
def test_refused_when_made(given, message):
    with pytest.raises(ValueError, match=message):
        small_trainer(metrics=given)


def test_refused_names(rows):
    def loss(y_true, y_pred):
        return 0.0

    with pytest.raises(ValueError, match="'loss' is taken"):
        small_trainer(metrics=[loss])


@pytest.mark.parametrize("name, targets, n_out, message", [
    ("r2", "labels", 3, "'r2' is one of numbers"), ("accuracy", "reals", 1, "'accuracy' is one of classes"),
    ("f1", "nonnegative", 1, "'f1' is one of classes"), ("f1", "unit", 2, "one class to a row.*2 outputs"),
])
def test_refused_for_these_targets(name, targets, n_out, message):
    with pytest.raises(ValueError, match=message):
        metrics.check_metrics(metrics.get_metrics(name), targets, n_out)


def test_refused_before_any_work(rows):
    trainer = small_trainer(metrics=["r2"])
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(ValueError, match="'r2' is one of numbers"):
            call(*rows)
    assert trainer.network.program is None


def test_the_metric_of_no_metric():
    for targets, names in (("labels", ["accuracy"]), ("unit", ["accuracy"]), ("signs", ["accuracy"]), ("reals", [])):
        assert [metric.name for metric in metrics.check_metrics((), targets, 1)] == names
