"""The process of a peer: how it begins, since NumPy, torch and JAX read their threads when loaded, and its memory."""

import os
from pathlib import Path
from time import perf_counter

PAUSE = 0.05  # seconds, in which the threads of the peer before stop spinning

begun = None


def begin(threads, scratch):
    """Before anything else: the clock of a cold start, the threads and their cores, an empty cache of compiled code."""
    global begun
    begun = perf_counter()
    os.environ.update(BENCH_THREADS=str(threads), TORCHINDUCTOR_CACHE_DIR=scratch, JAX_PLATFORMS="cpu")
    from ..benchmarks import conditions

    conditions.begin()


def peak_memory():
    """VmHWM; ru_maxrss would count the parent, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])
