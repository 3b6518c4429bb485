"""How many times as fast as NumPy a training step is:  python bench/compare.py

Prints a table: bpfast through Trainer.fit beside NumpyStep and TunedNumpyStep (benchmarks/common.py), in turns, on
one core, with the same work: shuffle, gather, forward, loss, backward, Adam. A ratio is that of the fastest rounds,
since other processes can only slow a round down. Ends with status 1 where the native engine in float32 misses a
target against NumpyStep.
"""

import argparse
import sys

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks.workloads import WORKLOADS

HEADER = ("workload", "bpfast us", "median", "% of peak", "NumPy us", "median", "ratio", "of medians", "target",
          "tuned us", "ratio")


def main():
    options = parser().parse_args()
    print(*common.describe(), sep="\n")
    print("", row(HEADER), row("-" * len(title) for title in HEADER), sep="\n")
    judged = options.backend == "native" and options.dtype == "float32"
    missed, peaks = [], []
    for name in options.workload or WORKLOADS:
        workload = WORKLOADS[name]
        rivals = [common.contestant(runner, workload, options.dtype) for runner in (options.backend, "numpy", "tuned")]
        seconds, peak = common.race(*rivals, rounds=options.rounds)
        peaks.append(peak)
        us = 1e6 * seconds / workload.steps
        (own, numpy, tuned), (median, median_numpy, _) = us.min(axis=1), np.median(us, axis=1)
        ratio, percent = numpy / own, 100 * workload.flops / (1e-6 * own) / max(peaks)
        print(row((name, time(own), time(median), f"{percent:.0f}", time(numpy), time(median_numpy), f"{ratio:.2f}",
                   f"{median_numpy / median:.2f}", f"{workload.target:g}" if judged else "", time(tuned),
                   f"{tuned / own:.2f}")), flush=True)
        if judged and ratio < workload.target:
            missed.append(f"{name}: {ratio:.2f} is below the target of {workload.target:g}")
    print(f"\nFMA peak of the core in {options.dtype}: {max(peaks) / 1e9:.0f} GFLOP/s")
    if missed:
        print("", *missed, sep="\n")
    return len(missed) > 0


def time(us):
    return f"{us:.2f}" if us < 100 else f"{us:.0f}"


def row(cells):
    """A row of a Markdown table."""
    return f"| {' | '.join(cell.rjust(len(title)) for cell, title in zip(cells, HEADER))} |"


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backend", choices=["native", "numba", "reference"], default="native")
    options.add_argument("--dtype", choices=common.DTYPES, default="float32")
    options.add_argument("--workload", choices=[*WORKLOADS], action="append", help="one; give it again for more")
    options.add_argument("--rounds", type=int, default=15, help="of 0.1 s for either side, or of an epoch if longer")
    return options


if __name__ == "__main__":
    sys.exit(main())
