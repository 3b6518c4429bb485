"""Pictures. matplotlib is imported when a picture is drawn; its global state is left alone."""

import copy
from itertools import pairwise

import numpy as np

from .data import check_integer, check_real
from .extras import need
from .ops.table import Activation

BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by every kind of eye (Okabe and Ito 2008)
FROM_INPUT, SURFACE = "viridis", "cividis"  # maps whose lightness grows, for every kind of eye too
MOST_NAMES = 20  # of layers along an axis; of more, some are left out
QUANTITIES = {  # of layers -> the label of their axis, with the unit, and its scale
    "gradient_norm": ("norm of the gradient", "log"),
    "weight_norm": ("norm of the weights", "log"),
    "update_norm": ("norm of the update", "log"),
    "update_ratio": ("norm of the update / norm of the weights", "log"),
    "gradient_angle": ("angle to the last gradient (degrees)", "linear"),
    "activation_mean": ("mean activation", "linear"),
    "activation_std": ("deviation of the activation", "log"),
    "pre_activation_mean": ("mean pre-activation", "linear"),
    "pre_activation_std": ("deviation of the pre-activation", "log"),
    "saturated": ("saturated units", "share"),
    "dead": ("dead units", "share"),
}


def learning_curves(history, ax=None, *, metric="loss"):
    """Draw one quantity over the epochs: training data, and validation data where `history` has them.

    history  a History; `history[metric]` and `history["val_" + metric]` are drawn, as far as they are there
    ax       matplotlib Axes to draw on; a new Figure of 6.4 x 4.8 inches is made without one
    metric   "loss", on a logarithmic axis as far as it is positive; "accuracy", in percent; or any other
    ->       the Axes; `learning_curves(history).figure.savefig("curves.png")` writes the picture
    """
    keys = [key for key in (metric, f"val_{metric}") if key in history]
    if not keys:
        raise KeyError(f"no {metric!r} in {history!r}")
    ax = ax or _new_axes()
    for key in keys:
        label, colour, dash = ("training", BLUE, "-") if key == metric else ("validation", ORANGE, "--")
        values = history[key]
        epochs = range(1, len(values) + 1)
        marker = "o" if len(values) == 1 else None  # a line of one point cannot be seen
        ax.plot(epochs, values, dash, color=colour, marker=marker, linewidth=2.5, label=label)
    if metric == "loss" and not any((history[key] <= 0).any() for key in keys):
        ax.set_yscale("log")
        _number_short_log_axis(ax)
    elif metric == "accuracy":
        ax.yaxis.set_major_formatter(_percent)
    ax.xaxis.set_major_locator(need("matplotlib.ticker", "a plot").MaxNLocator(integer=True))
    ax.legend(fontsize=14)
    return _labelled(ax, "epoch", metric)


def learning_rate_curve(test, ax=None):
    """Draw the losses of a LearningRateTest over its rates, smoothed and as they were, and what it suggests."""
    ax = ax or _new_axes()
    ax.plot(test.rates, test.losses, color=BLUE, alpha=0.3, linewidth=1, label="each step")
    ax.plot(test.rates, test.smoothed, color=BLUE, linewidth=2.5, label="smoothed")
    ax.axvline(test.suggestion, color=ORANGE, linestyle="--", linewidth=2.5, label=f"suggestion {test.suggestion:.2g}")
    ax.set_xscale("log")
    ax.legend(fontsize=14)
    return _labelled(ax, "learning rate", "loss")


