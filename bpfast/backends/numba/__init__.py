"""What Numba compiles: the texts of the ops as loops (plan.py), and functions that a user writes (functions.py).

Numba is imported where the first is used, and where the second compiles: what a cache gives back needs it not.
"""

from .locks import COMPILING

__all__ = ["Kernels", "Plan", "runs"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with COMPILING:  # a child forked amid the import would wait for it forever
        from . import plan
    return getattr(plan, name)
