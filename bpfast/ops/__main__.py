"""``python -m bpfast.ops`` prints every op: formula, shapes, source, and which backends run it."""

from ..backends import BACKENDS, runs
from ..initializers import INITIALIZERS
from . import ACTIVATIONS, LOSSES, UPDATES

TABLES = (
    ("activations", "x (batch, n) -> y (batch, n)", ACTIVATIONS),
    ("losses", "y (batch, n_out), t (batch, n_out) or labels (batch,) -> (batch,)", LOSSES),
    ("updates", "g, w, slots (any shape) -> w, slots", UPDATES),
)


def main():
    for kind, shapes, table in TABLES:
        print(f"{kind}   {shapes}")
        for op in table.values():
            signature = f"{op.name}({op.arguments})" if op.hyper else op.name
            print_row(signature, op.formula, ", ".join(name for name in BACKENDS if runs(name, op)), op.source)
    print("initializers   (n_in, n_out) -> weight (n_in, n_out)")
    for name, initializer in INITIALIZERS.items():
        print_row(name, initializer.formula, "all, drawn by NumPy", initializer.source)


def print_row(name, formula, backends, source):
    print(f"  {name:<44} {formula:<46} {backends:<21} {source}")


if __name__ == "__main__":
    main()
