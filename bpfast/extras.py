"""Packages that bpfast can use but does not need: each is an extra, imported where it is used."""

import importlib.util

EXTRAS = {"matplotlib": "plot", "pandas": "pandas", "scipy": "scipy"}  # package -> the extra that installs it


def need(package, purpose):
    """Raise ImportError with the command that installs a package, where it is missing."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(f'{purpose} needs {package}: python -m pip install "bpfast[{EXTRAS[package]}]"')
