"""What a diagnosis says: verdicts, the figures behind them, and cures."""

from collections.abc import Callable
from textwrap import fill, indent
from typing import NamedTuple

from ..description import Description
from ..network import Network
from .cures import network_code

WIDTH = 100  # of the printed lines


class Cure(NamedTuple):
    """What helps: in words, and as ``code`` to be pasted, which makes ``network`` or ``trainer``.

    ``change`` turns layers into those of the cured network; None where the network stays as it is.
    """

    words: str
    code: str
    change: Callable | None = None


class Verdict(NamedTuple):
    """An illness: its name, the layers it is in, words, the figures behind them, and the cures, the best one first."""

    name: str
    layers: tuple
    words: str
    figures: dict
    cures: tuple

    @property
    def line(self):
        """The verdict without its cures."""
        where = f" in {_listed(self.layers)}" if self.layers else ""
        figures = ", ".join(f"{name} {value:.3g}" for name, value in self.figures.items())
        return f"{self.name}{where}: {self.words} ({figures})"

    def __str__(self):
        cures = (f"  - {cure.words}:\n{indent(cure.code, ' ' * 6)}" for cure in self.cures)
        return "\n".join([fill(self.line, WIDTH), *cures])


class HealthReport(Description):
    """The outcome of ``Trainer.diagnose``; ``print(report)`` shows it, a paragraph per verdict.

    verdicts    tuple of Verdict, each with ``name``, ``layers``, ``words``, ``figures`` and ``cures``
    measured    what was seen of each layer, a NamedTuple of arrays (layers,)
    trainer     a copy of the Trainer, with its ``history`` and ``recording``
    rows        some of the rows that were looked at: X, y and their weights
    """

    __slots__ = ("verdicts", "measured", "trainer", "rows")

    def __init__(self, verdicts, measured, trainer, rows):
        self._set(verdicts=tuple(verdicts), measured=measured, trainer=trainer, rows=rows)

    @property
    def ok(self):
        """Whether nothing is wrong."""
        return not self.verdicts

    def cure(self, network):
        """-> a new Network, where the first cure of each verdict that changes layers is done; prints what it changed.

        Its weights are drawn anew, from the network's seed.  Without such a cure it is a copy; other cures are for the
        Trainer, and stand in the report as code.
        """
        layers, done = network.layers, []
        for verdict in self.verdicts:
            cure = next((cure for cure in verdict.cures if cure.change), None)
            if cure and cure.words not in done:
                layers, done = cure.change(layers), [*done, cure.words]
            print(f"{verdict.name}: {cure.words if cure else 'nothing that changes the network, see the report'}")
        if not done:
            return network.copy()
        cured = Network(layers, input_shape=network.input_shape, dtype=network.dtype, seed=network.seed)
        print(network_code(cured))
        return cured

    def save(self, file):
        """Write one page of HTML that needs no other file: the verdicts, their cures, and pictures of what was seen.

        It takes the place of what is at ``file`` when it is whole.  Raises ImportError where matplotlib is missing.
        """
        from .page import save

        save(self, file)

    def __str__(self):
        if self.ok:
            return "healthy: no verdict"
        return "\n\n".join(map(str, self.verdicts))

    def __repr__(self):
        return f"HealthReport({', '.join(verdict.name for verdict in self.verdicts) or 'healthy'})"

    def __eq__(self, other):
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


def _listed(layers):
    """The names of layers, of many the first and the last."""
    names = [f"{name!r}" for name in layers]
    shown = names if len(names) < 5 else [names[0], "...", names[-1]]
    return f"layer{'s' if len(names) > 1 else ''} {', '.join(shown)}"
