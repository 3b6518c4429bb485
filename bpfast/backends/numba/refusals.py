"""What cannot be compiled, in words: where in the user's function, why, and what to write instead."""

import dis
import linecache
import re
from contextlib import contextmanager

from ...ops.dual import FUNCTIONS
from ...ops.rewire import codes, plain_function

__all__ = ["CannotCompile", "checked", "explained"]


class CannotCompile(TypeError):
    """A function uses what cannot become machine code; says where, and what to write instead."""


REFUSED = {  # instructions of Python
    "RAISE_VARARGS": "machine code cannot raise (raise, assert): return math.nan instead",
    "YIELD_VALUE": "it is a generator: return one number",
    "RETURN_GENERATOR": "it is a generator: return one number",
    "PUSH_EXC_INFO": "machine code cannot catch errors (try, with): division by zero gives inf or nan, test for these",
    "IMPORT_NAME": "it imports: import at the top of the file, outside of the function",
    "STORE_GLOBAL": "it changes a global variable: it may only return numbers",
    "STORE_DEREF": "it changes a variable of the function around it: it may only return numbers",
}
KNOWN = "of math and numpy these are known: " + ", ".join(sorted(FUNCTIONS))
HINTS = (  # a pattern in what Numba says -> what to write
    (r"has no attribute '(\w+)'", "{0} is not known; " + KNOWN),
    (r"Function\(<(?:built-in function|function|class|ufunc) '?(?!i?(?:add|sub|mul|pow|truediv)\b)(\w+)",
     "{0} is not for the numbers here; " + KNOWN),
    (r"NameError: name '(\w+)' is not defined", "no variable {0} is in sight"),
    (r"No conversion from none|unify.*none", "it does not return a number on every path"),
    (r"array\(|list|NRT|List\(", "it works on one number, not on arrays or lists: write it for a scalar"),
    (r"UniTuple|Tuple", "check how many numbers it returns: an activation and a loss one, an update (w, *slots)"),
)


def _where(filename, line):
    text = linecache.getline(filename, line).strip()
    return f"line {line} of {filename}" + (f": {text}" if text else "")


def _line_of(code, name=None):
    """Where a name stands in a function, or the function."""
    lines = [instruction.positions.lineno for part in codes(code) for instruction in dis.get_instructions(part)
             if name is not None and instruction.argval == name]
    return next(filter(None, lines), code.co_firstlineno)


def checked(function):
    """The function, if it holds nothing that Numba would take and C could not return."""
    function = plain_function(function)
    for code in codes(function.__code__):
        for instruction in dis.get_instructions(code):
            why = REFUSED.get(instruction.opname)
            if why and not (instruction.opname == "STORE_DEREF" and instruction.argval in code.co_cellvars):
                line = getattr(instruction.positions, "lineno", None) or code.co_firstlineno
                raise CannotCompile(f"{function.__name__} cannot be compiled: {why} ({_where(code.co_filename, line)})")
    return function


@contextmanager
def explained(function):
    """What Numba raises in here, as CannotCompile."""
    from numba.core import errors

    try:
        yield
    except CannotCompile:
        raise
    except (errors.NumbaError, NotImplementedError, AssertionError, AttributeError) as error:
        function = plain_function(function)
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        places = re.findall(r'File "([^"]+)", line (\d+)', text)
        own = [place for place in places if place[0] == function.__code__.co_filename] or places
        match, hint = next(((match, hint) for pattern, hint in HINTS if (match := re.search(pattern, text))),
                           (None, "write it with numbers alone"))
        names = match.groups() if match else ()
        what = hint.format(*names)
        name, line = own[-1] if own else (function.__code__.co_filename, _line_of(function.__code__, *names))
        first = next((line.strip() for line in text.splitlines() if line.strip()
                      and not line.startswith(("Failed in", "During"))), type(error).__name__)
        raise CannotCompile(f"{function.__name__} cannot be compiled: {what} ({_where(name, int(line))}; "
                            f"Numba: {first})") from error
