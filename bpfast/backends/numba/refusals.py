"""What cannot be compiled, in words: where in the user's function, why, and what to write instead."""

import re
from contextlib import contextmanager

from ...ops.objections import KNOWN, at_line, objections
from ...ops.rewire import plain_function

__all__ = ["CannotCompile", "checked", "explained", "refusal"]


class CannotCompile(TypeError):
    """A function uses what cannot become machine code; says where, and what to write instead."""


HINTS = (  # a pattern in what Numba says -> what to write
    (r"Function\(<(?:built-in function|function|class|ufunc) '?(?!i?(?:add|sub|mul|pow|truediv)\b)(\w+)",
     "{0} cannot be used here; " + KNOWN),
    (r"array\(|list|NRT|List\(", "it works on one number, not on arrays or lists: write it for a scalar"),
    (r"UniTuple|Tuple", "check how many numbers it returns: an activation and a loss one, an update (w, *slots)"),
)


def refusal(function, why, place=None):
    """The error, with a place (file, line), or that of the function's def."""
    place = place or (function.__code__.co_filename, function.__code__.co_firstlineno)
    return CannotCompile(f"{function.__name__} cannot be compiled: {why} ({at_line(*place)})")


def checked(function):
    """The function, if nothing in its text, and in what it calls, cannot be compiled."""
    for part, line, why in objections(function):
        raise refusal(part, why, (part.__code__.co_filename, line))
    return function


@contextmanager
def explained(function):
    """What Numba raises in here, as CannotCompile."""
    from numba.core import errors

    try:
        yield
    except (errors.NumbaError, NotImplementedError, AssertionError, AttributeError) as error:
        function = plain_function(function)
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        places = [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)]
        own = [place for place in places if place[0] == function.__code__.co_filename] or places
        match, hint = next(((match, hint) for pattern, hint in HINTS if (match := re.search(pattern, text))),
                           (None, "write it with numbers alone"))
        what = hint.format(*(match.groups() if match else ()))
        first = next((line.strip() for line in text.splitlines() if line.strip()
                      and not line.startswith(("Failed in", "During"))), type(error).__name__)
        raise refusal(function, f"{what} (Numba: {first})", own[-1] if own else None) from error
