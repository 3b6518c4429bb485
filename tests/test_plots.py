"""Pictures: the data that is drawn, and what tells it apart; not the pixels."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from samples import small_rows, small_trainer

import bpfast as bp
from bpfast import plots

NAMES = ["$\\no maths$", "a<b>", "_c", "4.0"]


def recording(layers, **quantities):
    """What a recording of training has, here of three records."""
    return SimpleNamespace(steps=np.array([0, 10, 20]), layers=layers, **quantities)


def drawn(ax, label):
    """The data (n, 2) of the line with a label."""
    return next(line for line in ax.lines if line.get_label() == label).get_xydata()


def is_drawn(ax):
    """Draws all of a picture, so that what cannot be drawn fails."""
    ax.figure.savefig("/dev/null", format="png")
    return True


def lightness(line):
    """About that of a line's colour on a screen, 0..1; ITU-R BT.709."""
    return np.dot(line.get_color()[:3], (0.2126, 0.7152, 0.0722))


def test_learning_curves(rows):
    """Both curves, an entry per epoch, on axes that are given or made."""
    history = bp.History()
    for loss in (1.0, 0.5, 0.25):
        history.append(loss=loss, val_loss=2 * loss, accuracy=1 - loss)
    ax = plots.learning_curves(history)
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[1, 2], [2, 1], [3, 0.5]])
    given = Figure().add_subplot()
    assert plots.learning_curves(history, given, metric="accuracy") is given and len(given.lines) == 1


@pytest.mark.parametrize("losses, labels", [
    ((2.33, 2.31, 2.306), ["2.305", "2.31", "2.315", "2.32", "2.325", "2.33"]),
    ((2.3, 0.9, 0.15), ["0.2", "0.5", "1", "2"]),
    ((2.3, 1e-4), ["10^{-4}", "10^{-3}", "10^{-2}", "10^{-1}", "10^{0}"]),
])
def test_numbers_of_a_logarithmic_axis(losses, labels):
    """Several, wherever it begins and ends, and plain ones where powers of ten would be few."""
    history = bp.History()
    for loss in losses:
        history.append(loss=loss)
    ax = plots.learning_curves(history)
    low, high = ax.get_ylim()
    shown = [text.get_text() for text in ax.get_yticklabels() if low <= text.get_position()[1] <= high]
    assert [re.sub(r"\$\\mathdefault{(.*)}\$", r"\1", text) for text in shown] == labels
    assert is_drawn(ax) and not any(text.get_text() for text in ax.get_yticklabels(minor=True))


# -- layers ---------------------------------------------------------------------------------------------


def test_norms_over_time():
    """A line per layer, from the input, dark, to the output, light; the bar beside them names them all."""
    values = np.geomspace(1e-9, 1, 60).reshape(20, 3).T
    layers = [str(k) for k in range(20)]
    ax = plots.norms_over_time(recording(layers, gradient_norm=values))
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "step" and "gradient" in ax.get_ylabel()
    for layer, column in zip(layers, values.T):
        np.testing.assert_array_equal(drawn(ax, layer), np.column_stack(([0, 10, 20], column)))
    light = [lightness(line) for line in ax.lines]
    assert light == sorted(light) and light[-1] < 0.8
    assert [text.get_text() for text in ax.figure.axes[1].get_yticklabels()] == layers


def test_norms_of_zero_are_seen():
    """A gradient that does not arrive at all lies below the others; one that was not recorded is not drawn."""
    values = np.array([[0, 1e-3], [1e-6, np.nan], [0, 1]])
    ax = plots.norms_over_time(recording(["0", "1"], update_norm=values), quantity="update_norm")
    zero = ax.lines[-1].get_ydata()[0]
    assert zero < 1e-6 and ax.lines[-1].get_linestyle() == ":" and "zero" in [text.get_text() for text in ax.texts]
    np.testing.assert_array_equal(drawn(ax, "0")[:, 1], [zero, 1e-6, zero])
    np.testing.assert_array_equal(drawn(ax, "1")[:, 1], [1e-3, np.nan, 1])
    ax = plots.norms_over_time(recording(["0"], weight_norm=np.zeros((3, 1))), quantity="weight_norm")
    assert is_drawn(ax) and not ax.get_yticklabels() and not ax.get_yticklabels(minor=True)


def test_other_quantities_over_time():
    given = Figure().add_subplot()
    shares = np.array([[0, 0.5], [0.25, 1], [0, 0]])
    assert plots.norms_over_time(recording(["0", "1"], dead=shares), given, quantity="dead") is given
    assert given.get_yscale() == "linear" and given.yaxis.get_major_formatter()(0.25) == "25 %"
    np.testing.assert_array_equal(drawn(given, "1")[:, 1], shares[:, 1])
    assert given.get_ylim()[0] <= 0 and given.get_ylim()[1] >= 1
    for quantity in plots.QUANTITIES:
        assert is_drawn(plots.norms_over_time(recording(["0", "1"], **{quantity: shares}), quantity=quantity))
    with pytest.raises(ValueError, match="gradient_norm, .*got 'loss'"):
        plots.norms_over_time(recording(["0"]), quantity="loss")


