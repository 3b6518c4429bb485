"""Numbers in the making: Python's operators on an Emitted write LLVM instructions.

A text runs once, while a loop is compiled, and leaves its instructions there: no types are inferred and nothing is
called.  A Python number beside an Emitted takes its type, so float32 stays float32.
"""

from llvmlite import ir

from . import scalars

FLAGS = ("contract",)  # products may be fused with sums; the order of sums stays
BITS = {32: ir.FloatType(), 64: ir.DoubleType()}


class Flag:
    """What a comparison gives."""

    functions = scalars

    def __init__(self, builder, ir_value):
        self.builder, self.ir = builder, ir_value

    def __and__(self, other):
        return Flag(self.builder, self.builder.and_(self.ir, flag(self.builder, other).ir))

    def __or__(self, other):
        return Flag(self.builder, self.builder.or_(self.ir, flag(self.builder, other).ir))

    __rand__, __ror__ = __and__, __or__

    def choose(self, a, b):
        """One of two numbers; both Python's: as doubles."""
        number = next((x for x in (a, b) if isinstance(x, Emitted)), Emitted(self.builder, ir.Constant(BITS[64], 0.0)))
        return Emitted(self.builder, self.builder.select(self.ir, number.like(a).ir, number.like(b).ir))

    def __invert__(self):
        return Flag(self.builder, self.builder.not_(self.ir))


def flag(builder, condition):
    """A condition as a Flag."""
    return condition if isinstance(condition, Flag) else Flag(builder, ir.Constant(ir.IntType(1), int(bool(condition))))


class Emitted:
    """A real number in the making."""

    __slots__ = ("builder", "ir")
    __hash__ = None
    functions = scalars

    def __init__(self, builder, ir_value):
        self.builder, self.ir = builder, ir_value

    @property
    def bits(self):
        return next(bits for bits, kind in BITS.items() if kind == self.ir.type)

    def like(self, number):
        """A number in the type of this one."""
        if isinstance(number, Emitted):
            return number
        return Emitted(self.builder, ir.Constant(self.ir.type, float(number)))

    def pick(self, of_float, of_double):
        """The one of two constants that belongs to this type."""
        return self.like(of_float if self.bits == 32 else of_double)

    def widened(self):
        """The same number as a double."""
        return self if self.bits == 64 else Emitted(self.builder, self.builder.fpext(self.ir, BITS[64]))

    def narrowed(self, bits):
        """A double rounded to a type of so many bits."""
        return self if self.bits == bits else Emitted(self.builder, self.builder.fptrunc(self.ir, BITS[bits]))

    def of_bits(self, bits):
        """The same number, or the nearest one, of a type of so many bits."""
        return self.narrowed(32) if bits == 32 else self.widened()

    def intrinsic(self, name, *others):
        """The LLVM intrinsic of this name, of numbers of one type."""
        kinds = [self.ir.type] * (1 + len(others))
        callee = self.builder.module.declare_intrinsic(name, [self.ir.type], ir.FunctionType(self.ir.type, kinds))
        return Emitted(self.builder, self.builder.call(callee, [self.ir, *(self.like(other).ir for other in others)]))

    def word(self):
        """Its bits."""
        return Word(self.builder, self.builder.bitcast(self.ir, ir.IntType(self.bits)))

    def __neg__(self):
        return Emitted(self.builder, self.builder.fneg(self.ir))


class Word:
    """The bits of a real number, unsigned."""

    def __init__(self, builder, ir_value):
        self.builder, self.ir = builder, ir_value

    def real(self):
        """The number of these bits."""
        return Emitted(self.builder, self.builder.bitcast(self.ir, BITS[self.ir.type.width]))

    def is_set(self, bit):
        """Whether a bit is 1."""
        zero = ir.Constant(self.ir.type, 0)
        return Flag(self.builder, self.builder.icmp_unsigned("!=", (self & (1 << bit)).ir, zero))


def _arithmetic(instruction):
    def forwards(a, b):
        if not isinstance(b, Emitted | int | float):
            return NotImplemented
        return Emitted(a.builder, getattr(a.builder, instruction)(a.ir, a.like(b).ir, flags=FLAGS))

    def backwards(b, a):
        return forwards(b.like(a), b)

    return forwards, backwards


def _comparison(operator):
    def compare(a, b):
        if not isinstance(b, Emitted | int | float):
            return NotImplemented
        make = a.builder.fcmp_unordered if operator == "!=" else a.builder.fcmp_ordered
        return Flag(a.builder, make(operator, a.ir, a.like(b).ir))

    return compare


def _of_bits(instruction):
    def of_bits(a, b):
        b = b.ir if isinstance(b, Word) else ir.Constant(a.ir.type, b)
        return Word(a.builder, getattr(a.builder, instruction)(a.ir, b))

    return of_bits


for _name, _instruction in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    for _prefix, _method in zip(("", "r"), _arithmetic(_instruction)):
        setattr(Emitted, f"__{_prefix}{_name}__", _method)
for _name, _operator in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Emitted, f"__{_name}__", _comparison(_operator))
for _name, _instruction in {"add": "add", "sub": "sub", "and": "and_", "or": "or_", "xor": "xor", "lshift": "shl",
                            "rshift": "lshr"}.items():
    setattr(Word, f"__{_name}__", _of_bits(_instruction))
