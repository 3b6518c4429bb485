"""Honest conditions: OpenBLAS free to use the whole CPU, one thread, one core, or as many as BENCH_THREADS says.

NumPy reads the environment when it is loaded, so this module comes first. asv, whose processes load NumPy before
the benchmarks, has it as a plugin, and hands the environment on.
"""

import os
import sys

HELD_BACK = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where these are set, NumPy runs at half its speed
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BPFAST_NUM_THREADS")

N_THREADS = int(os.environ.get("BENCH_THREADS", 1))
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # not on every system

TOO_LATE = "numpy" in sys.modules and any(name in os.environ for name in HELD_BACK)
for name in HELD_BACK:
    os.environ.pop(name, None)
os.environ.update(dict.fromkeys(THREADS, str(N_THREADS)))


def begin(n_threads=N_THREADS):
    """Pin this process to a core for each thread; to choose which: ``taskset -c N``."""
    if TOO_LATE:
        raise ImportError(f"unset {' and '.join(HELD_BACK)}: NumPy is already loaded, and held back by them")
    if CORES:
        os.sched_setaffinity(0, CORES[-n_threads:])


def use_all_cores():
    """Undo the pinning, for work that is not timed."""
    if CORES:
        os.sched_setaffinity(0, CORES)
