"""Numba types for the real numbers of a user's function, without and with a slope: Real(bits, sloped).

A Real beside a Python number stays what it is, so that float32 is not widened by 0.5.  Operators and functions follow
the table in ops/dual.py: a call is lowered by running the rule on numbers in the making.
"""

import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import PrimitiveModel, StructModel
from numba.core.extending import register_model
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from ...ops import dual as rules
from .emit import BITS, Emitted, Flag


class EmittedDual(rules.Dual):
    """A number in the making, and its slope."""

    __slots__ = ()
    functions = Emitted.functions


NUMBERS = types.Integer, types.Float, types.Boolean


class Real(types.Type):
    """A real number of so many bits, with the derivative with respect to the function's argument, or without."""

    def __init__(self, bits, sloped):
        self.bits, self.sloped = bits, sloped
        super().__init__(f"bpfast.Real({bits}, {sloped})")

    def can_convert_from(self, context, other):
        if isinstance(other, NUMBERS) or (isinstance(other, Real) and self.sloped and other.bits == self.bits):
            return Conversion.safe
        return None

    def unify(self, context, other):
        if isinstance(other, NUMBERS):
            return self
        if isinstance(other, Real) and other.bits == self.bits:
            return real(self.bits, self.sloped or other.sloped)
        return None


class _Sloped(Real):
    """Of its own class, as a data model belongs to a class."""

    def __init__(self, bits, sloped=True):
        super().__init__(bits, True)


def real(bits, sloped):
    """The type."""
    return _Sloped(bits) if sloped else Real(bits, False)


@register_model(Real)
class _RealModel(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, BITS[kind.bits])


@register_model(_Sloped)
class _SlopedModel(StructModel):
    def __init__(self, manager, kind):
        number = types.float32 if kind.bits == 32 else types.float64
        super().__init__(manager, kind, [("value", number), ("slope", number)])


# -- from Numba's values to numbers in the making, and back -----------------------------------------------


def to_number(builder, kind, value, bits):
    """A value of a Numba type as an Emitted of so many bits, an EmittedDual, a Flag or a Python number."""
    if isinstance(kind, types.IntegerLiteral):
        return kind.literal_value
    if isinstance(kind, _Sloped):
        return EmittedDual(*(Emitted(builder, builder.extract_value(value, i)) for i in range(2)))
    if isinstance(kind, Real):
        return Emitted(builder, value)
    if isinstance(kind, types.Float):
        return Emitted(builder, value).of_bits(bits)
    if isinstance(kind, types.Boolean):
        return Emitted(builder, builder.uitofp(value, BITS[bits]))
    convert = builder.sitofp if kind.signed else builder.uitofp
    return Emitted(builder, convert(value, BITS[bits]))


def from_number(builder, kind, number):
    """The same, as a value of a Numba type."""
    if isinstance(number, Flag):
        return number.ir
    def like(number):
        return Emitted(builder, ir.Constant(BITS[bits_of(kind)], 0.0)).like(number).of_bits(bits_of(kind))

    if not isinstance(kind, _Sloped):
        return like(number).ir
    value, slope = rules.parts(number)
    pair = ir.Constant(ir.LiteralStructType([BITS[kind.bits]] * 2), ir.Undefined)
    for i, part in enumerate((like(value), like(0.0 if slope is None else slope))):
        pair = builder.insert_value(pair, part.ir, i)
    return pair


def bits_of(kind):
    """Of the numbers of a type; those of Python are doubles."""
    return kind.bits if isinstance(kind, Real) else 64


def common(kinds):
    """The type of a result of numbers of these types; None of what are no numbers.  Of Python's numbers: float64."""
    kinds = [types.unliteral(kind) for kind in kinds]
    reals = [kind for kind in kinds if isinstance(kind, Real)]
    if not all(isinstance(kind, (Real, *NUMBERS)) for kind in kinds) or len({k.bits for k in reals}) > 1:
        return None
    return real(reals[0].bits, any(kind.sloped for kind in reals)) if reals else types.float64


