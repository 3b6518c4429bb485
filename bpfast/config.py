"""What the environment says: threads and the CPU level."""

import os
import threading
from contextlib import contextmanager

CPU_LEVELS = ("base", "v2", "v3", "v4")  # v2: SSE4.2, v3: AVX2 and FMA, v4: AVX-512; base: other processors


def n_threads():
    """Threads to use by default: the cores allowed, capped by BPFAST_NUM_THREADS and OMP_NUM_THREADS."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    caps = [_positive(name) for name in ("BPFAST_NUM_THREADS", "OMP_NUM_THREADS")]
    return min([cores, *(cap for cap in caps if cap)])


class Cores:
    """The cores that the fits of this process share: each by default takes those that no other has, at least one."""

    def __init__(self):
        self.forget()

    def forget(self):
        """No fit runs, as after a fork in the child."""
        self._taken = {}  # thread -> number; no lock, which an interrupt could leave locked

    @contextmanager
    def take(self, n, most):
        """Yield how many threads a fit is to have: n, or by default as many as are free, but no more than ``most``."""
        caller = threading.get_ident()
        try:
            self._taken[caller] = 1  # at once, so that two fits see each other
            others = sum(list(self._taken.values())) - 1
            self._taken[caller] = taken = min(most, max(1, n_threads() - others) if n is None else n)
            yield taken
        finally:
            self._taken.pop(caller, None)


cores = Cores()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=cores.forget)


def _positive(name):
    """The variable as a positive integer, or None where it is unset; OpenMP allows a list, its first entry counts."""
    text = os.environ.get(name, "").split(",")[0].strip()
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} must be a positive integer, got {os.environ[name]!r}")
    return int(text)


def cpu_cap():
    """The highest CPU level that BPFAST_CPU allows, or None."""
    level = os.environ.get("BPFAST_CPU") or None
    if level is not None and level not in CPU_LEVELS:
        raise ValueError(f"BPFAST_CPU must be one of {', '.join(CPU_LEVELS)}, got {level!r}")
    return level
