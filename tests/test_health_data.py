"""The diagnosis on real data: MNIST through sigmoids of small weights, and healthy networks on every set of classes."""

import numpy as np
import pytest

import bpfast as bp

KINDS = {
    "Xavier, tanh": [bp.Dense(32, "tanh", initializer="xavier")] * 4,
    "He, relu": [bp.Dense(32, "relu", initializer="he")] * 4,
    "batch norm": [bp.Dense(32), bp.BatchNorm(), bp.Activation("relu")] * 4,
    "residual": [bp.Dense(32, "relu"), *[bp.Residual(bp.Dense(32, "relu"), bp.Dense(32))] * 2],
}


@pytest.mark.parametrize("depth, optimizer", [(5, bp.SGD(0.1)), (20, bp.Adam(1e-3))], ids=str)
def test_mnist_through_sigmoids(data, depth, optimizer):
    """All rows are told the same digit (published of five layers: 0.1135), until a cure is applied as it is written."""
    with np.load(data / "images" / "mnist.npz") as file:
        X, X_test = (file[name].reshape(-1, 784).astype("f4") / 255 for name in ("X_train", "X_test"))
        y, y_test = file["y_train"], file["y_test"]
    sigmoids = [bp.Dense(64, "sigmoid", initializer=bp.Normal(0, 0.1))] * depth
    net = bp.Network([*sigmoids, bp.Dense(10, "softmax")], input_shape=784, seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", optimizer=optimizer, batch_size=128, seed=0)
    report = trainer.diagnose(X, y)
    assert [verdict.name for verdict in report.verdicts] == ["vanishing gradient"]
    trainer.fit(X, y, epochs=2)
    assert trainer.evaluate(X_test, y_test)["accuracy"] < 0.12
    for cure in report.verdicts[0].cures:
        scope = {"bp": bp}
        exec(cure.code, scope)
        scope["trainer"].fit(X, y, epochs=2)
        assert scope["trainer"].evaluate(X_test, y_test)["accuracy"] > 0.85, cure.words


@pytest.mark.parametrize("kind", KINDS)
def test_no_false_alarm_on_any_set(data, kind):
    """But of classes that are rare indeed."""
    files = sorted((data / "classif").glob("*.npz"))
    assert len(files) == 15
    for file in files:
        with np.load(file) as arrays:
            if "X" in arrays:
                X, y = arrays["X"], arrays["y"]
            else:  # numbers, and categories that become one-hot
                categories = [column[:, None] == np.unique(column) for column in arrays["X_cat_train"].T]
                X, y = np.hstack([arrays["X_num_train"], *categories]), arrays["y_train"]
        X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
        net = bp.Network([*KINDS[kind], bp.Dense(int(y.max()) + 1, "softmax")], seed=0)
        trainer = bp.Trainer(net, loss="cross_entropy", seed=0)
        assert trainer.diagnose(X, y).ok, file
        trainer.fit(X, y, epochs=3)
        assert {verdict.name for verdict in trainer.diagnose(X, y).verdicts} <= {"class imbalance"}, file
