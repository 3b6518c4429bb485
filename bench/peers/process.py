"""How the process of a peer begins: NumPy, torch and JAX read their threads when they are loaded."""

import os
from time import perf_counter

begun = None


def begin(threads, scratch):
    """Before anything else: the clock of a cold start, the threads and their cores, an empty cache of compiled code."""
    global begun
    begun = perf_counter()
    os.environ.update(BENCH_THREADS=str(threads), TORCHINDUCTOR_CACHE_DIR=scratch, JAX_PLATFORMS="cpu")
    from ..benchmarks import conditions

    conditions.begin()
