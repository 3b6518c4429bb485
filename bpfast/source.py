"""How a user's function is pickled: by where it is imported from, or as source text with what it captures."""

import __future__

import ast
import functools
import importlib
import inspect
import linecache
import pickle
import textwrap
from types import ModuleType

import numpy as np

from .ops.rewire import plain_function, surroundings

PLAIN = (int, float, complex, bool, str, type(None), tuple)


def importable(function, stands_in):
    """-> (module, name) under which another process can import what ``stands_in`` for this function; else None."""
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or module is None:
        return None
    try:
        return (module, name) if stands_in(_imported(module, name)) else None
    except (ImportError, AttributeError):
        return None


def import_again(kind, module, name, hyper):
    """-> the op that ``importable`` told of; the error says what is missing."""
    try:
        found = _imported(module, name)
        op = getattr(found, "update", found)
        if getattr(op, "kind", None) != kind:
            raise AttributeError(f"{name!r} is no {kind}")
    except (ImportError, AttributeError) as error:
        raise pickle.UnpicklingError(
            f"what is loaded uses the {kind} {name!r} of module {module!r}, which is not there ({error}): "
            "make this module importable, with the function in it, and load again"
        ) from error
    return op if op.hyper == hyper else op(**hyper)


def _imported(module, name):
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def as_text(function):
    """-> (name, text, {name: captured}), from which ``from_text`` makes the function again.

    PicklingError says what cannot be written down.
    """
    try:
        lines = inspect.getsource(function)
    except OSError as error:
        raise pickle.PicklingError(f"{function.__name__!r} cannot be pickled, its source is not to be found: "
                                   "define it in a module that can be imported") from error
    text = textwrap.dedent(lines)
    start = text.find("def ") if text.lstrip().startswith("@") else 0
    if not text[start:].startswith("def "):
        raise pickle.PicklingError(f"{text.strip()!r} cannot be pickled: write it with def")
    captured = {}
    for name, value in {**_of_defaults(function, text[start:]), **surroundings(function)}.items():
        if plain_function(value) is not function:
            captured[name] = _written(name, value, function)
    return function.__name__, text[start:], captured


def _of_defaults(function, text):
    """Name -> value: the names that stand for the defaults of arguments."""
    nodes, values = ast.parse(text).body[0].args.defaults, function.__defaults__ or ()
    return {node.id: value for node, value in zip(nodes, values) if isinstance(node, ast.Name)}


def same(one, other):
    """Whether two functions, or None, have the same text and capture the same."""
    if one is other or one is None or other is None:
        return one is other
    try:
        return as_text(one) == as_text(other)
    except pickle.PicklingError:
        return False


def from_text(name, text, captured):
    """-> the function that ``as_text`` wrote."""
    scope = {key: _read(value) for key, value in captured.items()}
    file = f"<bpfast {name} {abs(hash(text)):x}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # so that its source is found again
    exec(compile(text, file, "exec", __future__.annotations.compiler_flag), scope)
    return scope[name]


def _written(name, value, function):
    helper = plain_function(value)
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if helper is not None:
        return "function", as_text(helper)
    if isinstance(value, np.ufunc) or getattr(value, "__module__", None) in ("math", "numpy"):
        return "import", getattr(value, "__module__", None) or "numpy", value.__name__
    if isinstance(value, (*PLAIN, np.generic)):
        return "value", value
    raise pickle.PicklingError(f"{function.__name__!r} cannot be pickled: it uses {name} = {value!r}, which is neither "
                               "a number, a function nor a module")


def _read(written):
    kind, *parts = written
    if kind == "module":
        return importlib.import_module(*parts)
    if kind == "function":
        return from_text(*parts[0])
    if kind == "import":
        module, name = parts
        return getattr(importlib.import_module(module), name)
    return parts[0]