def test_gradient_by_layer():
    norms = [0, 1e-4, 1e-2, 1]
    ax = plots.gradient_by_layer(SimpleNamespace(layers=NAMES, gradient_norm=norms))
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), range(4))
    np.testing.assert_array_equal(ax.lines[0].get_ydata()[1:], norms[1:])
    assert ax.lines[0].get_ydata()[0] == ax.lines[1].get_ydata()[0] < 1e-4 and ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == NAMES
    given = Figure().add_subplot()
    assert plots.gradient_by_layer(SimpleNamespace(layers=("0",), gradient_norm=np.ones(1)), given) is given


@pytest.mark.parametrize("layers", [NAMES, [str(k) for k in range(100)], ["only"]], ids=len)
def test_names_of_layers(layers):
    """They stand as they are, and no more of them than can be read."""
    norms = np.ones((3, len(layers)))
    over_time = plots.norms_over_time(recording(layers, gradient_norm=norms))
    by_layer = plots.gradient_by_layer(SimpleNamespace(layers=layers, gradient_norm=norms[0]))
    for ax, axis in ((over_time, over_time.figure.axes[1].yaxis), (by_layer, by_layer.xaxis)):
        assert is_drawn(ax)
        found = [text.get_text() for text in axis.get_ticklabels()]
        assert found == layers[:: -(-len(layers) // 20)] and len(found) <= 20


# -- activations ----------------------------------------------------------------------------------------


def test_activation_histograms():
    """One of each activation and of the output; their shares add up to 1, and their range is the activation's."""
    net = bp.Network([bp.Dense(8, "relu"), bp.Dense(8), bp.BatchNorm(), bp.Activation("tanh"), bp.Dense(1)],
                     input_shape=6, seed=0)
    X, _ = small_rows(np.random.default_rng(0))
    axes = plots.activation_histograms(net, X)
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["layer 0, relu", "layer 3, tanh", "layer 4, linear"]
    for ax, place in zip(axes, (1, 4, 5)):
        shares, edges, _ = ax.patches[0].get_data()
        values = net.activations(X)[place]
        assert shares.sum() == pytest.approx(1) and f"mean {values.mean():.2g}" in ax.get_title()
        within = (values >= edges[20]) & ((values < edges[21]) | (edges[21] == edges[-1]))
        assert shares[20] == pytest.approx(within.mean(), abs=2 / values.size)
    assert tuple(axes[1].patches[0].get_data().edges[[0, -1]]) == (-1, 1)
    given = Figure().subplots(1, 3)
    assert plots.activation_histograms(net, X, given) == list(given)
    with pytest.raises(ValueError, match="has 3 activations to draw, got 2"):
        plots.activation_histograms(net, X, given[:2])


def test_histograms_of_numbers_that_are_large_and_alike():
    net = bp.Network([bp.Dense(4), bp.Dense(1)], input_shape=6, seed=0)
    net.parameters["0.bias"][...] = 1e30
    axes = plots.activation_histograms(net, np.random.default_rng(0).normal(size=(50, 6)))
    assert "mean" in axes[-1].get_title()


def test_histograms_of_an_exploding_network():
    """What overflowed is told and not drawn."""
    net = bp.Network([*[bp.Dense(8, "relu", initializer=bp.Normal(0, 1e12))] * 6, bp.Dense(2)], input_shape=6, seed=0)
    axes = plots.activation_histograms(net, np.random.default_rng(0).normal(size=(50, 6)))
    assert "96 % not finite" in axes[-1].get_title() and "not finite" not in axes[0].get_title()
    assert is_drawn(axes[0])


SLOPED = [op for op in bp.ACTIVATIONS.values() if not op.rowwise]


@pytest.mark.parametrize("op", [*SLOPED, bp.ACTIVATIONS["leaky_relu"](slope=0.3)], ids=repr)
def test_activation_curve(op):
    """f as it is; f' by differences, never drawn over a kink; the kinks."""
    ax = plots.activation_curve(op)
    f, slope = drawn(ax, "f(x)"), drawn(ax, "f'(x)" if op.differentiable else "in place of f'(x)")
    x = f[:, 0]
    assert np.nanmin(x) == pytest.approx(-4) and np.nanmax(x) == pytest.approx(4)
    inside = ~np.isnan(x)
    np.testing.assert_allclose(f[inside, 1], op.forward(x[inside], *op.values))
    kinks = [kink for kink in op.kinks if -4 < kink < 4]
    assert [line.get_xdata()[0] for line in ax.lines[2:]] == kinks
    for kink in kinks:
        before = np.flatnonzero(x < kink)[-1]
        assert x[before] > kink - 1e-6 and np.isnan(slope[before + 1, 1]) and x[before + 2] < kink + 1e-6
    if op.differentiable:
        measured = np.diff(f[:, 1]) / np.diff(x)
        middle = (slope[1:, 1] + slope[:-1, 1]) / 2
        np.testing.assert_allclose(middle, measured, rtol=1e-3, atol=1e-3)


def test_activation_curve_of_names_and_rows():
    given = Figure().add_subplot()
    assert plots.activation_curve("tanh", given) is given and given.get_title() == "tanh: tanh(x)"
    with pytest.raises(ValueError, match="softmax is a function of whole rows"):
        plots.activation_curve("softmax")


# -- the error surface ----------------------------------------------------------------------------------


def surface(trainer, rows, **settings):
    """-> the Axes of an error surface, its lowest and its highest loss."""
    ax = plots.error_surface(trainer, *rows, **{"n": 5, **settings})
    contours = ax.collections[0]
    assert is_drawn(ax)
    return ax, (contours.zmin, contours.zmax)


@pytest.fixture
def fitted(rows):
    """A Trainer that has learned a little, and the parameters on its way."""
    trainer = small_trainer()
    path = []
    trainer.fit(*rows, epochs=6, callbacks=lambda trainer, figures: path.append(trainer.network.to_vector()))
    return trainer, path


def test_error_surface_of_a_minimum():
    """The loss of a linear fit is lowest in the middle, where it is what evaluate gives."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    t = X @ [[1.0], [2.0], [-1.0]] + 0.1 * rng.normal(size=(40, 1))
    trainer = bp.Trainer(bp.Network([bp.Dense(1)], input_shape=3, dtype="float64", seed=0), loss="squared_error")
    solution = np.linalg.lstsq(np.column_stack((X, np.ones(40))), t, rcond=None)[0].ravel()
    trainer.network.from_vector(solution)
    ax, (low, high) = surface(trainer, (X, t))
    assert low == pytest.approx(trainer.evaluate(X, t)["loss"]) and high > 10 * low
    np.testing.assert_array_equal(trainer.network.to_vector(), solution)
    assert ax.get_xlim() == (-1, 1) and "squared_error" in ax.figure.axes[1].get_ylabel()
    assert [line.get_label() for line in ax.lines] == ["now"]


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-9])
def test_the_bar_of_a_flat_surface(rows, size):
    """Losses that are almost the same have labels that differ."""
    net = bp.Network([bp.Dense(8, "tanh", initializer=bp.Normal(0, size)), bp.Dense(2, "softmax")], input_shape=6,
                     dtype="float64", seed=0)
    ax, _ = surface(bp.Trainer(net, loss="cross_entropy"), rows)
    labels = [text.get_text() for text in ax.figure.axes[1].get_yticklabels()]
    assert len(set(labels)) == len(labels) == 7


def test_directions_are_normalised_by_filters(rows):
    """Layers of relu that grow as much as the next one shrinks are the same function: they have the same surface."""
    net = bp.Network([bp.Dense(8, "relu"), bp.Dense(2, "softmax")], input_shape=6, dtype="float64", seed=0)
    trainer = bp.Trainer(net, loss="cross_entropy")
    _, bounds = surface(trainer, rows)
    assert surface(trainer, rows)[1] == bounds != surface(trainer, rows, seed=1)[1]
    net.parameters["0.weight"][...] *= 100
    net.parameters["1.weight"][...] /= 100
    np.testing.assert_allclose(surface(trainer, rows)[1], bounds, rtol=1e-9)


def test_path_of_training(fitted, rows):
    """Three points lie in a plane, so that their distances are the true ones; all of the path is within the picture."""
    trainer, path = fitted
    ax, _ = surface(trainer, rows, path=[path[0], path[2], path[-1]])
    places = drawn(ax, "path")
    true = np.linalg.norm(np.array([path[0], path[2], path[-1]]) - path[-1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), true, atol=1e-12)
    assert [line.get_label() for line in ax.lines] == ["path", "start", "now"]
    ax, _ = surface(trainer, rows, path=path)
    places = drawn(ax, "path")
    for low_high, values in ((ax.get_xlim(), places[:, 0]), (ax.get_ylim(), places[:, 1])):
        assert low_high[0] < values.min() and values.max() < low_high[1]


def test_surfaces_of_ill_networks(rows):
    """All weights zero: a plain. Weights so large that nothing is finite: nothing, and it says so."""
    for size, title in ((0.0, ""), (1e30, "white: the loss is not finite")):
        net = bp.Network([*[bp.Dense(8, "relu", initializer=bp.Constant(size))] * 3, bp.Dense(2, "softmax")],
                         input_shape=6)
        ax, _ = surface(bp.Trainer(net, loss="cross_entropy"), rows)
        assert ax.get_title() == title


def test_errors_of_error_surface(fitted, rows):
    trainer, path = fitted
    n = len(path[0])
    for wrong in (path[0], path[:1], [vector[:-1] for vector in path]):
        with pytest.raises(ValueError, match=f"two or more vectors of {n} parameters"):
            plots.error_surface(trainer, *rows, path=wrong)
    with pytest.raises(ValueError, match="n must be"):
        plots.error_surface(trainer, *rows, n=1)
    with pytest.raises(ValueError, match="span must"):
        plots.error_surface(trainer, *rows, span=0)
