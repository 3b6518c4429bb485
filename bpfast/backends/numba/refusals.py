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
HINTS = (  # a pattern in what Numba says -> what to write
    (r"Unknown attribute '(\w+)' of type Module", "no function or constant {0!r} of this module is known; known are " +
     ", ".join(sorted(FUNCTIONS)) + ", and constants"),
    (r"NameError: name '(\w+)' is not defined|name '(\w+)' is not defined", "no variable {0!r} is in sight"),
    (r"Cannot cast none|none to bpfast|unify.*none", "it does not return a number on every path"),
    (r"array\(|reflected list|List\(", "it works on one number, not on arrays or lists: write it for a scalar"),
    (r"UniTuple|Tuple", "check how many numbers it returns: an activation and a loss one, an update (w, *slots)"),
    (r"bpfast\.Real", "numbers take + - * / ** // %, comparisons, abs, max, min and these of math or numpy: " +
     ", ".join(sorted(FUNCTIONS))),
)


def _where(filename, line):
    text = linecache.getline(filename, line).strip()
    return f"line {line} of {filename}" + (f": {text}" if text else "")


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
    except (errors.NumbaError, NotImplementedError, AssertionError) as error:
        function = plain_function(function)
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        places = re.findall(r'File "([^"]+)", line (\d+)', text)
        own = [place for place in places if place[0] == function.__code__.co_filename] or places
        name, line = own[-1] if own else (function.__code__.co_filename, function.__code__.co_firstlineno)
        what = next((hint.format(*filter(None, match.groups())) for pattern, hint in HINTS
                     if (match := re.search(pattern, text))), "write it with numbers alone")
        first = next((line.strip() for line in text.splitlines() if line.strip()
                      and not line.startswith(("Failed in", "During"))), type(error).__name__)
        raise CannotCompile(f"{function.__name__} cannot be compiled: {what} ({_where(name, int(line))}; "
                            f"Numba: {first})") from error
