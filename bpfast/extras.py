"""Packages that bpfast can use but does not need: each is an extra, imported where it is used."""

import importlib

EXTRAS = {  # package -> the extra that installs it
    "matplotlib": "plot", "pandas": "pandas", "scipy": "scipy", "sklearn": "sklearn",
    "tensorboardX": "tensorboard",
}  # fmt: skip


def need(module, purpose):
    """-> the module, imported; ImportError with the command that installs its package, where that is missing."""
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name not in (package, None):  # one that it needs itself
            raise
        command = f'python -m pip install "bpfast[{EXTRAS[package]}]"'
        raise ImportError(f"{purpose} needs {package}: {command}") from error
    return importlib.import_module(module)
