"""What layers beyond dense cost:  python bench/layers.py

Prints three Markdown tables, in float32, of the native backend and of PyTorch eager where it is installed: a
convolution forward and backward; a step of 784-256-128-10 with a layer behind each hidden one; a step of a residual
network, and the memory that it takes. All take turns: first with one thread on one core, then with two on two.
"""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path
from time import sleep

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks import conditions, layers
from benchmarks.markdown import head, row
from benchmarks.workloads import WORKLOADS
from peers import process

import bpfast as bp

N_CORES = len(conditions.CORES) or 1
SECONDS = 0.2  # of a turn, or an epoch if that is longer
MEMORY_STEPS = 10

CONVOLUTION_NOTES = f"""
Milliseconds of {layers.BATCH} images through a kernel 3 x 3, and back to images, kernel and bias. bpfast: a whole step
of SGD, with the gather of the images, a factor for each channel before the convolution, the mean over each image and
a squared error behind it; "the rest" is such a step without the convolution. PyTorch: conv2d and its gradients alone,
in its memory formats NHWC (channels_last) and NCHW; the ratio is the faster one over bpfast."""
DENSE_NOTES = f"""
Microseconds per step of Adam on {WORKLOADS["medium"].batch} rows, then over those of the plain net. PyTorch has its
fused Adam."""
RESIDUAL_NOTES = f"""
Milliseconds per step of Adam on {layers.BATCH} images of 28 x 28; PyTorch has its fused Adam. Memory: the MB by which a
fresh process grows at most, its library loaded, as it makes data and network and trains for {MEMORY_STEPS} steps."""

try:
    torch, MISSING = importlib.import_module("peers.layers"), None
except ModuleNotFoundError as error:
    torch, MISSING = None, f"{error.name}: not installed"
FORMATS = [*torch.FORMATS] if torch else []
PYTORCH, RATIO = [f"PyTorch {name}" for name in FORMATS], ["ratio"] if torch else []
SIDES = ["bpfast", *FORMATS]


class Own(common.Fit):
    """The workload in bpfast."""

    def __init__(self, workload, threads, **options):
        super().__init__(workload, "float32", *workload.data("float32"), "native", n_threads=threads, **options)

    def reset(self):
        super().reset()
        sleep(process.PAUSE)


def main():
    options = parser().parse_args()
    print(*common.describe(), f"PyTorch: {MISSING or torch.version}", sep="\n")
    for name in options.table or TABLES:
        TABLES[name](sorted({*(options.threads or range(1, 1 + min(2, N_CORES)))}), options.rounds)
    print(f"\nEvery time is the least (the median) of {options.rounds} turns.")


def convolutions(threads, rounds):
    head("convolution", "threads", "bpfast", "GFLOP/s", "the rest", *PYTORCH, *RATIO)
    for name, (size, channels, filters) in layers.CONVOLUTIONS.items():
        flops = 3 * 2 * layers.BATCH * size**2 * 9 * channels * filters
        whole = layers.convolution(size, channels, filters)
        rest = whole._replace(layers=[layer for layer in whole.layers if not isinstance(layer, bp.Conv2D)])
        for k in threads:
            own, without, *others = race(
                k, rounds, *(Own(workload, k, optimizer=bp.SGD(1e-3)) for workload in (whole, rest)),
                *(torch.Convolution(name, layers.BATCH, size, channels, filters) for name in FORMATS))
            row(name, k, ms(own), f"{1e-9 * flops / own.min():.0f}", ms(without), *map(ms, others), *ratio(own, others))
    print(CONVOLUTION_NOTES)


def between(threads, rounds):
    head("layer", "threads", "bpfast", "cost", *(["PyTorch", "cost"] if torch else []))
    medium = WORKLOADS["medium"]
    for k in threads:
        nets = [layers.medium(), *(layers.medium(layer) for layer in layers.BETWEEN.values())]
        names, X, y = [None, *layers.BETWEEN], *nets[0].data("float32")
        sides = [[Own(net, k) for net in nets]]
        if torch:
            sides.append([torch.dense(medium.widths, name, X, y, medium.batch) for name in names])
        seconds = race(k, rounds, *(contestant for side in sides for contestant in side)) / layers.STEPS
        for i, name in enumerate(names):
            cells = [(us(side[i]), f"{side[i].min() / side[0].min():.2f}")
                     for side in seconds.reshape(len(sides), len(names), -1)]
            row(name or "none", k, *(cell for pair in cells for cell in pair))
    print(DENSE_NOTES)


def residual_network(threads, rounds):
    head("network", "threads", "bpfast", *PYTORCH, *RATIO, *(f"{side} MB" for side in SIDES))
    for k in threads:
        own, *others = race(k, rounds, *(residual_network_of(side, k) for side in SIDES))
        row(f"resnet{layers.RESIDUAL}", k, ms(own), *map(ms, others), *ratio(own, others),
            *(f"{fresh_growth(side, k):.0f}" for side in SIDES))
    print(RESIDUAL_NOTES)


TABLES = {"convolutions": convolutions, "layers": between, "network": residual_network}


def residual_network_of(side, threads):
    """In "bpfast", or in PyTorch with a memory format."""
    workload = layers.residual_network()
    if side == "bpfast":
        return Own(workload, threads)
    return torch.residual_network(side, *layers.RESIDUAL, *workload.data("float32"), workload.batch)


def race(threads, rounds, *contestants):
    """-> (contestants, rounds) seconds per epoch."""
    conditions.begin(threads)
    if torch:
        torch.use(threads)
    for contestant in contestants:
        contestant.epochs(1)  # makes plans and touches memory
    return common.race(*contestants, rounds=rounds, seconds=SECONDS)[0]


def fresh_growth(side, threads):
    """``growth`` in a process of its own."""
    command = [sys.executable, "-c", f"import layers; print(layers.growth({side!r}, {threads}))"]
    environment = os.environ | {"BENCH_THREADS": str(threads)}
    return float(subprocess.check_output(command, cwd=Path(__file__).parent, env=environment))


def growth(side, threads):
    """-> MB, the most by which this process grows as it trains for some steps."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = process.peak_memory()
    if torch:
        torch.use(threads)
    residual_network_of(side, threads).epochs(MEMORY_STEPS)
    return (process.peak_memory() - before) / 1e6


def ratio(own, others):
    """-> a cell, the fastest other one over ours, or none."""
    return [f"{min(seconds.min() for seconds in others) / own.min():.2f}"] if others else []


def ms(seconds):
    return f"{1e3 * seconds.min():.2f} ({1e3 * np.median(seconds):.2f})"


def us(seconds):
    return f"{1e6 * seconds.min():.0f} ({1e6 * np.median(seconds):.0f})"


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"action": "append", "help": "one; give it again for more"}
    options.add_argument("--table", choices=TABLES, **several)
    options.add_argument("--threads", type=int, choices=range(1, 1 + N_CORES), **several)
    options.add_argument("--rounds", type=int, default=9, help="turns of each; default: %(default)s")
    return options


if __name__ == "__main__":
    main()
