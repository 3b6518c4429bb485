"""Pictures. matplotlib is imported when a picture is drawn; its global state is left alone."""

BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by every kind of eye (Okabe and Ito 2008), and in grey by dash


def learning_curves(history, ax=None, *, metric="loss"):
    """Draw one quantity over the epochs: training data, and validation data where `history` has them.

    history  a History; `history[metric]` and `history["val_" + metric]`, as far as they are there
    ax       matplotlib Axes to draw on; a new Figure of 6.4 x 4.8 inches is made without one
    metric   "loss", drawn on a logarithmic axis, or a metric such as "accuracy", drawn in percent if it is one
    ->       the Axes; `learning_curves(history).figure.savefig("curves.png")` writes the picture
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    if ax is None:
        ax = Figure(figsize=(6.4, 4.8), layout="constrained").add_subplot()
    curves = [("training", metric, BLUE, "-"), ("validation", f"val_{metric}", ORANGE, "--")]
    for label, key, colour, dash in curves:
        if key in history:
            values = history[key]
            ax.plot(range(1, len(values) + 1), values, dash, color=colour, linewidth=2.5, label=label)
    if metric == "loss":
        ax.set_yscale("log")
    elif metric == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.set_xlabel("epochs", fontsize=15)
    ax.set_ylabel(metric, fontsize=15)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(labelsize=13)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=14)
    return ax
