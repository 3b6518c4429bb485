"""Known illnesses are found and cured as the report says, and healthy networks raise no alarm."""

import copy
import pickle

import numpy as np
import pytest
from checks import digest

import bpfast as bp
from bpfast.demo import optdigits
from bpfast.health import RULES, Cure, measure
from bpfast.health.cures import code, layers_code
from bpfast.health.rules import Patient

Dense, OUT = bp.Dense, bp.Dense(10, "softmax")
SMALL, LARGE, SAME = bp.Normal(0, 0.1), bp.Normal(0, 3), bp.Constant(0.1)
RELU = [Dense(64, "relu")] * 2
X, Y = (array[:2000] for array in optdigits()[:2])


def trainer_of(layers, optimizer=bp.Adam(1e-3), loss="cross_entropy", n_in=64, **settings):
    net = bp.Network(layers, input_shape=n_in, seed=settings.pop("net_seed", 0))
    return bp.Trainer(net, loss=loss, optimizer=optimizer, **{"seed": 0, "n_threads": 1, **settings})


def with_biases(trainer, number):
    for name in ("0.bias", "1.bias"):
        trainer.network.parameters[name][...] = number
    return trainer


def with_zeros(trainer):
    for array in trainer.network.parameters.values():
        array[...] = 0
    return trainer


def names(report):
    return [verdict.name for verdict in report.verdicts]


def pasted(cure, trainer, X=X, y=Y):
    """What the code of a cure leaves behind."""
    scope = {"bp": bp, "network": trainer.network, "trainer": trainer, "X": X, "y": y}
    exec(cure.code, scope)
    return scope


# -- known cases ----------------------------------------------------------------------------------------------

KNOWN = {  # what is ill, the verdict, the factor of the inputs, the number of cures
    "5 sigmoids": (lambda: trainer_of([*[Dense(64, "sigmoid", initializer=SMALL)] * 5, OUT]), "vanishing gradient",
                   1, 5),
    "20 sigmoids": (lambda: trainer_of([*[Dense(64, "sigmoid", initializer=SMALL)] * 20, OUT]), "vanishing gradient",
                    1, 5),
    "large weights": (lambda: trainer_of([*[Dense(64, "relu", initializer=LARGE)] * 3, OUT]), "exploding gradient",
                      1, 3),
    "all weights large": (lambda: trainer_of([*[Dense(64, "relu", initializer=LARGE)] * 2,
                                              Dense(10, "softmax", initializer=LARGE)]), "exploding gradient", 1, 3),
    "dead": (lambda: with_biases(trainer_of([*RELU, OUT]), -10), "dead units", 1, 2),
    "saturated": (lambda: trainer_of([*[Dense(64, "tanh", initializer=LARGE)] * 2, OUT]), "saturation", 1, 2),
    "Adam, too fast": (lambda: trainer_of([*RELU, OUT], bp.Adam(1.0)), "learning rate too high", 1, 1),
    "SGD, too fast": (lambda: trainer_of([*RELU, OUT], bp.SGD(50.0)), "learning rate too high", 1, 1),
    "Adam, too slow": (lambda: trainer_of([*RELU, OUT], bp.Adam(1e-6)), "learning rate too low", 1, 1),
    "SGD, too slow": (lambda: trainer_of([*RELU, OUT], bp.SGD(5e-5)), "learning rate too low", 1, 1),
    "large inputs": (lambda: trainer_of([*RELU, OUT]), "unscaled inputs", 1e4, 1),
    "large inputs, tanh": (lambda: trainer_of([*[Dense(64, "tanh")] * 2, OUT]), "unscaled inputs", 1e4, 1),
    "small inputs": (lambda: trainer_of([*RELU, OUT]), "unscaled inputs", 1e-4, 1),
    "zeros": (lambda: with_zeros(trainer_of([*RELU, OUT])), "zero or symmetric weights", 1, 1),
    "alike": (lambda: trainer_of([Dense(64, "tanh", initializer=SAME), Dense(10, "softmax", initializer=SAME)]),
              "zero or symmetric weights", 1, 1),
}


