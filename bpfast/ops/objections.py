"""What a function of numbers may not use if it shall become machine code, read from its byte code and text alone.

    objections(function)    what cannot be compiled, though Python may run it
    slow_loops(function)    what can be, but not with many numbers at a time

Each gives (function, line, words) for the function and all that it calls.
"""

import ast
import builtins
import dis
import linecache
import math
from types import ModuleType, NoneType

import numpy as np

from .dual import FUNCTIONS
from .rewire import (
    ATTRIBUTES,
    GLOBALS,
    NUMERIC_MODULES,
    captured,
    codes,
    definition_of,
    numeric_name,
    plain_function,
)

__all__ = ["at_line", "objections", "slow_loops"]

KNOWN = "of math and numpy these are known: " + ", ".join(
    name for name in sorted(FUNCTIONS) if hasattr(math, name) or numeric_name(getattr(np, name, None)) in FUNCTIONS)
NO_LIST = "it works on one number, not on arrays or lists: write it for a scalar"
NO_TEXT = "it makes a text: it may only make numbers"
REFUSED = {  # instructions of Python
    "RAISE_VARARGS": "machine code cannot raise (raise, assert): return math.nan instead",
    "YIELD_VALUE": "it is a generator: return one number",
    "RETURN_GENERATOR": "it is a generator: return one number",
    "PUSH_EXC_INFO": "machine code cannot catch errors (try, with): division by zero gives inf or nan, test for these",
    "IMPORT_NAME": "it imports: import at the top of the file, outside of the function",
    "STORE_GLOBAL": "it changes a global variable: it may only return numbers",
    "STORE_DEREF": "it changes a variable of the function around it: it may only return numbers",
    "DELETE_FAST": "it deletes a variable: machine code cannot, leave del out",
    "STORE_ATTR": "it changes an object: it may only return numbers",
    "STORE_SUBSCR": NO_LIST, "BUILD_LIST": NO_LIST, "BUILD_SET": NO_LIST, "BUILD_MAP": NO_LIST,
    "BUILD_CONST_KEY_MAP": NO_LIST, "BUILD_STRING": NO_TEXT, "FORMAT_VALUE": NO_TEXT, "FORMAT_SIMPLE": NO_TEXT,
}
CALLED = abs, max, min, pow, range, len, enumerate, zip, sum, bool  # of Python's functions
OF_CONSTANTS = float, int, round  # likewise, where the argument is a constant
HELD = (bool, int, float, str, tuple, NoneType, np.generic, np.ndarray)  # may stand around a function
CONSTANTS = {"LOAD_CONST", "LOAD_SMALL_INT"}


def at_line(filename, line):
    """A place in words, with the text that stands there."""
    text = linecache.getline(filename, line).strip()
    return f"line {line} of {filename}" + (f": {text}" if text else "")


def objections(function):
    """What of a function, and of those that it calls, cannot be compiled; see above."""
    for part in _family(function):
        ranks = {name: rank for rank, name in enumerate(REFUSED)}  # a raise comes before the text that it makes
        found = [(ranks.get(name, len(ranks)), line or code.co_firstlineno, why)
                 for code in codes(part.__code__) for name, line, why in _objections_in(code, part)]
        for _, line, why in sorted(found):
            yield part, line, why


def _objections_in(code, function):
    """Likewise in a code object of a function; -> (name of the instruction, line or None, words)."""
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        name, value = instruction.opname, instruction.argval
        why = REFUSED.get(name)
        if name == "STORE_DEREF" and value in code.co_cellvars:
            why = None
        elif name == "COPY" and value == 1 and _is_walrus(instructions[i + 1 :]):
            why = "it uses :=, which Numba does not compile: write y = ... on a line of its own"
        elif name in GLOBALS or (name == "LOAD_DEREF" and value in function.__code__.co_freevars):
            why = _of_name(function, instructions[i:])
        elif name in ATTRIBUTES and not _is_attribute_of_module(function, instructions[:i]):
            why = f"it uses .{value} of a number or an object: it may only use numbers"
        elif name in CONSTANTS and isinstance(value, complex):
            why = f"{value} is a complex number: use real ones"
        elif (name == "RETURN_CONST" and value is None) or (
                name == "RETURN_VALUE" and instructions[i - 1].opname in CONSTANTS and instructions[i - 1].argval is None):
            why = "it does not return a number on every path"
        if why:
            yield name, next((step.positions.lineno for step in instructions[i:] if step.positions.lineno), None), why


def _is_walrus(following):
    """Whether what was copied is stored and then used, and not stored again as by a = b = x."""
    stored, used = (step.opname for step in following[:2])
    return stored.startswith("STORE_FAST") and stored != "STORE_FAST_STORE_FAST" and (
        stored != "STORE_FAST" or not used.startswith(("STORE", "COPY", "UNPACK")))


