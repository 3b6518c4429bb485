"""A user's function with other functions in the place of those of math and numpy, here and in all that it calls.

Followed are the names that its text uses: globals, variables captured from around it, functions defined within it, and
through these, helpers of its own.  ``key_of`` follows them, too.
"""

import ast
import dis
import inspect
import textwrap
from contextlib import suppress
from types import CellType, CodeType, FunctionType, ModuleType

import numpy as np

__all__ = ["NoKey", "definition_of", "key_of", "plain_function", "positional", "rewired", "surroundings"]

NUMERIC_MODULES = {"math", "numpy", "scipy.special"}
OWN_FUNCTIONS = {"math", f"{__package__}.dual"}
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))
GLOBALS, ATTRIBUTES = {"LOAD_GLOBAL", "LOAD_NAME"}, {"LOAD_ATTR", "LOAD_METHOD"}


class NoKey(Exception):
    """A function depends on something that cannot be compared with what it was in another process."""


def codes(code):
    """A code object and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def names_in(code, kinds):
    """The names that a code object uses in instructions of these kinds."""
    return sorted({instruction.argval for part in codes(code) for instruction in dis.get_instructions(part)
                   if instruction.opname in kinds})


def plain_function(thing):
    """The Python function of a function, or of one that Numba compiles; else None."""
    thing = getattr(thing, "py_func", thing)
    return thing if isinstance(thing, FunctionType) else None


def captured(function):
    """Yields (name, value) of the variables from around a function, but of those that have no value yet."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        with suppress(ValueError):  # empty
            yield name, cell.cell_contents


def definition_of(function):
    """The syntax tree of a function's def, with the lines of its file; None where its source is missing or is no def."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, SyntaxError):
        return None
    return ast.increment_lineno(tree, first - 1) if isinstance(tree, ast.FunctionDef) else None


def numeric_name(thing):
    """The name of a function of math, numpy, scipy.special or our own, or None."""
    name = getattr(thing, "__name__", None)
    if isinstance(thing, np.ufunc) or thing is np.where or thing is np.clip:
        return "mod" if thing is np.remainder else name  # math.remainder is another
    return name if getattr(thing, "__module__", None) in OWN_FUNCTIONS else None


class _Rewiring:
    def __init__(self, functions, wrap):
        self.functions, self.wrap, self.done = functions, wrap, {}

    def function(self, original, is_helper=True):
        """A copy of a function whose names mean other things."""
        if original in self.done:
            return self.done[original]
        code = original.__code__
        scope = {"__builtins__": original.__globals__["__builtins__"], "__name__": original.__module__}
        cells = {name: CellType() for name in code.co_freevars}
        copy = FunctionType(code, scope, original.__name__, original.__defaults__, tuple(cells.values()) or None)
        copy.__kwdefaults__, copy.__qualname__ = original.__kwdefaults__, original.__qualname__
        self.done[original] = copy = self.wrap(copy) if is_helper else copy
        for name in names_in(code, GLOBALS):
            if name in original.__globals__:
                scope[name] = self.value(original.__globals__[name], code)
        for name, value in captured(original):
            cells[name].cell_contents = self.value(value, code)
        return copy

    def value(self, value, code):
        """What a name stands for, in the copy."""
        if isinstance(value, ModuleType):
            space = ModuleType(value.__name__)
            for name in names_in(code, ATTRIBUTES):
                if hasattr(value, name):
                    known = value.__name__ in NUMERIC_MODULES and self.functions.get(name)
                    setattr(space, name, known or self.value(getattr(value, name), code))
            return space
        known = self.functions.get(numeric_name(value))
        if known:
            return known
        helper = plain_function(value)
        return value if helper is None else self.function(helper)


def rewired(function, functions, wrap=lambda helper: helper):
    """A copy of a function, where math.name, numpy.name and name from them are functions[name].

    Helpers are copied likewise, and passed through ``wrap``.
    """
    return _Rewiring(functions, wrap).function(plain_function(function), is_helper=False)


def surroundings(function):
    """-> name -> value: the globals and captured variables that a function, and what is defined within it, uses."""
    scope = function.__globals__
    return {name: scope[name] for name in names_in(function.__code__, GLOBALS) if name in scope} | dict(captured(function))


def positional(function):
    """The function with what stands behind ``*`` among its parameters in the row of the others, if all have defaults."""
    code, defaults = function.__code__, function.__kwdefaults__ or {}
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if not names or not defaults.keys() >= set(names):
        return function
    code = code.replace(co_argcount=code.co_argcount + len(names), co_kwonlyargcount=0)
    defaults = (*(function.__defaults__ or ()), *(defaults[name] for name in names))
    other = FunctionType(code, function.__globals__, function.__name__, defaults, function.__closure__)
    other.__qualname__ = function.__qualname__
    return other


def key_of(function):
    """What a function does, as nested tuples of plain values: equal in two processes if and only if it is the same.

    Of the function and of all that it calls: code, constants, defaults, and the values of captured variables and of
    globals.  Raises NoKey where one of these is neither a number, a text, a function nor a tuple of such.
    """
    seen = {}

    def of_code(code):
        return (code.co_code.hex(), code.co_argcount, code.co_kwonlyargcount, code.co_flags, code.co_names,
                code.co_varnames, code.co_freevars, code.co_cellvars, getattr(code, "co_exceptiontable", b"").hex(),
                tuple(map(of_value, code.co_consts)))

    def of_value(value, code=None):
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return type(value).__name__, repr(value.item())
        if type(value) in PLAIN:
            return type(value).__name__, repr(value)
        if isinstance(value, tuple | frozenset):
            return type(value).__name__, tuple(of_value(item) for item in
                                               (value if isinstance(value, tuple) else sorted(value, key=repr)))
        if isinstance(value, CodeType):
            return "code", of_code(value)
        if isinstance(value, ModuleType) and code is not None:
            numeric = value.__name__ in NUMERIC_MODULES
            return "module", value.__name__, tuple(
                (name, (numeric and callable(getattr(value, name))) or of_value(getattr(value, name), code))
                for name in names_in(code, ATTRIBUTES) if hasattr(value, name))
        if numeric_name(value):
            return "function", numeric_name(value)
        if plain_function(value) is not None:
            return of_function(plain_function(value))
        raise NoKey(f"{value!r} is neither a number, a text nor a function")

    def of_function(function):
        if function in seen:
            return "again", seen[function]
        seen[function] = len(seen)
        code = function.__code__
        return ("def", of_code(code), of_value(function.__defaults__),
                of_value(tuple(sorted((function.__kwdefaults__ or {}).items()))),
                tuple((name, of_value(value, code)) for name, value in surroundings(function).items()))

    return of_function(plain_function(function))