@pytest.mark.parametrize("case, which", [(case, k) for case, (*_, n) in KNOWN.items() for k in range(n)])
def test_known_illness(case, which):
    """It is named, alone, and what is pasted from each of its cures learns and is healthy."""
    ill, name, factor, n_cures = KNOWN[case]
    trainer = ill()
    report = trainer.diagnose(factor * X, Y)
    assert names(report) == [name] and not report.ok
    assert len(report.verdicts[0].cures) == n_cures
    cure = report.verdicts[0].cures[which]
    cured = pasted(cure, trainer)["trainer"]
    assert cured is not trainer
    cured.fit(factor * X, Y, epochs=10)
    assert cured.evaluate(factor * X, Y)["accuracy"] > 0.8, cure
    assert cured.diagnose(factor * X, Y).ok, cure


@pytest.mark.parametrize("case", ["20 sigmoids", "dead", "Adam, too slow", "SGD, too slow", "SGD, too fast", "alike"])
def test_the_ill_do_not_learn(case):
    trainer = KNOWN[case][0]()
    try:
        trainer.fit(X, Y, epochs=5)
    except bp.DivergenceError:
        return
    assert trainer.evaluate(X, Y)["accuracy"] < 0.5


@pytest.mark.parametrize("case", ["Adam, too slow", "Adam, too fast", "20 sigmoids", "dead", "all weights large"])
def test_an_illness_is_named_after_a_fit_too(case):
    """And the cure is that of the cause, not of what became of it: units that died of a large rate."""
    trainer = KNOWN[case][0]()
    trainer.fit(X, Y, epochs=3)
    report = trainer.diagnose(X, Y)
    assert names(report) == [KNOWN[case][1]]
    cured = pasted(report.verdicts[0].cures[0], trainer)["trainer"]
    cured.fit(X, Y, epochs=10)
    assert cured.evaluate(X, Y)["accuracy"] > 0.8


@pytest.mark.parametrize("case", KNOWN)
def test_cure(case, capsys):
    """The network of the first cure that changes it, as the code of the report makes it; what was done is printed."""
    ill, name, factor, _ = KNOWN[case]
    trainer = ill()
    report = trainer.diagnose(factor * X, Y)
    before = trainer.network.snapshot()
    cured = report.cure(trainer.network)
    printed = capsys.readouterr().out
    cure = report.verdicts[0].cures[0]
    if cure.change is None:
        assert "see the report" in printed and cured == trainer.network and cured is not trainer.network
    else:
        assert f"{name}: {cure.words}" in printed and cure.code.splitlines()[0] in printed
        assert cured == pasted(cure, trainer)["network"]
    assert all(np.array_equal(trainer.network.arrays[key], before[key]) for key in before)


# -- no false alarm -------------------------------------------------------------------------------------------