def gradient_by_layer(measured, ax=None):
    """Draw the norm of the gradient of every layer, from the input to the output.

    measured  has `layers`, their names, and `gradient_norm` (layers,)
    ->        the Axes; a norm of 0, which a logarithmic axis has not, lies on the dotted line at its foot
    """
    ax = ax or _new_axes()
    places = np.arange(len(measured.layers))
    _on_log_axis(ax, places, np.asarray(measured.gradient_norm, float)[:, None], [{"color": BLUE, "marker": "o"}])
    named = places[:: -(-len(places) // MOST_NAMES)]
    names = [str(measured.layers[place]) for place in named]
    ax.set_xticks(named, names, rotation=90 if sum(map(len, names)) > 40 else 0, parse_math=False)
    return _labelled(ax, "layer, from the input to the output", QUANTITIES["gradient_norm"][0])


def norms_over_time(recording, ax=None, *, quantity="gradient_norm"):
    """Draw a quantity of every layer over the steps of training, the layers from dark, the input, to light.

    recording  has `steps` (records,), `layers`, their names, and the quantity (records, layers)
    quantity   "gradient_norm", "weight_norm", "update_norm" or any other of `QUANTITIES`
    ->         the Axes, beside them a bar that names the colours; norms of 0 lie on the dotted line at the foot
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity must be one of {', '.join(QUANTITIES)}; got {quantity!r}")
    label, scale = QUANTITIES[quantity]
    ax = ax or _new_axes(width=8)
    colours = _colours(len(recording.layers))
    values = np.asarray(getattr(recording, quantity), float)
    styles = [{"color": colour, "label": str(layer)} for colour, layer in zip(colours, recording.layers)]
    if scale == "log":
        _on_log_axis(ax, recording.steps, values, styles)
    else:
        for column, style in zip(values.T, styles):
            _line(ax, recording.steps, column, style)
    if scale == "share":
        ax.set_ylim(-0.02, 1.02)
        ax.yaxis.set_major_formatter(_percent)
    _name_colours(ax, recording.layers, colours)
    return _labelled(ax, "step", label)


def activation_histograms(network, X, axes=None):
    """Draw how the values of every activation are distributed, and those of the output, each on Axes of its own.

    network  a Network; an activation is named by its layer
    X        (n, *input_shape), some hundred rows: all values are in memory together
    axes     as many Axes as there are activations; a new Figure has them in rows of up to 4 without these
    ->       a list of the Axes, whose titles tell mean and standard deviation; they go over the whole range of an
             activation that has bounds, so that saturation shows
    """
    values = network.activations(X)[1:]
    steps = network.program.instructions
    shown = [pair for pair in zip(steps, values) if pair[0].activation.name != "linear" or pair[0] is steps[-1]]
    axes = _grid(len(shown)) if axes is None else list(np.ravel(axes))
    if len(axes) != len(shown):
        raise ValueError(f"this network has {len(shown)} activations to draw, got {len(axes)} Axes")
    for ax, (step, value) in zip(axes, shown):
        finite = value[np.isfinite(value)].astype(float)
        bounds = step.activation.range if np.isfinite(step.activation.range).all() else None
        if bounds is None and finite.size and np.ptp(finite) <= 1e-9 * np.abs(finite).max():  # too narrow for 40 bars
            middle = finite.mean()
            bounds = middle + max(0.5, 1e-6 * abs(middle)) * np.array([-1, 1])
        counts, edges = np.histogram(finite, 40, bounds)
        ax.stairs(counts / value.size, edges, fill=True, color=BLUE)
        ax.yaxis.set_major_formatter(_percent)
        ax.locator_params(nbins=4)
        ax.set_ylim(0, None if finite.size else 1)
        lines = [f"layer {step.layer}, {step.activation.name}"]
        if finite.size:
            lines.append(f"mean {finite.mean():.2g}, std {finite.std():.2g}")
        if finite.size < value.size:
            lines.append(f"{100 - 100 * finite.size / value.size:.2g} % not finite")
        ax.set_title("\n".join(lines), fontsize=13, parse_math=False)
        ax.set_xlabel("activation", fontsize=13)
        ax.set_ylabel("share", fontsize=13)
        ax.tick_params(labelsize=12)
    return axes


def activation_curve(activation, ax=None):
    """Draw an activation f(x) and its derivative over -4 <= x <= 4, with the kinks of f.

    activation  a name of `bpfast.ACTIVATIONS`, one with hyperparameters, or one that was written
    ->          the Axes; of `step`, which has no derivative, they show the rule by which it learns
    """
    activation = Activation.get(activation)
    if activation.rowwise:
        raise ValueError(f"{activation.name} is a function of whole rows, not of a number: it has no curve to draw")
    ax = ax or _new_axes()
    ends = [-4.0, *sorted(kink for kink in activation.kinks if -4 < kink < 4), 4.0]
    # A line ends just before a kink, where the derivative may jump, and begins again behind it.
    pieces = [np.append(np.linspace(low + 1e-9, high - 1e-9, 401), np.nan) for low, high in pairwise(ends)]
    x = np.concatenate(pieces)
    y = activation.forward(x, *activation.values)
    slope = activation.adjoint(np.ones_like(x), x, y, *activation.values)
    ax.plot(x, y, color=BLUE, linewidth=2.5, label="f(x)")
    ax.plot(x, np.where(np.isnan(x), x, slope), "--", color=ORANGE, linewidth=2.5,
            label="f'(x)" if activation.differentiable else "in place of f'(x)")
    for kink in ends[1:-1]:
        ax.axvline(kink, color="black", linestyle=":", linewidth=1.5, label="kink" if kink == ends[1] else None)
    ax.set_title(f"{activation.name}: {activation.formula}", fontsize=13, parse_math=False, wrap=True)
    ax.legend(fontsize=14)
    return _labelled(ax, "x", "f(x) and its slope")


def error_surface(trainer, X, y, ax=None, *, path=None, n=25, span=None, seed=0):
    """Draw the loss around a network in a plane through its parameters w: E(w + a d1 + b d2).

    Without a path d1 and d2 are drawn from the seed, normal, then scaled filter by filter to the norms of w; biases
    stay as they are.  With one they are its two principal directions, of norm 1: in random directions the whole path
    would look like a point.

    trainer  stays as it is; its network, built, is the middle of the plane, statistics included
    X, y     as for `Trainer.evaluate`; some hundred rows will do
    path     (k, n_parameters), k >= 2: what `network.to_vector()` gave in the course of training, from a callback
    n        the loss is computed at n x n places
    span     a and b go from -span to span, without a path: 1; with one they go as far as the path and a little more
    ->       the Axes, beside them a bar of the loss

    Source: Li, Xu, Taylor, Studer & Goldstein 2018, sections 4 and 7.
    """
    n = check_integer(n, "n", 2)
    span = None if span is None else check_real(span, "span", "(0, inf)")
    trainer = copy.deepcopy(trainer)
    network = trainer.network
    network.inputs(X)
    here = network.to_vector().astype(float)
    if path is None:
        rng = np.random.default_rng(seed)
        directions = np.array([_filter_normalised(network, rng) for _ in range(2)])
        names = [f"random direction {k}\n(1 = norm of the weights)" for k in (1, 2)]
        middle, places = np.zeros(2), np.zeros((1, 2))
    else:
        moved = _check_path(path, here) - here
        _, sizes, directions = np.linalg.svd(moved, full_matrices=False)
        directions, shares = directions[:2], sizes[:2] ** 2 / max((sizes**2).sum(), 1e-300)
        names = [f"distance along direction {k}\n({share:.0%} of the path)" for k, share in zip((1, 2), shares)]
        places = moved @ directions.T
        middle = (places.min(0) + places.max(0)) / 2
    span = span or (1.0 if path is None else 0.7 * np.ptp(places, axis=0).max() or 1.0)
    a, b = (np.linspace(-span, span, n) + m for m in middle)
    losses = np.empty((n, n))
    for row, column in np.ndindex(n, n):
        network.from_vector(here + np.array([a[column], b[row]]) @ directions)
        losses[row, column] = trainer.evaluate(X, y)["loss"]
    ax = ax or _new_axes()
    _contours(ax, a, b, losses, f"loss ({trainer.loss.name})")
    halo = [need("matplotlib.patheffects", "a plot").withStroke(linewidth=4, foreground="white")]
    if path is not None:
        ax.plot(*places.T, ".-", color=ORANGE, linewidth=2, path_effects=halo, label="path")
    for name, marker, place in (("start", "o", places[0]), ("now", "*", (0, 0)))[path is None :]:
        ax.plot(*place, marker, color=ORANGE, markersize=16, markeredgecolor="white", label=name)
        shift = 12 if place[1] > places[:, 1].mean() else -24  # away from the path
        ax.annotate(name, place, (0, shift), textcoords="offset points", fontsize=14, horizontalalignment="center",
                    path_effects=halo)
    ax.set_xlabel(names[0], fontsize=13)
    ax.set_ylabel(names[1], fontsize=13)
    ax.tick_params(labelsize=12)
    return ax


def _filter_normalised(network, rng):
    """-> a random direction like `to_vector`: every filter, the weights of one output, has the norm of the network's.

    What is no weight, such as biases, has no part in it.
    """
    direction = []
    for array in network.parameters.values():
        filters = array.reshape(-1, array.shape[-1]).astype(float)
        drawn = rng.normal(size=filters.shape)
        scale = np.linalg.norm(filters, axis=0) / np.linalg.norm(drawn, axis=0)
        direction.append((drawn * scale * (array.ndim > 1)).ravel())
    return np.concatenate(direction)


def _check_path(path, here):
    path = np.asarray(path, float)
    if path.ndim != 2 or path.shape[1] != len(here) or len(path) < 2:
        raise ValueError(f"path must have two or more vectors of {len(here)} parameters as rows, as "
                         f"network.to_vector() gives them, got an array of shape {path.shape}")
    return path


def _contours(ax, x, y, z, label):
    """Areas of like loss, on a logarithmic scale as far as it is positive; white where it is not finite."""
    colors = need("matplotlib.colors", "a plot")
    z = np.ma.masked_invalid(z)
    low, high = (z.min(), z.max()) if z.count() else (0.0, 1.0)
    positive = low > 0
    if high - low <= 1e-9 * abs(high):
        high = low + 1  # a plain
    levels = np.geomspace(low, high, 25) if positive else np.linspace(low, high, 25)
    levels[-1] = np.nextafter(high, np.inf)  # so that the highest place is within
    norm = colors.LogNorm(low, high) if positive else colors.Normalize(low, high)
    drawn = ax.contourf(x, y, z, levels, cmap=SURFACE, norm=norm)
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_ticks(levels[::4], labels=_told_apart(levels[::4]))
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=12)
    bar.set_label(label, fontsize=15)
    if z.count() < z.size:
        ax.set_title("white: the loss is not finite", fontsize=13)


def _told_apart(numbers):
    """-> texts of numbers, with three digits, or as many as they need to differ."""
    digits = next(n for n in range(3, 18) if len({f"{x:.{n}g}" for x in numbers}) == len(numbers))
    return [f"{x:.{digits}g}" for x in numbers]


def _on_log_axis(ax, x, values, styles):
    """A line for every column of values (n, lines); what is 0 lies on a dotted line below all that is not."""
    ax.set_yscale("log")
    positive = values[np.isfinite(values) & (values > 0)]
    foot = positive.min() / 10 if positive.size else 1.0
    for column, style in zip(values.T, styles):
        _line(ax, x, np.where(column == 0, foot, column), style)
    if (values == 0).any():
        ax.axhline(foot, color="black", linestyle=":", linewidth=1.5)
        ax.annotate("zero", (1, foot), (-6, 8), ("axes fraction", "data"), "offset points", fontsize=14,
                    horizontalalignment="right")
    if positive.size:
        _number_short_log_axis(ax)
    else:
        ax.set_yticks([])  # there is no number to name
        ax.set_yticks([], minor=True)


def _number_short_log_axis(ax):
    """Plain numbers along a logarithmic axis of less than two decades, where powers of ten are two, one or none."""
    low, high = ax.get_ylim()
    if high < 100 * low:
        ticker = need("matplotlib.ticker", "a plot")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:.6g}")
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def _line(ax, x, y, style):
    ax.plot(x, y, **{"linewidth": 2, "marker": "o" if len(y) == 1 else None, **style})


def _colours(n):
    """-> (n, 4), colours of layers: dark at the input, and never so light that white paper hides them."""
    return need("matplotlib", "a plot").colormaps[FROM_INPUT](np.linspace(0, 0.8, n))


def _name_colours(ax, layers, colours):
    """A bar of the colours beside the Axes, with the names of the layers: it covers no line, however many there are."""
    cm, colors = need("matplotlib.cm", "a plot"), need("matplotlib.colors", "a plot")
    n = len(layers)
    norm = colors.BoundaryNorm(np.arange(n + 1) - 0.5, n)
    bar = ax.figure.colorbar(cm.ScalarMappable(norm, colors.ListedColormap(colours)), ax=ax)
    named = range(0, n, -(-n // MOST_NAMES))
    bar.set_ticks(list(named), labels=[str(layers[place]) for place in named], parse_math=False)
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=12, length=0)
    bar.set_label("layer, from the input up", fontsize=13)


def _percent(share, _):
    return f"{100 * share:.4g} %"


def _grid(n):
    """-> n Axes of a new Figure, in rows of up to 4."""
    columns = min(n, 4)
    rows = -(-n // columns)
    figure = need("matplotlib.figure", "a plot").Figure(figsize=(3.4 * columns, 3 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[n:]:
        empty.remove()
    return axes[:n]


def _new_axes(width=6.4):
    return need("matplotlib.figure", "a plot").Figure(figsize=(width, 4.8), layout="constrained").add_subplot()


def _labelled(ax, x, y):
    ax.set_xlabel(x, fontsize=15)
    ax.set_ylabel(y, fontsize=15)
    ax.tick_params(which="both", labelsize=13)
    ax.grid(alpha=0.3)
    return ax
