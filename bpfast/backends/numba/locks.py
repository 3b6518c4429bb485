"""One thread compiles, or imports Numba, at a time; a fork waits for it, so that a child finds no lock taken."""

import logging  # noqa: F401  its lock, which Numba takes, is to be held after ours: hooks run from the last to the first
import os
import sys
import threading

COMPILING = threading.RLock()  # taken before Numba's own, always
_held = []  # releases, while the process forks


def _hold():
    """Wait for who compiles: our lock, Numba's, and that around all calls of LLVM."""
    COMPILING.acquire()
    _held.append(COMPILING.release)
    compiling = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    if compiling is not None:
        compiling.acquire()
        _held.append(compiling.release)
    calling = getattr(getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None), "_lock", None)
    if calling is not None:
        calling.__enter__()
        _held.append(lambda: calling.__exit__(None, None, None))


def _let_go():
    releases = _held[::-1]
    _held.clear()  # before the last of them: another thread that forks fills it from then on
    for release in releases:
        release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)