HEALTHY = {
    "Xavier, tanh": [Dense(32, "tanh", initializer="xavier")] * 6,
    "He, relu": [Dense(32, "relu", initializer="he")] * 6,
    "He, relu, 20 layers": [Dense(32, "relu", initializer="he")] * 20,
    "Xavier, tanh, 20 layers": [Dense(32, "tanh", initializer="xavier")] * 20,
    "batch norm": [Dense(32), bp.BatchNorm(), bp.Activation("relu")] * 6,
    "batch norm, sigmoid": [Dense(32), bp.BatchNorm(), bp.Activation("sigmoid")] * 6,
    "layer norm, dropout": [Dense(32), bp.LayerNorm(), bp.Activation("gelu"), bp.Dropout(0.2)] * 3,
    "residual": [Dense(32, "relu"), *[bp.Residual(Dense(32, "relu"), Dense(32))] * 3],
    "zero branches": [Dense(32, "relu"),
                      *[bp.Residual(Dense(32, "relu"), Dense(32, initializer="zeros"), bp.Scale(0.1))] * 3],
    "selu": [Dense(32, "selu")] * 6,
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", HEALTHY)
def test_no_false_alarm(kind, seed):
    trainer = trainer_of([*HEALTHY[kind], OUT], net_seed=seed)
    assert trainer.diagnose(X, Y).ok
    trainer.fit(X, Y, epochs=3)
    report = trainer.diagnose(X, Y)
    assert report.ok, report


def test_images_raise_no_alarm():
    trainer = bp.Trainer(bp.resnet(1, (8, 16), 10, seed=0), loss="cross_entropy", seed=0)
    images = X[:500].reshape(-1, 8, 8, 1)
    report = trainer.diagnose(images, Y[:500])
    assert report.ok and report.measured.layers[0] == "0" and len(report.measured.layers) == 7
    assert report.measured.activations[0] == "relu"  # behind the normalisation


def test_dead_channels():
    net = bp.Network([bp.Conv2D(8, 3, "relu"), bp.GlobalAvgPool2D(), OUT], input_shape=(8, 8, 1), seed=0)
    net.parameters["0.bias"][...] = -10
    report = bp.Trainer(net, loss="cross_entropy", seed=0).diagnose(X.reshape(-1, 8, 8, 1), Y)
    assert names(report) == ["dead units"] and report.verdicts[0].layers == ("0",)
    assert "bp.Conv2D(8, activation='leaky_relu'" in str(report) or "bp.Conv2D(8, (3, 3), 'leaky_relu'" in str(report)


@pytest.mark.parametrize("loss, last, targets", [
    ("squared_error", Dense(1), lambda z: z),
    ("mean_absolute_error", Dense(1), lambda z: 3 * z),
    ("binary_cross_entropy", Dense(1, "sigmoid"), lambda z: z > 0),
    ("hinge", Dense(1), lambda z: np.where(z > 0, 1, -1)),
    ("poisson", Dense(1, "exponential"), lambda z: np.floor(np.exp(z))),
    ("sigmoid_binary_cross_entropy", Dense(1), lambda z: z > 0),
    ("softmax_cross_entropy", Dense(2), lambda z: z > 0),
])
def test_every_kind_of_loss(loss, last, targets, rng):
    inputs = rng.normal(size=(300, 5))
    y = np.asarray(targets(np.tanh(inputs @ rng.normal(size=5))), float)
    trainer = trainer_of([Dense(16, "tanh"), last], loss=loss, n_in=5)
    assert trainer.diagnose(inputs, y).ok
    trainer.fit(inputs, y, epochs=5)
    assert trainer.diagnose(inputs, y).ok


# -- data and the course of the training ----------------------------------------------------------------------


def test_class_imbalance(rng):
    inputs = rng.normal(size=(1000, 4))
    y = (np.arange(1000) % 50 == 0).astype(int)
    trainer = trainer_of([Dense(8, "relu"), Dense(2, "softmax")], n_in=4)
    report = trainer.diagnose(inputs, y)
    assert names(report) == ["class imbalance"]
    assert report.verdicts[0].figures["share of the commonest class"] == pytest.approx(0.98)
    pasted(report.verdicts[0].cures[0], trainer, inputs, y)
    assert names(trainer.diagnose(inputs, np.zeros(1000))) == ["class imbalance"]


def test_a_rare_class_that_is_never_predicted(rng):
    inputs = rng.normal(size=(1000, 4))
    y = np.where(np.arange(1000) % 50 == 0, 2, inputs[:, 0] > 0).astype(int)
    trainer = trainer_of([Dense(8, "relu"), Dense(3, "softmax")], n_in=4)
    assert trainer.diagnose(inputs, y).ok
    trainer.fit(inputs, y, epochs=10)
    report = trainer.diagnose(inputs, y)
    assert names(report) == ["class imbalance"] and "never predicted: 2" in report.verdicts[0].words


def test_constant_inputs(rng):
    inputs = np.ones((200, 6))
    inputs[:, 0] = rng.normal(size=200)
    trainer = trainer_of([Dense(8, "relu"), Dense(1)], loss="squared_error", n_in=6)
    report = trainer.diagnose(inputs, inputs[:, 0])
    assert names(report)[0] == "constant inputs"
    scope = {"X": inputs}
    exec(report.verdicts[0].cures[0].code, scope)
    assert scope["X"].shape == (200, 1)


def with_losses(trainer, losses, val_losses=()):
    """A trainer that has had these losses."""
    for k, loss in enumerate(losses):
        trainer.history.append(loss=loss, **({"val_loss": val_losses[k]} if val_losses else {}))
    return trainer


@pytest.mark.parametrize("losses, val_losses, verdict", [
    ([2.3, 2.295, 2.294, 2.293, 2.293, 2.293, 2.293, 2.293], (), "plateau"),
    ([2.3, 1.9, 1.8, 1.801, 1.8, 1.799, 1.8, 1.799], (), "under-fitting"),
    ([2.3, 1.5, 1.0, 0.5, 0.2, 0.1, 0.05], (2.3, 1.6, 1.2, 1.0, 1.4, 1.8, 2.2), "over-fitting"),
    ([2.3, 1.5, 1.0, 0.5, 0.2, 0.1, 0.05], (2.3, 1.6, 1.2, 1.0, 1.0, 1.05, 1.1), None),
    ([2.3, 1.5, 1.0, 0.9, 0.8, 0.75, 0.74], (), None),
    ([2.3, 9.0, 30.0, 250.0], (), "learning rate too high"),
    ([90.0, 20.0, 2.4, 2.3], (), "learning rate too high"),
])
def test_curves(losses, val_losses, verdict):
    rate = 0.1 if verdict == "learning rate too high" else 1e-3
    trainer = with_losses(trainer_of([*RELU, OUT], bp.Adam(rate)), losses, val_losses)
    report = trainer.diagnose(X, Y)
    assert names(report) == [verdict] * bool(verdict)
    for cure in [cure for found in report.verdicts for cure in found.cures]:
        trainer_then = pasted(Cure(cure.words, cure.code.replace("epochs=1000", "epochs=12")), trainer)["trainer"]
        if not trainer_then.history.n_epochs:
            trainer_then.fit(X, Y, epochs=10)
        assert trainer_then.evaluate(X, Y)["accuracy"] > 0.85, cure


# -- what is measured -------------------------------------------------------------------------------------------


def test_measured(rng):
    """Against the public verbs, which compute the same in another way."""
    inputs, y = rng.normal(size=(50, 5)), rng.integers(3, size=50)
    net = bp.Network([Dense(7, "tanh"), Dense(6, "relu"), Dense(3, "softmax")], input_shape=5, dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy", seed=0)
    m = measure(net, "cross_entropy", inputs, y)
    loss, gradients = trainer.loss_and_gradients(inputs, y)
    assert m.loss == pytest.approx(loss) and m.layers == ("0", "1", "2")
    assert m.activations == ("tanh", "relu", "softmax") and m.n_rows == 50
    assert m.gradient_norm == pytest.approx([np.linalg.norm(gradients[f"{k}.weight"]) for k in range(3)])
    assert m.weight_norm == pytest.approx([np.linalg.norm(net.parameters[f"{k}.weight"]) for k in range(3)])
    _, a, b, *_, p = net.activations(inputs)
    assert m.activation_mean == pytest.approx([a.mean(), b.mean(), p.mean()])
    assert m.activation_std == pytest.approx([a.std(), b.std(), p.std()])
    z = np.arctanh(a)
    assert (m.pre_activation_mean[0], m.pre_activation_std[0]) == pytest.approx((z.mean(), z.std()))
    assert m.saturated[0] == np.mean(1 - a**2 < 0.05) and np.isnan(m.saturated[1:]).all()
    assert m.dead[1] == np.mean((b == 0).all(axis=0)) and np.isnan(m.dead[[0, 2]]).all()
    delta = (p - np.eye(3)[y]) / 50
    for layer in (2, 1, 0):
        assert m.delta_norm[layer] == pytest.approx(50 * np.sqrt(np.mean(delta**2)))
        back = delta @ net.parameters[f"{layer}.weight"].T
        assert m.input_delta_norm[layer] == pytest.approx(50 * np.sqrt(np.mean(back**2)))
        delta = back * {2: b > 0, 1: 1 - a**2, 0: 0}[layer]
    assert back == pytest.approx(trainer.input_gradient(inputs, y))
    assert not m.alike.any()


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_loss_of_a_constant(loss, rng):
    y = rng.integers(3, size=400) if loss == "cross_entropy" else rng.normal(size=(400, 3))
    trainer = trainer_of([Dense(3, "softmax" if loss == "cross_entropy" else "linear")], loss=loss, n_in=2)
    rows = trainer._ready(rng.normal(size=(400, 2)), y, None)[0]
    share = np.bincount(y) / 400 if loss == "cross_entropy" else None
    expected = -(share * np.log(share)).sum() if share is not None else 0.5 * y.var(axis=0).sum()
    assert Patient(trainer, None, rows).baseline == pytest.approx(expected)


def test_nothing_is_left_of_it():
    """Trainer, network and what the fit does next."""
    trainers = [trainer_of([bp.Standardize(), Dense(16), bp.BatchNorm(), bp.Activation("relu"), OUT]) for _ in "ab"]
    trainers[0].diagnose(X, Y)
    assert not trainers[0].network.statistics["0.known"].any()
    for trainer in trainers:
        trainer.fit(X, Y, epochs=1)
    trainers[0].diagnose(X, Y, np.linspace(0, 1, len(X)))
    for trainer in trainers:
        trainer.fit(X, Y, epochs=1)
    assert digest(trainers[0].network) == digest(trainers[1].network)
    assert trainers[0].history.n_epochs == 2


@pytest.mark.parametrize("settings", [
    {"optimizer": bp.LBFGS()},
    {"optimizer": "rprop", "batch_size": "full"},
    {"optimizer": bp.Adam(bp.OneCycle(1e-3, 5))},
    {"optimizer": bp.SGD(bp.WarmUp(bp.ConstantRate(0.1), 5))},
    {"batch_size": 1},
    {"regularizer": bp.L2(1e-4), "clip": bp.ClipNorm(1), "metrics": ["f1"], "backend": "numpy", "batch_size": "full"},
])
def test_every_kind_of_trainer(settings):
    trainer = trainer_of([*RELU, OUT], **settings)
    assert trainer.diagnose(X, Y).ok
    ill = trainer_of([*[Dense(16, "sigmoid")] * 8, OUT], **settings)
    made = pasted(ill.diagnose(X, Y).verdicts[0].cures[0], ill)["trainer"]
    for name in ("loss", "optimizer", "batch_size", "regularizer", "clip", "metrics", "seed", "backend", "n_threads"):
        assert getattr(made, name) == getattr(ill, name), name


@bp.activation
def shrunken(x):
    return x if abs(x) < 1 else 1 + 0.1 * (x - 1)


@bp.loss
def square(y, t):
    return (y - t) ** 2


@bp.optimizer
def descent(g, w, lr, step):
    return w - lr * g


def test_what_users_wrote(rng):
    inputs = rng.normal(size=(300, 5))
    y = np.tanh(inputs @ rng.normal(size=5))
    for rate, expected in ((1e-2, []), (1e-6, ["learning rate too low"]), (1e3, ["learning rate too high"])):
        trainer = trainer_of([Dense(16, shrunken), Dense(1)], descent(rate), square, n_in=5)
        report = trainer.diagnose(inputs, y)
        assert names(report) == expected
        if expected:
            code = report.verdicts[0].cures[0].code
            assert "bp.Dense(16, shrunken)" in code and "loss=square, optimizer=descent(" in code


def test_targets_of_large_numbers(rng):
    """Learn when they are scaled as the report says."""
    inputs = rng.normal(size=(300, 5))
    y = 1e5 + 1e4 * np.tanh(inputs @ rng.normal(size=5))
    trainer = trainer_of([Dense(16, "tanh"), Dense(1)], loss="squared_error", n_in=5)
    (verdict,) = trainer.diagnose(inputs, y).verdicts
    assert verdict.name == "learning rate too low" and "scale the targets" in verdict.cures[0].words
    scope = pasted(verdict.cures[0], trainer, inputs, y)
    scope["trainer"].fit(inputs, scope["y"], epochs=50)
    assert scope["trainer"].diagnose(inputs, scope["y"]).ok
    assert scope["trainer"].evaluate(inputs, scope["y"])["loss"] < 0.05


@pytest.mark.parametrize("rate", [1e3, 1e10])
def test_what_diverges_at_every_rate_tried_is_ill(rate):
    trainer = trainer_of([*RELU, Dense(1)], loss="squared_error", optimizer=bp.SGD(rate))
    with pytest.raises(bp.DivergenceError):
        trainer.fit(X, Y.astype(float), epochs=3)
    (verdict,) = trainer.diagnose(X, Y.astype(float)).verdicts
    assert verdict.name == "learning rate too high"
    pasted(verdict.cures[0], trainer)["trainer"].fit(X, Y.astype(float), epochs=3)


def test_rows_that_weigh_nothing_are_not_looked_at():
    weight = np.zeros(len(X))
    weight[:100] = 1
    trainer = trainer_of([*RELU, OUT])
    found, expected = trainer.diagnose(X, Y, weight).measured, trainer.diagnose(X[:100], Y[:100]).measured
    assert found.n_rows == 100 and found.loss == pytest.approx(expected.loss)


def test_a_cure_that_does_not_fit_is_left_out():
    """Twice the units of a branch would not be added to the inputs."""
    net = [bp.Residual(Dense(32, "relu"), Dense(64, "relu")), *RELU, OUT]
    losses = [2.3, 1.9, 1.8, 1.801, 1.8, 1.799, 1.8, 1.799]
    (verdict,) = with_losses(trainer_of(net), losses).diagnose(X, Y).verdicts
    assert verdict.name == "under-fitting" and not verdict.cures


def test_a_network_without_a_shape():
    trainer = bp.Trainer(bp.Network([*RELU, OUT], seed=0), loss="cross_entropy", seed=0)
    assert trainer.diagnose(X, Y).ok and trainer.network.input_shape == (64,)


def test_refused():
    with pytest.raises(ValueError, match="X has 2000 rows, but y has 1"):
        trainer_of([*RELU, OUT]).diagnose(X, Y[:1])
    with pytest.raises(ValueError, match=r"no rows to look at: give diagnose\(X, y\) some"):
        trainer_of([*RELU, OUT]).diagnose()
    with pytest.raises(ValueError, match="no weight to look at"):
        trainer_of([bp.Scale(), bp.Activation("softmax")], n_in=10).diagnose(X[:, :10], Y)


# -- how it reads -----------------------------------------------------------------------------------------------


def test_report():
    report = KNOWN["20 sigmoids"][0]().diagnose(X, Y)
    text = str(report)
    assert text.startswith("vanishing gradient in layers '0', ..., '18': ")
    assert "bp.Network([*[bp.Dense(64, 'relu', initializer='he')] * 20, bp.Dense(10, 'softmax')], input_shape" in text
    assert max(map(len, (line for line in text.splitlines() if not line.startswith(" ")))) <= 100
    assert repr(report) == "HealthReport(vanishing gradient)"
    assert pickle.loads(pickle.dumps(report)) == report == copy.deepcopy(report)
    healthy = trainer_of([*RELU, OUT]).diagnose(X, Y)
    assert healthy.ok and str(healthy) == "healthy: no verdict" and healthy != report


LAYERS = [
    Dense(3), Dense(3, "relu", initializer=bp.He("uniform"), name="Bp("),
    Dense(2, bp.ACTIVATIONS["leaky_relu"](slope=0.1)),
    Dense(4, "tanh", initializer=bp.Glorot(gain="tanh")), bp.Conv2D(4, 3, "relu", stride=2), bp.ResidualBlock(4),
    bp.Residual(Dense(3, "relu"), Dense(3), shortcut=Dense(3)), bp.BatchNorm(momentum=0.2), bp.MaxPool2D(),
    Dense(3, initializer=bp.Orthogonal(gain=bp.ACTIVATIONS["leaky_relu"](slope=0.2))),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_code_of_a_layer(layer):
    assert eval(code(layer), {"bp": bp}) == layer


def test_code_of_layers():
    block = [Dense(3), bp.BatchNorm(), bp.Activation("relu")]
    for layers in ([OUT], [*RELU, OUT], [*block * 3, OUT], [OUT, *block, *block * 2, *RELU]):
        assert eval(layers_code(tuple(layers)), {"bp": bp}) == layers
    assert layers_code((*block * 3, OUT)) == (
        "[*[bp.Dense(3), bp.BatchNorm(), bp.Activation('relu')] * 3, bp.Dense(10, 'softmax')]")


def test_the_table_of_rules():
    known = [rule.name for rule in RULES]
    assert len({rule.find for rule in RULES}) == len(known)
    for k, rule in enumerate(RULES):
        assert rule.source and set(rule.explained_by) <= set(known[:k]) and callable(rule.find)
