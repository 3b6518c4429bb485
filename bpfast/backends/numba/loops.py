"""From a user's scalar function to loops over arrays: what Numba makes of the function, in a loop written here.

A loop goes over blocks of 16 numbers, each by itself, and says so to LLVM (llvm.loop.parallel_accesses), so that it
becomes vectors also where it works in place.  A number's bits depend on that number alone.

KINDS says for each kind of function which C functions are made; their arguments are those of native/plan.h.
"""

import re
import warnings

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit
from numba.core import codegen, compiler, errors, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from ...ops.dual import FUNCTIONS
from ...ops.objections import at_line, slow_loops
from ...ops.rewire import plain_function, rewired
from .dual import real
from .emit import BITS, Emitted
from .refusals import checked, explained, refusal

LANES = 16
STORED = re.compile(r"store <\d+ x .*!llvm\.access\.group")  # by a loop that has become vectors
ROWS, BLOCK = 4, 64  # rows and outputs of which a loss keeps the values at a time, and adds them side by side
INT, INT32, DOUBLE = ir.IntType(tuple.__itemsize__ * 8), ir.IntType(32), BITS[64]  # INT: of a pointer's size


class _Codegen(codegen.JITCPUCodegen):
    """Code for this processor, as an object file."""

    _library_class = codegen.AOTCodeLibrary


def flags():
    """Numba's: divisions by zero do not raise; the code goes into our loops and nowhere else."""
    flags = compiler.Flags()
    flags.error_model = "numpy"
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = flags.forceinline = True
    return flags


def vector_bits():
    """The width of this processor's vectors."""
    features = llvm.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


class Scalar:
    """What Numba makes of a function: of arguments of these types, in a library of code."""

    def __init__(self, library, function, arguments, result):
        self.context = cpu_target.target_context
        defaults = function.__defaults__ or ()
        n_missing = function.__code__.co_argcount - len(arguments)
        self.omitted = tuple(map(types.Omitted, defaults[len(defaults) - n_missing :]))
        self.arguments, self.result = arguments + self.omitted, result
        compiled = compiler.compile_extra(cpu_target.typing_context, self.context, function, self.arguments, result,
                                          flags(), {}, library=library)
        self.description = compiled.fndesc

    def __call__(self, builder, values):
        callee = self.context.declare_function(builder.module, self.description)
        values = values + [self.context.get_dummy_value()] * len(self.omitted)
        _, result = self.context.call_conv.call_function(builder, callee, self.result, self.arguments, values)
        return result


