"""``python -m bpfast.ops`` prints every op: formula, shapes, source, and which backends run it."""

from ..backends import BACKENDS, runs
from ..initializers import INITIALIZERS, Constant
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
    ("initializers", "(n_in, n_out) -> weight (n_in, n_out), drawn by NumPy for every backend", {"constant": Constant, **INITIALIZERS}),
    ("optimizers by SciPy", "E, dE/dw of all rows -> w, in every backend", {"LBFGS": LBFGS}),
    ("regularizers", "w, dE/dw (any shape) -> dE/dw, w, in every backend", REGULARIZERS),
    ("clipping", "dE/dw (any shape) -> dE/dw, in every backend", CLIPS),
    ("schedules", "progress t in epochs -> learning rate, for every backend", SCHEDULES),
)


def main():
    for kind, shapes, table in OPS:
        print_section(kind, shapes, (
            (f"{op.name}({op.arguments})" if op.hyper else op.name, op.formula,
             ", ".join(name for name in BACKENDS if runs(name, op)), op.source)
            for op in table.values()
        ))  # fmt: skip
    for kind, shapes, table in DESCRIPTIONS:
        print_section(kind, shapes, ((name, thing.formula, thing.source) for name, thing in table.items()))


def print_section(kind, shapes, rows):
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"{kind}   {shapes}")
    for row in rows:
        print(f"  {'  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths)).rstrip()}")
    print()


if __name__ == "__main__":
    main()
