"""Pictures. matplotlib is imported when a picture is drawn; its global state is left alone."""

BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by every kind of eye (Okabe and Ito 2008)


def learning_curves(history, ax=None, *, metric="loss"):
    """Draw one quantity over the epochs: training data, and validation data where `history` has them.

    history  a History; `history[metric]` and `history["val_" + metric]` are drawn, as far as they are there
    ax       matplotlib Axes to draw on; a new Figure of 6.4 x 4.8 inches is made without one
    metric   "loss", drawn on a logarithmic axis, or "accuracy", drawn in percent
    ->       the Axes; `learning_curves(history).figure.savefig("curves.png")` writes the picture
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    keys = [key for key in (metric, f"val_{metric}") if key in history]
    if not keys:
        raise KeyError(f"no {metric!r} in {history!r}")
    if ax is None:
        ax = Figure(figsize=(6.4, 4.8), layout="constrained").add_subplot()
    for key in keys:
        label, colour, dash = ("training", BLUE, "-") if key == metric else ("validation", ORANGE, "--")
        values = history[key]
        epochs = range(1, len(values) + 1)
        marker = "o" if len(values) == 1 else None  # a line of one point cannot be seen
        ax.plot(epochs, values, dash, color=colour, marker=marker, linewidth=2.5, label=label)
    if metric == "loss":
        ax.set_yscale("log")
    elif metric == "accuracy":
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
    ax.set_xlabel("epoch", fontsize=15)
    ax.set_ylabel(metric, fontsize=15)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(which="both", labelsize=13)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=14)
    return ax
