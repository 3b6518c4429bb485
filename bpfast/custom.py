"""User-written activations, losses and optimizers: a plain function of numbers becomes an op that every backend runs.

The function takes and returns single numbers.  It may use math, NumPy's functions of numbers, branches, min, max, abs,
powers, helper functions of the same kind, and numbers from its surroundings.  The numpy backend applies it as it is;
the others compile it, which needs Numba.
"""

import importlib
import importlib.util
import inspect
import math

import numpy as np

from . import definition, source
from .data import check_real
from .lifting import lifted
from .ops import ACTIVATIONS, dual
from .ops.rewire import plain_function, positional, rewired
from .ops.table import Activation, Loss, Update
from .optimizers import INTERVALS, Optimizer
from .schedules import Schedule

MOST_SLOTS, MOST_HYPER, MOST_COEFFICIENTS = 3, 5, 16  # that kernels take


# -- the decorators ----------------------------------------------------------------------------------


def activation(function=None, *, kinks=(), initializer="glorot"):
    """Make an activation of ``f(x, **hyperparameters)``, a function of a number.

    The derivative is found by dual numbers, or is ``@f.derivative``, a function of the same arguments.

    Parameters
    ----------
    kinks : number, or several
        Where f has no derivative; the gradient check looks elsewhere.
    initializer : str
        The draw of weights that suits it, a name of ``bpfast.initializers.INITIALIZERS``.

    Examples
    --------
    >>> import math, bpfast as bp
    >>> @bp.activation
    ... def swish(x, beta=1.5):
    ...     return x / (1 + math.exp(-beta * x))
    >>> bp.Dense(8, swish), bp.Dense(8, swish(beta=1)), bp.Dense(8, "swish")
    (Dense(8, swish), Dense(8, swish(beta=1.0)), Dense(8, swish))
    """
    if function is None:
        return lambda function: activation(function, kinks=kinks, initializer=initializer)
    return WrittenActivation(function, kinks=kinks, initializer=initializer).entered()


