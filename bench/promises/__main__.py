"""The promises about threads, processes, signals and memory, measured:  python bench/promises [--quick] [--only NAME]

Prints a table, a row for every promise, case and number of threads; ends with status 1 where one is missed.
A few minutes on two quiet cores; --quick repeats less, in half a minute.
"""

import argparse
import os
import sys
import warnings

import interrupts
import memory
import numpy as np
import processes
import threads
from promise import Broken

from bpfast.backends import native

PROMISES = (
    interrupts.ctrl_c, threads.pause, threads.predict, threads.two_models, threads.one_trainer,
    processes.start, processes.loky, processes.bits, memory.memory,
)


def main():
    options = parser().parse_args()
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}"
    print(f"{len(os.sched_getaffinity(0))} cores, CPU level {native.cpu_level()}, {versions}\n")
    print("| name | promise | threads | target | measured | ok |\n|---|---|---|---|---|---|")
    kept = [
        is_kept(promise, case, n_threads, promise.quick if options.quick else promise.repeats)
        for promise in PROMISES if promise.name in (options.only or promise.name)
        for case in promise.cases
        for n_threads in promise.threads
    ]
    return not all(kept)


def is_kept(promise, case, n_threads, repeats):
    """Measure, and print the row; -> whether the promise is kept."""
    try:
        figure = promise.measure(n_threads, repeats, case)
        kept, measured = promise.is_kept(figure), f"{figure:.3g} {promise.unit}"
    except Broken as broken:
        kept, measured = False, str(broken)
    text = f"{promise.text}: {case}" if case else promise.text
    target = f"{'>=' if promise.at_least else '<='} {promise.target:g} {promise.unit}"
    cells = promise.name, text, str(n_threads), target.rstrip(), measured.rstrip(), "ok" if kept else "MISSED"
    print(f"| {' | '.join(cells)} |", flush=True)
    return kept


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [promise.name for promise in PROMISES]
    options.add_argument("--only", choices=names, action="append", help="one; give it again for more")
    options.add_argument("--quick", action="store_true", help="repeat less")
    return options


if __name__ == "__main__":
    sys.exit(main())
