"""A HealthReport as one page of HTML, which needs no network, no script and no other file."""

import base64
import io
from html import escape
from string import Template

import numpy as np

from .. import __version__, plots, whole

DOTS_PER_INCH = 150
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color: #222; background: #fff }
section { border-left: 0.3rem solid #D55E00; padding: 0.1rem 1rem; margin: 1.5rem 0 }
h2, h3 { line-height: 1.2 }
h2 + p::first-letter { text-transform: uppercase }
th { text-align: left; font-weight: normal; padding-right: 2rem; vertical-align: top; min-width: 8rem }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
pre { background: #f3f3f3; padding: 0.7rem 1rem; font-size: 0.85rem; white-space: pre-wrap; overflow-wrap: anywhere }
figure { margin: 2rem 0 }
figcaption { margin-bottom: 0.7rem }
img { max-width: 100%; height: auto }
footer { color: #666 }
</style>
</head>
<body>
<h1>$title</h1>
$verdicts
$pictures
<footer>bpfast $version</footer>
</body>
</html>
""")
SECTION = Template("""<section>
<h2>$name</h2>
<p>$words</p>
<table>
$rows
</table>
$cures
</section>""")
FIGURE = Template("""<figure>
<figcaption>$caption</figcaption>
<img alt="$caption" width="$width" src="data:image/png;base64,$data">
</figure>""")


def save(report, file):
    """Write a HealthReport to a file, as one page: verdicts with figures and cures, then pictures of what it saw."""
    n = len(report.verdicts)
    title = f"{n} finding{'s' * (n > 1)} on this network" if n else "No illness was found in this network"
    pictures = [_figure(caption, axes) for caption, axes in _pictures(report)]
    page = PAGE.substitute(
        title=title,
        verdicts="\n".join(map(_section, report.verdicts)),
        pictures="\n".join(["<h2>Pictures</h2>", *pictures] if pictures else ()),
        version=__version__,
    )
    whole.write(file, page.encode())


def _section(verdict):
    """What one verdict says."""
    figures = {"layers": verdict.layers} if verdict.layers else {}
    rows = [f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(_text(value))}</td></tr>"
            for name, value in {**figures, **verdict.figures}.items()]
    cures = [f"<p>{escape(cure.words)}</p>\n<pre><code>{escape(cure.code)}</code></pre>" for cure in verdict.cures]
    heading = ["<h3>What to try</h3>"] if cures else []
    return SECTION.substitute(name=escape(verdict.name.capitalize()), words=escape(verdict.words), rows="\n".join(rows),
                              cures="\n".join(heading + cures))


def _text(value):
    """A figure as text: numbers to four digits, several with commas between them."""
    if isinstance(value, (tuple, list, np.ndarray)):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _pictures(report):
    """Yield the caption of each picture and its Axes, of which there may be several in one Figure."""
    trainer, (X, y, _) = report.trainer, report.rows
    yield ("The norm of the gradient of every layer's weights. Where it falls towards the input by orders of "
           "magnitude, the first layers do not learn; where it rises as much, the steps are too large for them.",
           plots.gradient_by_layer(report.measured))
    if trainer.history:
        yield "The loss over the epochs.", plots.learning_curves(trainer.history)
    if trainer.recording is not None:
        for quantity, caption in (
            ("gradient_norm", "The norm of the gradient of every layer over the steps of training."),
            ("update_norm", "The norm of the update of every layer. About a thousandth of the norm of the weights is a "
                            "good size, as a rule of thumb."),
        ):
            yield caption, plots.norms_over_time(trainer.recording, quantity=quantity)
    yield ("How the values of every activation are distributed. A sigmoid or tanh with all its values at the ends is "
           "saturated, a relu with zeros alone is dead. Where there is hardly any spread, or bars stand apart, a layer "
           "makes the same of every row.",
           plots.activation_histograms(trainer.network, X)[0])
    for activation in dict.fromkeys(i.activation for i in trainer.network.program.instructions):
        if not activation.rowwise and activation.name != "linear":
            yield (f"The activation {activation.name} and its derivative, by which it multiplies the gradient.",
                   plots.activation_curve(activation))
    yield ("The loss around the network, along two random directions that are as long, filter by filter, as its "
           "weights (Li et al. 2018). Where it is flat, no step changes anything.",
           plots.error_surface(trainer, X, y))


def _figure(caption, ax):
    """A picture with its caption, as large on the page as it was drawn."""
    file, figure = io.BytesIO(), ax.figure
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return FIGURE.substitute(caption=escape(caption), width=round(96 * figure.get_figwidth()),
                             data=base64.b64encode(file.getvalue()).decode())
