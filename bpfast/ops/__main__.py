"""``python -m bpfast.ops`` prints every op and every layer: formula, shapes, source, and which backends run it."""

import argparse
import inspect
import re
import sys

import bpfast

from ..backends import BACKENDS, runs
from ..cli import status_of
from ..initializers import INITIALIZERS, Constant
from ..layers import Layer
from ..lbfgs import LBFGS
from ..regularizers import CLIPS, REGULARIZERS
from ..schedules import SCHEDULES
from . import ACTIVATIONS, LOSSES, UPDATES

OPS = (
    ("activations", "x (batch, n) -> y (batch, n)", ACTIVATIONS),
    ("losses", "y (batch, n_out), t (batch, n_out) or labels (batch,) -> (batch,)", LOSSES),
    ("updates", "g, w, slots (any shape) -> w, slots", UPDATES),
)
DESCRIPTIONS = (
    ("initializers", "shape -> weight (n_in, n_out) or kernel (..., c_in, c_out), drawn by NumPy for every backend", {"constant": Constant, **INITIALIZERS}),
    ("optimizers by SciPy", "E, dE/dw of all rows -> w, in every backend", {"LBFGS": LBFGS}),
    ("regularizers", "w, dE/dw (any shape) -> dE/dw, w, in every backend", REGULARIZERS),
    ("clipping", "dE/dw (any shape) -> dE/dw, in every backend", CLIPS),
    ("schedules", "progress t in epochs -> learning rate, for every backend", SCHEDULES),
)


def main(arguments=None):
    """Print the tables; return the exit status."""
    argparse.ArgumentParser(
        prog="python -m bpfast.ops",
        description="Print every formula: its name and hyperparameters, shapes, source, and the backends that run it.",
    ).parse_args(arguments)
    return status_of(print_tables)


def print_tables():
    for kind, shapes, table in OPS:
        print_section(kind, shapes, (
            (f"{op.name}({op.arguments})" if op.hyper else op.name, op.formula,
             ", ".join(name for name in BACKENDS if runs(name, op)), op.source)
            for op in table.values()
        ))  # fmt: skip
    print_section("layers", "x -> y, rows (n,), (length, channels) or (height, width, channels), in every backend",
                  described_layers())
    for kind, shapes, table in DESCRIPTIONS:
        print_section(kind, shapes, ((name, thing.formula, thing.source) for name, thing in table.items()))


def described_layers():
    """(name, formula, source) of every public layer: the first sentence of its docstring, and what follows "Source:"."""
    for name in bpfast.__all__:
        layer = getattr(bpfast, name)
        if inspect.isclass(layer) and issubclass(layer, Layer):
            text = inspect.getdoc(layer).replace("``", "")
            formula, source = re.match(r"(.+?)\.(?=\s|$)", text, re.S), re.search(r"Source: (.+?)\.?(?=\n\n|$)", text, re.S)
            yield name, *(" ".join(found[1].split()) if found else "" for found in (formula, source))


def print_section(kind, shapes, rows):
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"{kind}   {shapes}")
    for row in rows:
        print(f"  {'  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths)).rstrip()}")
    print()


if __name__ == "__main__":
    sys.exit(main())