def slow_loops(function):
    """Loops of a length that differs from number to number, see above; found where the source text is."""
    for part in _family(function):
        if part in _helpers(part):
            yield part, part.__code__.co_firstlineno, "it calls itself: write a loop, for _ in range(8)"
        tree = definition_of(part)
        if tree is None:
            continue
        data = _data(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.While) and (isinstance(node.test, ast.Constant) or _names(node.test) & data):
                yield (part, node.lineno,
                       "how often it runs depends on the numbers: write a loop of fixed length, for _ in range(8)")


def _names(node):
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _data(tree):
    """The names in a function that depend on its arguments."""
    data, n = {argument.arg for argument in tree.args.args}, 0
    while n != len(data):
        n = len(data)
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.NamedExpr)):
            made = getattr(node, "targets", None) or [getattr(node, "target", None)]
            source = getattr(node, "value", None) or getattr(node, "iter", None)
            if source is not None and _names(source) & data:
                data.update(*(_names(target) for target in made if target is not None))
    return data


def _family(function):
    """A function and the Python functions that it calls, each once."""
    family = [plain_function(function)]
    for part in family:
        family += [helper for helper in _helpers(part) if helper not in family]
    return family


def _helpers(function):
    """The Python functions that a function names."""
    helpers = []
    for code in codes(function.__code__):
        instructions = list(dis.get_instructions(code))
        for i, instruction in enumerate(instructions):
            if instruction.opname in GLOBALS | {"LOAD_DEREF"}:
                _, found, _ = _found(function, instructions[i:])
                helper = None if numeric_name(found) or _is_numeric(found) else plain_function(found)
                if helper is not None and helper not in helpers:
                    helpers.append(helper)
    return helpers


class _Nothing:
    """A name has no value."""


def _found(function, instructions):
    """-> module, value, name: what the first instruction loads, through attributes of modules."""
    first, *others = instructions
    name, scope = first.argval, function.__globals__
    if first.opname == "LOAD_DEREF":
        around = dict(captured(function))
        if name not in around:  # a variable of its own, or not filled yet
            return None, None, name
        value = around[name]
    else:
        value = scope[name] if name in scope else getattr(builtins, name, _Nothing)
    module = None
    for instruction in others:
        if not isinstance(value, ModuleType) or instruction.opname not in ATTRIBUTES:
            break
        module, name = value, instruction.argval
        value = getattr(value, name, _Nothing)
    return module, value, name


def _is_attribute_of_module(function, before):
    """Whether what comes before an attribute loads a module, or an attribute of one, on the way."""
    while before and before[-1].opname in ATTRIBUTES:
        before = before[:-1]
    if not before or before[-1].opname not in GLOBALS | {"LOAD_DEREF"}:
        return False
    return isinstance(_found(function, before[-1:])[1], ModuleType)


def _is_numeric(thing):
    return (getattr(thing, "__module__", None) or "").partition(".")[0] in ("math", "numpy", "scipy")


def _n_arguments(instructions):
    """Of the call of what the first instruction loads; 0 where the place in the text is not known."""
    begin = instructions[0].positions
    return next((step.argval for step in instructions[1:] if step.opname == "CALL" and begin.lineno is not None
                 and (step.positions.lineno, step.positions.col_offset) == (begin.lineno, begin.col_offset)), 0)


def _is_in(thing, things):
    return any(thing is other for other in things)


def _of_name(function, instructions):
    """What is wrong with the value of a name, or None."""
    module, value, name = _found(function, instructions)
    if value is _Nothing:
        return f"{name} is not defined" if module is None else f"{name} is not known; {KNOWN}"
    if _is_in(value, (max, min)) and _n_arguments(instructions) > 2:
        return f"{name} takes two numbers here: {name}({name}(a, b), c)"
    if isinstance(value, (*HELD, ModuleType)) or numeric_name(value) in FUNCTIONS or _is_in(value, CALLED):
        return None
    if _is_in(value, OF_CONSTANTS) and any(step.opname in CONSTANTS for step in instructions[1:2]):
        return None
    if isinstance(value, type) and issubclass(value, (BaseException, np.generic)):
        return None
    if callable(value) and (_is_numeric(value) or (module and module.__name__ in NUMERIC_MODULES)):
        return f"{name} cannot be used here; {KNOWN}"
    if plain_function(value) is not None:
        return None
    if module and callable(value):
        return f"{name} of {module.__name__} cannot be used here; {KNOWN}"
    if value is print:
        return "it prints: it may only return numbers, without print"
    if _is_in(value, vars(builtins).values()):
        return f"{name} cannot be used here; write it with arithmetic, math and if"
    return f"{name} is a {type(value).__name__}: give the numbers in it names of their own, outside of the function"
