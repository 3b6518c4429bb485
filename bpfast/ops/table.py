"""What a row of formulas is, and the three tables of them."""

import math
from numbers import Real
from types import FunctionType


class Op:
    """A named formula with its hyperparameters.

    Calling it gives the same formula with other hyperparameters:
    ``ACTIVATIONS["leaky_relu"](slope=0.1)``.  Ops compare by value and pickle by name.
    ``table`` has those that are built in, ``written`` those that users wrote (custom.py).
    """

    table: dict = {}
    written: dict = {}
    function = None  # of numbers, from which a user made the op

    def __init__(self, name, hyper, formula, source, bounds=(), **parts):
        self.name, self.hyper, self.formula, self.source = name, dict(hyper), formula, source
        self.bounds = dict(bounds)  # hyperparameter -> the interval that it must lie in, such as "[0, 1)"
        self.__dict__.update(parts)

    def __call__(self, **hyper):
        unknown = sorted(set(hyper) - set(self.hyper))
        if unknown:
            known = ", ".join(self.hyper) or "none"
            raise TypeError(f"{self.name} has no hyperparameter {unknown[0]!r}; it has: {known}")
        for key, value in hyper.items():
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{self.name}: {key} must be a finite number, got {value!r}")
            if key in self.bounds and not within(value, self.bounds[key]):
                raise ValueError(f"{self.name}: {key} must lie in {self.bounds[key]}, got {value!r}")
        return self.with_parts(hyper={**self.hyper, **{k: float(v) for k, v in hyper.items()}})

    def with_parts(self, **parts):
        """The same row with other parts, such as its functions as a backend compiles them."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **parts)
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
        known = {**cls.table, **cls.written}
        if isinstance(given, str) and given in known:
            return known[given]
        kind = cls.__name__.lower()
        hint = f", or decorate your function with @bpfast.{kind}" if isinstance(given, FunctionType) else ""
        raise ValueError(f"unknown {kind} {given!r}; choose one of: {', '.join(known)}{hint}")


def _restore(cls, name, hyper):
    return cls.get(name)(**hyper)


def within(number, interval):
    """Whether a number lies in an interval such as "[0, 1)"."""
    low, high = map(float, interval[1:-1].split(","))
    return (low < number < high) or (number == low and interval[0] == "[") or (number == high and interval[-1] == "]")


class Activation(Op):
    """y = forward(x, *hyper) and dx = adjoint(dy, x, y, *hyper).

    ``keeps`` names what the adjoint reads ("x", "y" or "xy"), ``kinks`` the points without a first or a second
    derivative, ``initializer`` the draw of weights that suits it, ``range`` the closed interval (low, high) of its
    outputs, whatever the hyperparameters.
    A ``rowwise`` activation maps whole rows (batch, n); the others each element.
    Where an activation is not ``differentiable``, its adjoint is a learning rule and no derivative.
    """

    table: dict = {}
    written: dict = {}
    table_name = "ACTIVATIONS"

    def __init__(self, name, hyper, forward, adjoint, keeps, kinks, formula, source, rowwise=False,
                 initializer="glorot", range=(-math.inf, math.inf), differentiable=True):
        super().__init__(name, hyper, formula, source, forward=forward, adjoint=adjoint, keeps=keeps,
                         kinks=kinks, rowwise=rowwise, initializer=initializer, range=range,
                         differentiable=differentiable)

    @property
    def has_slopes(self):
        """Whether compiled code makes slopes with the values, of what a user wrote, and keeps these for x."""
        return self.function is not None and self.keeps == "x"


class Loss(Op):
    """value(y, t, *hyper) of one output, its derivative gradient(y, t, *hyper), and how the outputs of a row are reduced.

    ``reduction``: "sum" or "mean" over the outputs; None makes a rowwise loss, whose value (batch,) and gradient
    (batch, n_out) are functions of whole rows.  Over the batch, losses are averaged.
    ``targets``: what t holds: "labels" (batch,), or for each output a number: "reals", "unit" (0 <= t <= 1),
    "nonnegative" or "signs" (-1 or +1).
    ``domain``: the closed interval (low, high) in which y must lie; ``distribution``: and the outputs of a row sum to 1.
    ``fuses``: the (activation, loss) that this row computes in one pass; it reads the activation's input (logits) as y.
    ``kinks(y, t, *hyper)`` is 0 where the value is not smooth; None: it is smooth everywhere.
    """

    table: dict = {}
    written: dict = {}
    table_name = "LOSSES"

    def __init__(self, name, hyper, value, gradient, targets, formula, source, reduction=None,
                 domain=(-math.inf, math.inf), distribution=False, fuses=None, kinks=None, bounds=()):
        super().__init__(name, hyper, formula, source, bounds, value=value, gradient=gradient, targets=targets,
                         reduction=reduction, domain=domain, distribution=distribution, fuses=fuses, kinks=kinks)

    @property
    def labels(self):
        """Whether the targets are class labels."""
        return self.targets == "labels"

    @property
    def rowwise(self):
        """Whether value and gradient are functions of whole rows."""
        return self.reduction is None

    @property
    def pair(self):
        """The (activation, loss) that belong together and are fused, where this loss is one of them or None."""
        fused = [row for row in self.table.values() if row.fuses]
        return next((row.fuses for row in fused if self.name in (row.name, row.fuses[1])), None)

    def per_row(self, y, t):
        """-> (batch,), the loss of every row."""
        value = self.value(y, t, *self.values)
        return value if self.rowwise else getattr(value, self.reduction)(axis=-1)

    def delta(self, y, t):
        """-> (batch, n_out), the derivative of each row's loss with respect to its outputs."""
        gradient = self.gradient(y, t, *self.values)
        return gradient / y.shape[-1] if self.reduction == "mean" else gradient

    def accepts(self, activation):
        """Whether the outputs of this activation may be this loss's y."""
        if self.fuses:
            return activation.name == "linear"
        inside = self.domain[0] <= activation.range[0] and activation.range[1] <= self.domain[1]
        return inside and (activation.rowwise or not self.distribution)

    def fused_with(self, activation):
        """The row that computes this loss and the activation before it in one pass, or None."""
        return next((row(**self.hyper) for row in self.table.values() if row.fuses == (activation.name, self.name)), None)


class Update(Op):
    """One step of an optimizer on every parameter: ``w, *slots = rule(g, w, *slots, *coefficients)``.

    ``coefficients(t, learning_rate, *hyper)`` gives the scalars of step t = 1, 2, ..., in double precision.
    """

    table: dict = {}
    written: dict = {}
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
