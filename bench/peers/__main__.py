"""The time of a training step in other libraries, beside bpfast:  python -m bench.peers

Prints two Markdown tables: microseconds per step, and what a first fit in a fresh process costs. All do the same work
in float32: the gather of a batch, forward, loss, backward, Adam. Every peer with every number of threads has a process
of its own, pinned to as many cores; they train in turns, while the others sleep. Where a peer cannot do the work, or
learns otherwise than bpfast, the table says why.
"""

import argparse
import math
import pickle
import platform
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from ..benchmarks import common, conditions
from ..benchmarks.markdown import head, row
from ..benchmarks.workloads import ROWS, WORKLOADS
from . import PEERS
from .racer import Racer

SECONDS = 0.1  # of a turn, or an epoch if that is longer
COLD_STARTS = 3
SMALL, MEDIUM = "small", "medium"  # the workloads of first fits

STEP_NOTES = f"""
Microseconds per step: the least (the median) of {{}} turns of {SECONDS} s, or of an epoch of {ROWS} rows if longer;
then the least as a multiple of that of bpfast with as many threads. bpfast and scikit-learn check and shuffle their
rows on the clock, the others are given the order. Compilation counts in the cold start alone.
FMA peak of a core in float32: {{:.0f}} GFLOP/s"""
FIRST_FIT_NOTES = f"""
Cold start: from the first line of a fresh process, before NumPy is loaded, to the end of a first epoch of {SMALL},
the least of {{}}. Memory: the peak of such a process with {MEDIUM}, its rows included. Threads: {{}}. numpy
loads bpfast, too, for its first weights."""


def main():
    options = parser().parse_args()
    conditions.use_all_cores()
    peers = [name for name in PEERS if name == "bpfast" or name in (options.peer or PEERS)]
    threads = sorted({*(options.threads or range(1, 1 + min(2, n_cores())))})
    print(*common.describe(), sep="\n")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}, cores: {n_cores()}")
    with TemporaryDirectory() as folder:
        tabulate_steps(peers, threads, options.workload or WORKLOADS, options.rounds, Path(folder))
        tabulate_first_fits(peers, max(threads), min(options.rounds, COLD_STARTS), Path(folder))


def tabulate_steps(peers, threads, names, rounds, folder):
    head("workload", "threads", *peers)
    peaks = []
    with ExitStack() as stack:
        racers = [Racer(peer, k, stack) for k in threads for peer in peers]
        for name in names:
            peaks.append(race(racers, name, rounds, folder))
            for k in threads:
                own, *others = (racer for racer in racers if racer.threads == k)
                row(name, k, *(step_cell(racer, own, WORKLOADS[name].steps) for racer in (own, *others)))
    print(STEP_NOTES.format(rounds, max(peaks) / 1e9))


def race(racers, name, rounds, folder):
    """Let all train in turns; -> the peak of a core in FLOP/s, the best of all rounds, NaN without native code."""
    task, expected = save(name, folder), expected_losses(WORKLOADS[name])
    with ThreadPoolExecutor(n_cores()) as pool:  # compilers side by side
        list(pool.map(lambda racer: racer.prepare(task, expected), racers))
    for racer in racers:
        racer.warm_up(SECONDS)
    peak = -math.inf if common.native else math.nan
    for _ in range(rounds):
        for racer in racers:
            racer.turn()
        if common.native:
            peak = max(peak, 1e9 * common.native.fma_peak("float32"))
    return peak


def save(name, folder):
    """Write a task; -> its path."""
    workload, path = WORKLOADS[name], folder / name
    layers = [*zip(*workload.views(workload.network("float32").to_vector()))]
    with path.open("wb") as file:
        pickle.dump((workload, *workload.data("float32"), layers), file, protocol=5)  # which is read without a copy
    return path


def expected_losses(workload):
    """Of bpfast, over all rows: before, and after an epoch."""
    trainer, (X, y) = workload.trainer("auto", "float32"), workload.data("float32")
    before = trainer.evaluate(X, y)["loss"]
    trainer.fit(X, y, epochs=1, verbose=False)
    return before, trainer.evaluate(X, y)["loss"]


def step_cell(racer, own, steps):
    if racer.failure:
        return racer.failure
    least, median = (1e6 / steps * of(racer.seconds) for of in (min, statistics.median))
    ratio = "" if own.failure or racer is own else f", {min(racer.seconds) / min(own.seconds):.1f}x"
    return f"{figure(least)} ({figure(median)}){ratio}"


def tabulate_first_fits(peers, threads, starts, folder):
    tasks = [save(SMALL, folder)] * starts + [save(MEDIUM, folder)]
    columns = [first_fits(peer, threads, tasks) for peer in peers]
    head("", *peers)
    for title, *cells in zip(("version", "cold start, s", "peak memory, MB"), *columns):
        row(title, *cells)
    print(FIRST_FIT_NOTES.format(starts, threads))


def first_fits(peer, threads, tasks):
    """-> three cells."""
    answers = []
    for task in tasks:
        with ExitStack() as stack:
            racer = Racer(peer, threads, stack)
            answers.append(racer.first_fit(task))
        if racer.failure:
            return [racer.failure] * 3
    (version, *_), *_, (_, _, memory) = answers
    return version, figure(min(seconds for _, seconds, _ in answers[:-1])), f"{memory / 1e6:.0f}"


def figure(number):
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"


def n_cores():
    return len(conditions.CORES) or 1


def parser():
    options = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.splitlines()[0])
    several = {"action": "append", "help": "one; give it again for more"}
    options.add_argument("--workload", choices=WORKLOADS, **several)
    options.add_argument("--peer", choices=PEERS, **several)
    options.add_argument("--threads", type=int, choices=range(1, 1 + n_cores()), **several)
    options.add_argument("--rounds", type=int, default=9, help="turns of each; default: %(default)s")
    return options


if __name__ == "__main__":
    main()