# -- the table, for Numba ---------------------------------------------------------------------------------


def declare(key, name, needs_real, gives_flag=False, n_flags=0):
    """Let ``key``, an operator or a function, mean ``name`` of the table for these types."""
    n_arguments = N_ARGUMENTS[name]

    class Template(AbstractTemplate):
        def generic(self, arguments, keywords):
            numbers = arguments[n_flags:]
            if keywords or len(arguments) != n_arguments:
                return None
            result = common(numbers)
            if result is None or (needs_real and not isinstance(result, Real)):
                return None
            return signature(types.boolean if gives_flag else result, *arguments)

    Template.key, Template.prefer_literal = key, True  # for x**2
    infer_global(key)(Template)
    if not needs_real:
        infer_global(key, types.Function(Template))

    def lower(context, builder, sig, values):
        bits = bits_of(common(sig.args[n_flags:]))
        flags = [Flag(builder, builder.trunc(v, ir.IntType(1)) if v.type.width > 1 else v) for v in values[:n_flags]]
        numbers = [to_number(builder, kind, value, bits) for kind, value in zip(sig.args[n_flags:], values[n_flags:])]
        result = rules.FUNCTIONS[name](*flags, *numbers) if not gives_flag or name in rules.FUNCTIONS \
            else getattr(operator, name)(*numbers)
        return from_number(builder, sig.return_type, result)

    any_number = [types.Any] * (n_arguments - n_flags)
    places = range(n_flags, n_arguments) if needs_real else [None]
    for place in places:
        kinds = [types.Boolean] * n_flags + any_number
        if place is not None:
            kinds[place] = Real
        lower_builtin(key, *kinds)(lower)
    if needs_real and n_arguments == 2:
        lower_builtin(key, Real, Real)(lower)


N_ARGUMENTS = {name: text.__code__.co_argcount for name, text in rules.COMPOSED.items()}
N_ARGUMENTS |= {name: len(slopes) for name, slopes in rules.SLOPES.items()}
N_ARGUMENTS |= {"where": 3, **dict.fromkeys(rules.COMPARISONS, 2)}
FLAGS = "isnan", "isinf", "isfinite"

for _name in rules.OPERATORS:
    for _key in (getattr(operator, _name), getattr(operator, f"i{_name}")):  # a + b, and a += b
        declare(_key, _name, needs_real=True)
for _name in rules.COMPARISONS:
    declare(getattr(operator, _name), _name, needs_real=True, gives_flag=True)
declare(operator.neg, "neg", needs_real=True)
for _function in (abs, max, min, pow):
    declare(_function, _function.__name__, needs_real=True)
for _name in N_ARGUMENTS:
    if _name in rules.FUNCTIONS:
        declare(rules.FUNCTIONS[_name], _name, needs_real=False, gives_flag=_name in FLAGS, n_flags=_name == "where")


def _cast(context, builder, old, new, value):
    return from_number(builder, new, to_number(builder, old, value, new.bits))


for _old in (*NUMBERS, Real):
    for _new in (Real, _Sloped):
        if not (_old is Real and _new is Real):
            lower_cast(_old, _new)(_cast)


@infer_global(bool)
class _Truth(AbstractTemplate):
    key = bool

    def generic(self, arguments, keywords):
        return signature(types.boolean, *arguments) if isinstance(arguments[0], Real) else None


@lower_builtin(bool, Real)
def _truth(context, builder, sig, values):
    return (to_number(builder, *sig.args, *values, bits_of(*sig.args)) != 0).ir


@infer_global(operator.pos)
class _Positive(AbstractTemplate):
    key = operator.pos

    def generic(self, arguments, keywords):
        return signature(arguments[0], arguments[0]) if isinstance(arguments[0], Real) else None


@lower_builtin(operator.pos, Real)
def _positive(context, builder, sig, values):
    return values[0]