class Kernel:
    """A C function in the making: arguments by their names, and loops."""

    def __init__(self, module, name, bits, arguments):
        self.module, self.bits, self.real = module, bits, BITS[bits]
        kinds = {"n": INT, "rows": INT, "ld": INT, "hyper": DOUBLE.as_pointer(), "mean": DOUBLE.as_pointer(),
                 "values": DOUBLE.as_pointer(), "slots": self.real.as_pointer().as_pointer()}
        types_ = [kinds.get(argument, self.real.as_pointer()) for argument in arguments]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), types_), name)
        set.add(self.function.attributes, f'"prefer-vector-width"="{vector_bits()}"')  # llvmlite knows it not
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        for name, argument in zip(arguments, self.function.args):
            setattr(self, name, argument)
        self.access = module.add_metadata([ir.MetaDataString(module, f"bpfast.access {self.function.name}")])
        self.n_loops = 0

    def integer(self, number):
        return number if isinstance(number, ir.Value) else ir.Constant(INT, number)

    def at(self, pointer, *offset):
        """The address of pointer[sum(offset)]."""
        for number in offset:
            pointer = self.builder.gep(pointer, [self.integer(number)])
        return pointer

    def load(self, pointer):
        value = self.builder.load(pointer)
        value.set_metadata("llvm.access.group", self.access)
        return value

    def store(self, value, pointer):
        self.builder.store(value, pointer).set_metadata("llvm.access.group", self.access)

    def hyperparameters(self, n):
        """As real numbers."""
        doubles = [Emitted(self.builder, self.builder.load(self.at(self.hyper, i))) for i in range(n)]
        return [number.narrowed(self.bits).ir for number in doubles]

    def rounded_up(self, n, lanes):
        """n, or the next multiple of a power of two."""
        return self.builder.and_(self.builder.add(n, self.integer(lanes - 1)), self.integer(-lanes))

    def smaller(self, a, b):
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def loop(self, count, body, step=1, carried=(), lanes=None):
        """for i in range(0, count, step): carried = body(i, *carried); -> carried, which begins with given values.

        ``lanes``: every i by itself, so many at a time.
        """
        builder, count = self.builder, self.integer(count)
        before, inside = builder.block, builder.append_basic_block()
        after = builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", count, self.integer(0)), inside, after)
        builder.position_at_end(inside)
        i, *old = [builder.phi(kind) for kind in (INT, *(value.type for value in carried))]
        new = body(i, *old) or ()
        following = builder.add(i, self.integer(step), flags=("nuw", "nsw"))
        for phi, first, last in zip((i, *old), (self.integer(0), *carried), (following, *new)):
            phi.add_incoming(first, before)
            phi.add_incoming(last, builder.block)
        # by != LLVM sees that a count of whole vectors leaves no remainder
        branch = builder.cbranch(builder.icmp_signed("!=" if step == 1 else "<", following, count), inside, after)
        if lanes:
            branch.set_metadata("llvm.loop", self._each_by_itself(lanes))
        last_block = builder.block
        builder.position_at_end(after)
        results = [builder.phi(value.type) for value in carried]
        for phi, first, last in zip(results, carried, new):
            phi.add_incoming(first, before)
            phi.add_incoming(last, last_block)
        return results

    def _each_by_itself(self, lanes):
        """The metadata of such a loop: no access depends on another round's; vectors as wide as they are here."""
        width = min(lanes, vector_bits() // self.bits)
        text = lambda words: ir.MetaDataString(self.module, words)
        number = lambda n: ir.Constant(INT32, n)
        self.n_loops += 1
        return self.module.add_metadata([
            text(f"bpfast.loop {self.function.name} {self.n_loops}"),
            self.module.add_metadata([text("llvm.loop.parallel_accesses"), self.access]),
            self.module.add_metadata([text("llvm.loop.vectorize.width"), number(width)]),
            self.module.add_metadata([text("llvm.loop.interleave.count"), number(lanes // width)]),
        ])

    @property
    def narrow(self):
        """The numbers in the narrowest vector: what a kernel may go beyond n."""
        return 128 // self.bits

    def for_all(self, step):
        """step(i) for all numbers from the first of some rows to the last, padding between them included.

        Not beyond: what follows in the last row may be another thread's.
        """
        b = self.builder
        last_row = b.mul(b.sub(self.rows, self.integer(1)), self.ld)
        self.for_numbers(b.add(last_row, self.rounded_up(self.n, self.narrow)), step)

    def for_numbers(self, n, step):
        """step(i) for i < n, in blocks; what remains, in narrow vectors."""
        b = self.builder
        blocks = b.and_(n, self.integer(-LANES))
        self.loop(blocks, step, lanes=LANES)
        rest = b.and_(b.sub(n, blocks), self.integer(-self.narrow))
        self.loop(rest, lambda i: step(b.add(blocks, i)), lanes=self.narrow)

    def clear_padding(self, array, rows, width, end):
        """Zero columns n .. end of rows ld apart, in vectors of this width."""
        b = self.builder
        block, indices = ir.VectorType(self.real, width), ir.VectorType(INT, width)
        zero = ir.Constant(block, [0.0] * width)
        first = b.and_(self.n, self.integer(-width))  # where the vector lies in which the padding begins
        n_kept = ir.Constant(indices, ir.Undefined)
        for lane in range(width):
            n_kept = b.insert_element(n_kept, b.sub(self.n, first), ir.Constant(INT32, lane))
        is_kept = b.icmp_signed("<", ir.Constant(indices, list(range(width))), n_kept)

        def clear_row(row):
            start = self.at(array, b.mul(row, self.ld), first)
            place = b.bitcast(start, block.as_pointer())
            numbers = b.load(place, align=self.bits // 8)
            b.store(b.select(is_kept, numbers, zero), place, align=self.bits // 8)

            def clear(i):
                b.store(zero, b.bitcast(self.at(start, i, width), block.as_pointer()), align=self.bits // 8)

            self.loop(b.sub(b.sub(end, first), self.integer(width)), clear, step=width)

        has_padding = b.icmp_signed("<", self.n, end)
        self.loop(b.select(has_padding, rows, self.integer(0)), clear_row)

    def clear_rows(self, array):
        """Zero columns n.. of whole rows."""
        self.clear_padding(array, self.rows, LANES, self.ld)

    def clear_parts(self, array):
        """Zero columns n.. of rows; of a single one, which may be a part of a row, what for_all wrote there."""
        b, zero, end = self.builder, self.integer(0), self.rounded_up(self.n, self.narrow)
        is_single = b.icmp_signed("==", self.rows, self.integer(1))
        self.clear_padding(array, b.select(is_single, zero, self.rows), LANES, self.ld)
        self.clear_padding(array, b.select(is_single, self.rows, zero), self.narrow, end)

    def end(self):
        self.builder.ret_void()


def finished(module):
    """The text of a module, with what llvmlite cannot say: metadata that are distinct, loops that name themselves."""
    text = re.sub(r'^(!\d+) = !\{ !"bpfast.access[^"]*" \}', r"\1 = distinct !{}", str(module), flags=re.MULTILINE)
    return re.sub(r'^(!\d+) = !\{ !"bpfast.loop[^"]*",', r"\1 = distinct !{ \1,", text, flags=re.MULTILINE)


# -- the kinds --------------------------------------------------------------------------------------------


def make_forward(module, library, bits, function, n_hyper, clears):
    """y = f(x, *hyper)."""
    plain = real(bits, False)
    f = Scalar(library, function, (plain,) * (1 + n_hyper), plain)
    k = Kernel(module, "bpfast_forward", bits, ("y", "x", "rows", "n", "ld", "hyper"))
    hyper = k.hyperparameters(n_hyper)
    k.for_all(lambda i: k.store(f(k.builder, [k.load(k.at(k.x, i)), *hyper]), k.at(k.y, i)))
    if clears:
        k.clear_parts(k.y)
    k.end()


def make_forward_slope(module, library, bits, function, n_hyper, clears, derivative):
    """y = f(x, *hyper) and slope = f'(x, *hyper), or derivative(x, *hyper)."""
    f = value_and_slope(library, bits, function, derivative, 1 + n_hyper)
    k = Kernel(module, "bpfast_forward_slope", bits, ("y", "slope", "x", "rows", "n", "ld", "hyper"))
    hyper = k.hyperparameters(n_hyper)

    def step(i):
        value, slope = f(k.builder, [k.load(k.at(k.x, i)), *hyper])
        k.store(value, k.at(k.y, i))
        k.store(slope, k.at(k.slope, i))

    k.for_all(step)
    if clears:
        k.clear_parts(k.y)
        k.clear_parts(k.slope)
    k.end()


def value_and_slope(library, bits, function, derivative, n_arguments):
    """-> f(builder, arguments) that gives both, the slope by the first argument: by dual numbers or the derivative."""
    plain, first = real(bits, False), real(bits, derivative is None)
    others = (plain,) * (n_arguments - 1)
    f = Scalar(library, function, (first, *others), first)
    if derivative:
        slope_of = Scalar(library, derivative, (plain, *others), plain)
        return lambda builder, arguments: (f(builder, arguments), slope_of(builder, arguments))

    def by_dual_numbers(builder, arguments):
        x, *others = arguments
        pair = ir.Constant(ir.LiteralStructType([x.type] * 2), ir.Undefined)  # as Numba passes a number and its slope
        for place, part in enumerate((x, ir.Constant(x.type, 1.0))):
            pair = builder.insert_value(pair, part, place)
        result = f(builder, [pair, *others])
        return [builder.extract_value(result, place) for place in range(2)]

    return by_dual_numbers


def make_loss(module, library, bits, function, n_hyper, averages, derivative):
    """values[r] = sum_j f(y_j, t_j, *hyper), in order and in double; dy = mean[r] df/dy; both / n where it averages."""
    f = value_and_slope(library, bits, function, derivative, 2 + n_hyper)
    k = Kernel(module, "bpfast_run", bits, ("values", "dy", "y", "t", "mean", "rows", "n", "ld", "hyper"))
    b, hyper = k.builder, k.hyperparameters(n_hyper)
    kept, sums = b.alloca(k.real, ROWS * BLOCK), b.alloca(DOUBLE, ROWS)
    terms = b.sitofp(k.n, DOUBLE) if averages else ir.Constant(DOUBLE, 1.0)

    def some_rows(r):
        n_rows = k.smaller(b.sub(k.rows, r), k.integer(ROWS))

        def block(first, *totals):
            count = k.smaller(b.sub(k.n, first), k.integer(BLOCK))

            def one_row(q):
                here, row = b.add(b.mul(b.add(r, q), k.ld), first), k.at(kept, b.mul(q, k.integer(BLOCK)))
                share = Emitted(b, b.fdiv(b.load(k.at(k.mean, r, q)), terms)).narrowed(bits).ir

                def one_output(j):
                    y, t = (k.load(k.at(array, here, j)) for array in (k.y, k.t))
                    value, slope = f(b, [y, t, *hyper])
                    k.store(value, k.at(row, j))
                    k.store(b.fmul(share, slope), k.at(k.dy, here, j))

                k.loop(k.rounded_up(count, LANES), one_output, lanes=LANES)

            def add(j, *totals):
                numbers = [Emitted(b, b.load(k.at(kept, q * BLOCK, j))).widened().ir for q in range(ROWS)]
                return [b.fadd(total, number) for total, number in zip(totals, numbers)]

            k.loop(n_rows, one_row)
            return k.loop(count, add, carried=totals)

        totals = k.loop(k.n, block, step=BLOCK, carried=[ir.Constant(DOUBLE, 0.0)] * ROWS)
        for q, total in enumerate(totals):
            b.store(total, k.at(sums, q))
        k.loop(n_rows, lambda q: b.store(b.fdiv(b.load(k.at(sums, q)), terms), k.at(k.values, r, q)) and None)

    k.loop(k.rows, some_rows, step=ROWS)
    k.clear_rows(k.dy)
    k.end()


def make_update(module, library, bits, function, n_slots, n_coefficients):
    """(w, *slots) = rule(g, w, *slots, *coefficients); without slots the rule may return w alone."""
    plain = real(bits, False)
    arguments = (plain,) * (2 + n_slots + n_coefficients)
    result = types.UniTuple(plain, 1 + n_slots)
    try:
        rule = Scalar(library, function, arguments, result)
    except errors.TypingError:
        if n_slots:
            raise
        rule = Scalar(library, function, arguments, plain)
    k = Kernel(module, "bpfast_run", bits, ("w", "slots", "g", "n", "coefficients"))
    b = k.builder
    coefficients = [b.load(k.at(k.coefficients, i)) for i in range(n_coefficients)]
    arrays = [k.w, *(b.load(k.at(k.slots, i)) for i in range(n_slots))]

    def step(i):
        new = rule(b, [k.load(k.at(array, i)) for array in (k.g, *arrays)] + coefficients)
        for place, array in enumerate(arrays):
            k.store(b.extract_value(new, place) if rule.result is result else new, k.at(array, i))

    k.for_numbers(k.n, step)
    k.end()


KINDS = {"forward": make_forward, "forward_slope": make_forward_slope, "loss": make_loss, "update": make_update}


def helper(function):
    """What a user's function calls, as Numba compiles it: into the caller."""
    return njit(function, error_model="numpy", forceinline=True, no_cpython_wrapper=True,
                no_cfunc_wrapper=True)


def optimized(bits, jobs):
    """Jobs (kind, function, *others) as one optimized library of code; its texts: get_llvm_str, get_asm_str."""
    with global_compiler_lock:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
        library = _Codegen("bpfast").create_library("bpfast")
        module = library.create_ir_module("bpfast.loops")
        for kind, function, *others in jobs:
            with explained(function):
                KINDS[kind](module, library, bits, *(
                    rewired(checked(part), FUNCTIONS, helper) if callable(part) else part
                    for part in (function, *others)))
        library.add_llvm_module(llvm.parse_assembly(finished(module)))
        for function in library._final_module.functions:
            if not function.is_declaration and not function.name.startswith("bpfast_"):
                function.linkage = "internal"  # wanted within our loops alone
        library.finalize()
        declared = [function.name for function in library._final_module.functions if function.is_declaration]
        needed = [name for name in declared if not name.startswith("llvm.")]
        if needed:
            raise refusal(plain_function(jobs[0][1]), f"it needs Python while it runs ({needed[0]}): write it with "
                          "numbers alone, without print, texts, lists and dictionaries")
        return library


def machine_code(bits, jobs):
    """-> the bytes of an object file with the C functions of jobs (kind, function, *others); warns of slow ones."""
    jobs = [*jobs]
    library = optimized(bits, jobs)
    kernels = re.findall(r"^define [^\n]*@bpfast_.*?^}", library.get_llvm_str(), re.MULTILINE | re.DOTALL)
    if not all(map(STORED.search, kernels)):
        parts = [plain_function(part) for _, *others in jobs for part in others if callable(part)]
        if not any(True for part in parts for _ in slow_loops(part)):  # of which its definition has warned
            code = parts[0].__code__
            place = code.co_filename, code.co_firstlineno
            warnings.warn_explicit(
                f"{parts[0].__name__} does not vectorise, it runs number by number ({at_line(*place)}): write loops of "
                "fixed length and few rounds, for _ in range(8)", UserWarning, *place)
    return library.emit_native_object()
