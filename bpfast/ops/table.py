"""What a row of formulas is, and the three tables of them."""

import math
from numbers import Real


class Op:
    """A named formula with its hyperparameters.

    Calling it gives the same formula with other hyperparameters:
    ``ACTIVATIONS["leaky_relu"](slope=0.1)``.  Ops compare by value and pickle by name.
    """

    table: dict = {}

    def __init__(self, name, hyper, formula, source, **parts):
        self.name, self.hyper, self.formula, self.source = name, dict(hyper), formula, source
        self.__dict__.update(parts)

    def __call__(self, **hyper):
        unknown = sorted(set(hyper) - set(self.hyper))
        if unknown:
            known = ", ".join(self.hyper) or "none"
            raise TypeError(f"{self.name} has no hyperparameter {unknown[0]!r}; it has: {known}")
        for key, value in hyper.items():
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{self.name}: {key} must be a finite number, got {value!r}")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, hyper={**self.hyper, **{k: float(v) for k, v in hyper.items()}})
        return other

    @property
    def values(self):
        """The hyperparameters as a tuple, in the order in which the formula takes them."""
        return tuple(self.hyper.values())

    def __eq__(self, other):
        return type(self) is type(other) and (self.name, self.hyper) == (other.name, other.hyper)

    def __hash__(self):
        return hash((self.name, self.values))

    def __repr__(self):
        if self == self.table.get(self.name):
            return repr(self.name)
        return f"{self.table_name}[{self.name!r}]({self.arguments})"

    @property
    def arguments(self):
        """The hyperparameters as they are written in a call."""
        return ", ".join(f"{name}={value!r}" for name, value in self.hyper.items())

    def __reduce__(self):
        return _restore, (type(self), self.name, self.hyper)

    @classmethod
    def get(cls, given):
        """The op meant by a name or an op; the error lists the names there are."""
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given in cls.table:
            return cls.table[given]
        kind = cls.__name__.lower()
        raise ValueError(f"unknown {kind} {given!r}; choose one of: {', '.join(cls.table)}")


def _restore(cls, name, hyper):
    return cls.get(name)(**hyper)


class Activation(Op):
    """y = forward(x, *hyper) and dx = adjoint(dy, x, y, *hyper).

    ``keeps`` names what the adjoint reads ("x", "y" or "xy"), ``kinks`` the points without a derivative,
    ``initializer`` the draw of weights that suits it.
    A ``rowwise`` activation maps whole rows (batch, n); the others each element.
    """

    table: dict = {}
    table_name = "ACTIVATIONS"

    def __init__(self, name, hyper, forward, adjoint, keeps, kinks, formula, source, rowwise=False,
                 initializer="glorot"):
        super().__init__(name, hyper, formula, source, forward=forward, adjoint=adjoint, keeps=keeps,
                         kinks=kinks, rowwise=rowwise, initializer=initializer)


class Loss(Op):
    """value(y, t, *hyper) per row, averaged over the batch, and its gradient with respect to y.

    A loss that ``fuses`` with an output activation reads that activation's input (the logits) as y.
    ``labels``: the targets are class labels (batch,), otherwise numbers (batch, n_out).
    """

    table: dict = {}
    table_name = "LOSSES"

    def __init__(self, name, hyper, value, gradient, fuses, labels, formula, source):
        super().__init__(name, hyper, formula, source, value=value, gradient=gradient, fuses=fuses, labels=labels)

    @property
    def targets(self):
        """What the targets are: "labels" or "reals"."""
        return "labels" if self.labels else "reals"


class Update(Op):
    """One step of an optimizer on every parameter: ``w, *slots = rule(g, w, *slots, *coefficients)``.

    ``coefficients(t, learning_rate, *hyper)`` gives the scalars of step t = 1, 2, ..., in double precision.
    """

    table: dict = {}
    table_name = "UPDATES"

    def __init__(self, name, hyper, slots, coefficients, rule, formula, source):
        super().__init__(name, hyper, formula, source, slots=slots, coefficients=coefficients, rule=rule)


ACTIVATIONS, LOSSES, UPDATES = Activation.table, Loss.table, Update.table


def fill(table, rows):
    """Enter rows into their table; a name may stand once."""
    for row in rows:
        if row.name in table:
            raise ValueError(f"{row.name} stands twice in its table")
        table[row.name] = row
