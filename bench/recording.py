"""What a recording costs:  python bench/recording.py

Prints a Markdown table, in float32 on one core: a fit with record_every=k over the same fit without it.  All take
turns; a ratio is the median of those of each turn.
"""

import argparse

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks.markdown import head, row
from benchmarks.workloads import WORKLOADS

from bpfast.backends import BACKENDS

EVERY = (1000, 100, 10)


def main():
    options = parser().parse_args()
    print(*common.describe(), sep="\n")
    for backend in options.backend or ["native"]:
        head(f"{backend}: workload", "us a step", "off, again", *(f"every {k}" for k in EVERY))
        for name in options.workload or WORKLOADS:
            workload = WORKLOADS[name]
            rivals = [common.Fit(workload, "float32", *workload.data("float32"), backend, k, n_threads=1)
                      for k in (None, None, *EVERY)]
            for rival in rivals:
                rival.epochs(1)  # compiles, makes plans and touches memory
            us = 1e6 * common.race(*rivals, rounds=options.rounds)[0] / workload.steps
            row(name, f"{us[0].min():.2f}", *(f"{np.median(own / us[0]):.3f}" for own in us[1:]))


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--workload", choices=[*WORKLOADS], action="append", help="one; give it again for more")
    options.add_argument("--backend", choices=BACKENDS, action="append", help="one; give it again for more")
    options.add_argument("--rounds", type=int, default=15, help="of 0.1 s for each side, or of an epoch if longer")
    return options


if __name__ == "__main__":
    main()
