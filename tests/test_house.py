"""The rules of the house: imports go down, twins stand together, an import is light, names are documented."""

import ast
import importlib
import inspect
import json
import os
import re
import sys
from pathlib import Path

import pytest
from samples import ROOT, python

import bpfast as bp

PACKAGE = ROOT / "bpfast"
FLOORS = (  # nothing imports from above itself; what is not listed may not exist
    {"config", "description", "differentiation", "extras", "sparse", "whole"},
    {"ops"},
    {"backends"},
    {"callbacks", "custom", "data", "definition", "divergence", "health", "history", "images", "initializers", "layers",
     "lbfgs", "lifting", "metrics", "network", "optimizers", "plots", "progress", "recording", "reference",
     "regularizers", "resnet", "restarts", "schedules", "source", "standardization", "task", "tensorboard"},
    {"gradcheck", "learning_rate", "selftest", "trainer"},
    {"demo", "sklearn"},
    {"cli"},
    {"", "__main__"},
)
SOURCES = [path for folder in ("bpfast", "tests", "bench", "tools") for path in (ROOT / folder).rglob("*")
           if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".c", ".h"} and path.name != "engine.c"]


def modules():
    """Dotted name below bpfast -> path, for every Python and Cython module."""
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(module, path, text=None):
    """Every bpfast module that a module imports anywhere: -> {dotted name below bpfast}.

    Not counted: the version, which any floor may show.
    """
    text = path.read_text() if text is None else text
    if path.suffix == ".pyx":  # a cimport is an import
        statements = re.findall(r"^(?:from|c?import) [^(\n]*(?:\([^)]*\))?", text, re.MULTILINE)
        text = re.sub(r"\bcimport\b", "import", "\n".join(statements))
    package = ["bpfast", *module.split(".")] if module else ["bpfast"]
    if path.stem != "__init__":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*base, alias.name]) for alias in node.names if alias.name != "__version__"]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "bpfast":
                below = name.split(".")[1:]
                while below and ".".join(below) not in MODULES:
                    below.pop()  # a name within a module
                found.add(".".join(below))
    return found


def floor(module):
    """The number of a module's floor."""
    room = module.split(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def check_direction(module, imported):
    """No import from a higher floor."""
    above = {other for other in imported if floor(other) > floor(module)}
    assert not above, f"{module} imports {', '.join(sorted(above))} from a floor above it"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__main__")])
def test_imports_go_down(module):
    """Imports within functions count too; only a __main__, which is a door, may look up."""
    check_direction(module, imports(module, MODULES[module]))


def test_no_module_imports_itself_in_a_circle():
    graph = {name: imports(name, path) - {name} for name, path in MODULES.items()}
    packages = {name for name, path in MODULES.items() if path.stem == "__init__"}

    def visit(name, trail):
        for other in graph[name]:
            # A package that is being imported may be named by its own modules.
            if other in packages and (name.startswith(f"{other}.") or not other):
                continue
            assert other not in trail, " -> ".join([*trail, other])
            visit(other, [*trail, other])

    for name in graph:
        visit(name, [name])


def test_a_backend_knows_no_other_but_the_reference():
    for name, path in MODULES.items():
        if name.startswith("backends."):
            room = name.split(".")[1]
            others = {other.split(".")[1] for other in imports(name, path) if other.startswith("backends.")}
            assert others <= {room, "base", "numpy", "recorder"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "ops").glob("*.py")), ids=lambda path: path.name)
def test_a_twin_that_is_named_is_there(path):
    for header in re.findall(r"\w+\.h\b", path.read_text()):
        assert path.with_name(header).exists()
        assert path.name in path.with_name(header).read_text()[:500], f"{header} does not name {path.name}"


def test_no_header_without_its_text():
    assert all(path.with_suffix(".py").exists() for path in (PACKAGE / "ops").glob("*.h"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 500


# -- what an import loads -------------------------------------------------------------------------------


def loaded_by(code):
    """The modules that a fresh interpreter has loaded after this code, beyond those that NumPy loads."""
    program = f"import sys, json, numpy; before = set(sys.modules); {code}; " \
              "print(json.dumps(sorted(set(sys.modules) - before)))"
    return json.loads(python("-c", program).stdout)


def test_import_loads_only_what_is_needed():
    """Nothing but bpfast itself and small modules of the standard library; no backend, no door."""
    loaded = loaded_by("import bpfast")
    strangers = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in strangers if not name.startswith("__editable__")} == {"bpfast"}
    heavy = {"argparse", "asyncio", "concurrent", "dataclasses", "doctest", "email", "http", "json", "logging",
             "multiprocessing", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "unittest", "xml"}
    assert not heavy & {name.split(".")[0] for name in loaded}
    later = ("cli", "demo", "plots", "gradcheck", "health", "backends.numpy", "backends.numba", "backends.native")
    assert not {f"bpfast.{module}" for module in later} & set(loaded)


@pytest.mark.parametrize("name", ["numba", "scipy", "pandas", "sklearn", "matplotlib", "torch", "asv"])
def test_a_fit_loads_no_extra(name):
    """Nor does a fit, with a backend that needs none."""
    code = "import bpfast as bp, numpy as np; " \
           "bp.Trainer(bp.Network([bp.Dense(1)]), loss='squared_error', backend='numpy')" \
           ".fit(np.ones((4, 2)), np.ones(4), epochs=1)"
    assert name not in {module.split(".")[0] for module in loaded_by(code)}


# -- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [name for name, path in MODULES.items()
                                    if path.suffix == ".py" and not name.endswith("__main__")])
def test_names_in_all_exist(module):
    try:
        found = importlib.import_module(f"bpfast.{module}".rstrip("."))
    except ModuleNotFoundError:
        if os.environ.get("BPFAST_PURE") == "1" and module.startswith("backends.native"):
            pytest.skip("the native backend was not built, as BPFAST_PURE=1 asks")
        raise
    assert found.__doc__, f"{module} does not say what it is for"
    for name in getattr(found, "__all__", ()):
        assert hasattr(found, name)


def public_objects():
    """Every public name, and every public method of the public classes."""
    for name in bp.__all__:
        thing = getattr(bp, name)
        yield name, thing
        if inspect.isclass(thing):
            for key, member in inspect.getmembers(thing):
                if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    yield f"{name}.{key}", member


@pytest.mark.parametrize("name, thing", [pytest.param(*pair, id=pair[0]) for pair in public_objects()])
def test_public_names_are_documented(name, thing):
    assert inspect.getdoc(thing) and len(inspect.getdoc(thing)) > 15


def test_public_names_are_sorted_and_complete():
    assert sorted(bp.__all__) == sorted(set(bp.__all__))
    public = {name for name in dir(bp) if not name.startswith("_") and not inspect.ismodule(getattr(bp, name))}
    assert public == {*bp.__all__, "TYPE_CHECKING"}
    with pytest.raises(AttributeError, match="'bpfast' has no attribute 'Adm'"):
        _ = bp.Adm


def test_the_version_is_the_projects():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE)[1] == bp.__version__


def test_py_typed_is_there():
    assert (PACKAGE / "py.typed").exists() and Path(bp.__file__).with_name("py.typed").exists()
