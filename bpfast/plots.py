"""Pictures. matplotlib is imported when a picture is drawn; its global state is left alone."""

from .extras import need

BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by every kind of eye (Okabe and Ito 2008)


def learning_curves(history, ax=None, *, metric="loss"):
    """Draw one quantity over the epochs: training data, and validation data where `history` has them.

    history  a History; `history[metric]` and `history["val_" + metric]` are drawn, as far as they are there
    ax       matplotlib Axes to draw on; a new Figure of 6.4 x 4.8 inches is made without one
    metric   "loss", on a logarithmic axis as far as it is positive; "accuracy", in percent; or any other
    ->       the Axes; `learning_curves(history).figure.savefig("curves.png")` writes the picture
    """
    ticker = need("matplotlib.ticker", "a plot")
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
    elif metric == "accuracy":
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    return _labelled(ax, "epoch", metric)


def learning_rate_curve(test, ax=None):
    """Draw the losses of a LearningRateTest over its rates, smoothed and as they were, and what it suggests."""
    ax = ax or _new_axes()
    ax.plot(test.rates, test.losses, color=BLUE, alpha=0.3, linewidth=1, label="each step")
    ax.plot(test.rates, test.smoothed, color=BLUE, linewidth=2.5, label="smoothed")
    ax.axvline(test.suggestion, color=ORANGE, linestyle="--", linewidth=2.5, label=f"suggestion {test.suggestion:.2g}")
    ax.set_xscale("log")
    return _labelled(ax, "learning rate", "loss")


def _new_axes():
    return need("matplotlib.figure", "a plot").Figure(figsize=(6.4, 4.8), layout="constrained").add_subplot()


def _labelled(ax, x, y):
    ax.set_xlabel(x, fontsize=15)
    ax.set_ylabel(y, fontsize=15)
    ax.tick_params(which="both", labelsize=13)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=14)
    return ax
