"""``python -m bpfast.ops`` prints every op: formula, shapes, source, and which backends run it."""

from ..backends import BACKENDS, runs
from . import ACTIVATIONS, LOSSES, UPDATES

SHAPES = {
    "activation": "x (batch, n) -> y (batch, n)",
    "loss": "y (batch, n_out), t -> (batch,)",
    "update": "g, w, slots (any shape) -> w, slots",
}


def main():
    for kind, table in zip(SHAPES, (ACTIVATIONS, LOSSES, UPDATES)):
        print(f"{kind}s   {SHAPES[kind]}")
        for op in table.values():
            where = ", ".join(name for name in BACKENDS if runs(name, op))
            print(f"  {op!r:<52} {op.formula:<46} {where:<22} {op.source}")
        print()


if __name__ == "__main__":
    main()