def loss(function=None, *, reduction="mean"):
    """Make a loss of ``f(prediction, target, **hyperparameters)``, a function of two numbers.

    A row's loss is the mean of f over its outputs, or with ``reduction="sum"`` the sum; that of a batch is the mean of
    its rows.  The derivative with respect to the prediction is found by dual numbers, or is ``@f.derivative``.

    Examples
    --------
    >>> import bpfast as bp
    >>> @bp.loss
    ... def asymmetric(prediction, target, above=3.0):
    ...     error = prediction - target
    ...     return error**2 if error < 0 else above * error**2
    >>> trainer = bp.Trainer(bp.Network([bp.Dense(1)]), loss=asymmetric(above=2))
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"loss: reduction must be 'mean' or 'sum', got {reduction!r}")
    if function is None:
        return lambda function: loss(function, reduction=reduction)
    return WrittenLoss(function, reduction=reduction).entered()


def optimizer(function):
    """Make an optimizer of a rule of numbers, ``rule(g, w, *slots, lr, step, **hyperparameters) -> (w, *slots)``.

    Every number w of the parameters follows it, g is its gradient.  The names between ``w`` and ``lr`` are slots, up to
    three numbers that are remembered of each, zero at first.  ``lr`` is the learning rate, a number or of a schedule,
    ``step`` counts from 1.  What depends on these and the hyperparameters alone, such as 1 - beta2**step, is computed
    once a step, in double precision.

    Examples
    --------
    >>> import bpfast as bp
    >>> @bp.optimizer
    ... def heavy_ball(g, w, v, lr, step, momentum=0.9):
    ...     v = momentum * v + g
    ...     return w - lr * v, v
    >>> heavy_ball(0.1), heavy_ball(bp.CosineDecay(0.1, 20), momentum=0.8)
    (heavy_ball(0.1), heavy_ball(CosineDecay(0.1, 20.0), momentum=0.8))
    """
    made = WrittenOptimizer(WrittenUpdate(function).entered(), 1e-2)
    Optimizer.written[made.update.name] = made
    return made


# -- the ops -----------------------------------------------------------------------------------------


class Written:
    """An op that a user wrote: ``function``, and ``own_slope``, the derivative that was given, or None.

    ``options`` are what its decorator was told besides.
    """

    own_slope = None

    def __init__(self, function, **options):
        self.function, self.options = self.of_def(function, self.form), options
        name, parameters = self.function.__name__, list(inspect.signature(self.function).parameters.values())
        leading = self.leading([parameter.name for parameter in parameters])
        plain = all(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
        if leading is None or not plain:
            raise TypeError(
                f"{self.kind} {name!r} must be a function {self.form}, got {name}{inspect.signature(self.function)}")
        hyper = {}
        for parameter in parameters[leading:]:
            if parameter.default is inspect.Parameter.empty:
                raise TypeError(f"{self.kind} {name!r}: the hyperparameter {parameter.name} needs a default, "
                                f"such as {parameter.name}=1.0")
            hyper[parameter.name] = check_real(
                parameter.default, f"{self.kind} {name!r}: {parameter.name}", "(-inf, inf)")
        if len(hyper) > MOST_HYPER:
            raise TypeError(f"{self.kind} {name!r} has {len(hyper)} hyperparameters, at most {MOST_HYPER} are "
                            "possible: let the function capture numbers that stay the same")
        self.default = dict(hyper)
        super().__init__(name, hyper, source=f"{self.function.__module__}.{self.function.__qualname__}",
                         **self.texts())

    def of_def(self, function, form):
        """The function, if it is a plain one, with what its names stand for now: they may come to stand for others."""
        plain = plain_function(function)
        if plain is None or plain.__name__ == "<lambda>":
            raise TypeError(f"{self.kind}: write a function with def, {form}; got {function!r}")
        return positional(rewired(plain, {}))

    def compiled(self, dtype):
        """-> the C functions that Numba makes of it, see backends/numba/functions.py."""
        if importlib.util.find_spec("numba") is None:
            raise ImportError(f"{self.place} runs compiled in this backend, which needs Numba: "
                              'python -m pip install "bpfast[numba]", or take backend="numpy"')
        return self.c_functions(importlib.import_module("bpfast.backends.numba.functions"), dtype)

    def entered(self):
        """The op, known by its name from now on."""
        if self.name in self.table:
            raise ValueError(f"{self.name!r} is built in: give your {self.kind} another name")
        definition.check(self)
        self.written[self.name] = self
        return self

    def derivative(self, function):
        """Take this function of the same arguments for the derivative, if it is one; -> the op."""
        form = f"slope{inspect.signature(self.function)}"
        n, own_slope = self.function.__code__.co_argcount, self.of_def(function, form)
        taken = inspect.signature(own_slope)
        try:
            taken.bind(*range(n))
        except TypeError:
            raise TypeError(f"the derivative of {self.kind} {self.name!r} must take its arguments, {form}; got "
                            f"{function.__name__}{taken}") from None
        made = self.with_slope(own_slope)
        definition.check(made)
        self.__dict__.update(made.__dict__)
        return self

    def with_slope(self, function):
        """The same with this derivative."""
        other = self.with_parts(own_slope=function)
        other.__dict__.update(other.texts())
        return other

    def value_of(self, *how):
        """-> the function, of numbers; how: see ops/dual.py."""
        return dual.on_numbers(self.function, *how)

    def slope_of(self, *how):
        """-> its derivative, likewise."""
        return dual.on_numbers(self.own_slope, *how) if self.own_slope else dual.slope_of(self.function, *how)

    def slope_on_arrays(self):
        """-> the same for arrays."""
        return dual.on_arrays(self.own_slope) if self.own_slope else dual.slope_on_arrays(self.function)

    def __eq__(self, other):
        return super().__eq__(other) and self.options == other.options and all(
            source.same(*pair) for pair in ((self.function, other.function), (self.own_slope, other.own_slope)))

    def __hash__(self):
        return super().__hash__()

    @property
    def changed(self):
        """The hyperparameters that differ from their defaults, as they are written in a call."""
        return [f"{name}={value!r}" for name, value in self.hyper.items() if value != self.default[name]]

    def __repr__(self):
        return f"{self.name}({', '.join(self.changed)})" if self.changed else self.name

    def __deepcopy__(self, memo):  # it never changes
        return self

    def __reduce__(self):
        place = source.importable(self.function, self.stands_in)
        if place:
            return source.import_again, (self.kind, *place, self.hyper)
        texts = [source.as_text(function) for function in (self.function, self.own_slope) if function]
        return _from_texts, (type(self), texts, self.options, self.hyper)

    def stands_in(self, thing):
        """Whether a thing is this op, whatever the hyperparameters, or the optimizer made of it."""
        op = getattr(thing, "update", thing)
        return isinstance(op, Written) and op.function is self.function and op.own_slope is self.own_slope

    @property
    def place(self):
        """What it is and where it stands."""
        code = self.function.__code__
        return f"{self.kind} {self.name!r} ({code.co_filename}, line {code.co_firstlineno})"


class WrittenActivation(Written, Activation):
    """y = f(x, *hyper), an activation that a user wrote."""

    kind, form = "activation", "f(x, **hyperparameters)"

    def leading(self, names):
        """-> how many parameters come before the hyperparameters, or None."""
        return 1 if names else None

    def texts(self):
        """-> the parts of the row: functions of arrays."""
        forward, slope = dual.on_arrays(self.function), self.slope_on_arrays()
        owner = self.function.__name__
        kinks = tuple(check_real(kink, f"{owner}: kinks", "(-inf, inf)")
                      for kink in np.ravel(self.options["kinks"]).tolist())
        relu = ACTIVATIONS["relu"]
        adjoint, keeps = (relu.adjoint, relu.keeps) if self.is_gate() else (
            lambda dy, x, y, *hyper: dy * slope(x, *hyper), "x")
        return {"forward": forward, "adjoint": adjoint, "keeps": keeps, "kinks": kinks, "formula": "y = f(x)",
                "initializer": self.options["initializer"]}

    def is_gate(self):
        """Whether the way back is that of relu."""
        return self.function.__code__.co_argcount == 1 and not self.own_slope and dual.is_gate(self.function)

    def c_functions(self, functions, dtype):
        at_zero = (part(0.0, *self.values) for part in (self.value_of(), self.slope_of()))
        return functions.activation(self.function, dtype, len(self.hyper), self.own_slope,
                                    clears=not all(map(math.isfinite, at_zero)))


class WrittenLoss(Written, Loss):
    """f(prediction, target, *hyper), a loss that a user wrote."""

    kind, form = "loss", "f(prediction, target, **hyperparameters)"

    def leading(self, names):
        return 2 if len(names) > 1 else None

    def texts(self):
        reduction = self.options["reduction"]
        return {"value": dual.on_arrays(self.function), "gradient": self.slope_on_arrays(),
                "targets": "reals", "formula": f"{reduction}_j f(y_j, t_j)", "reduction": reduction}

    def c_functions(self, functions, dtype):
        return functions.loss(self.function, dtype, len(self.hyper), self.reduction == "mean", self.own_slope)


class WrittenUpdate(Written, Update):
    """w, *slots = rule(g, w, *slots, lr, step, *hyper), the step of an optimizer that a user wrote."""

    kind = "optimizer"
    form = f"rule(g, w, *slots, lr, step, **hyperparameters) of at most {MOST_SLOTS} slots"

    def leading(self, names):
        at = names.index("lr") if "lr" in names else 0
        fits = 2 <= at <= 2 + MOST_SLOTS and names[at + 1 : at + 2] == ["step"]
        return at + 2 if fits else None

    def texts(self):
        names = list(inspect.signature(self.function).parameters)
        at = names.index("lr")
        self.rule_of_step, self.prepare = lifted(self.function, names[at:], MOST_COEFFICIENTS)
        return {"slots": tuple(names[2:at]), "coefficients": self._coefficients,
                "formula": "w, slots <- rule(g, w, slots)",
                "rule": _steps_of_arrays(dual.on_numbers(self.rule_of_step), at - 1)}

    def _coefficients(self, t, rate, *hyper):
        scalars = rate, t, *hyper
        return scalars + dual.on_columns(self.prepare, scalars) if self.prepare else scalars

    def c_functions(self, functions, dtype):
        n_coefficients = len(self._coefficients(1.0, 0.1, *self.values))
        return functions.update(self.rule_of_step, dtype, len(self.slots), n_coefficients)


class WrittenOptimizer(Optimizer):
    """An optimizer that a user wrote; calling it gives the same with another learning rate and hyperparameters."""

    __slots__ = ("update", "learning_rate")

    def __init__(self, update, learning_rate):
        if not isinstance(learning_rate, Schedule):
            learning_rate = check_real(learning_rate, f"{update.name}: learning_rate", INTERVALS["learning_rate"])
        self._set(update=update, learning_rate=learning_rate)

    def __call__(self, learning_rate=None, **hyper):
        return WrittenOptimizer(self.update(**hyper), self.learning_rate if learning_rate is None else learning_rate)

    def __repr__(self):
        return f"{self.update.name}({', '.join([repr(self.learning_rate), *self.update.changed])})"


# -- small things ------------------------------------------------------------------------------------


def _steps_of_arrays(rule, n):
    """A rule of numbers as one of arrays, element by element; -> n arrays of the first one's dtype."""
    on_elements = np.vectorize(rule, otypes="d" * n)

    def on_arrays(g, *others):
        made = on_elements(g, *others)
        return tuple(array.astype(g.dtype) for array in (made if n > 1 else (made,)))

    return on_arrays


def _from_texts(kind, texts, options, hyper):
    function, *slope = (source.from_text(*text) for text in texts)
    made = kind(function, **options)
    return (made.with_slope(*slope) if slope else made)(**hyper)
