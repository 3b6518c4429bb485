"""How fast what a user writes in Python runs:  python bench/custom.py

Prints a Markdown table, in float32 on one core: a training step with a relu, a mish and an Adam written as functions
of numbers, over the time of a step with the built-in ones; and beside the net with the written mish PyTorch eager,
where it is installed. All take turns; times are the least, a ratio is the median of those of each turn.
"""

import argparse
import importlib
import math

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks.markdown import head, row
from benchmarks.workloads import WORKLOADS

import bpfast as bp

try:
    torch, MISSING = importlib.import_module("peers.layers"), None
except ModuleNotFoundError as error:
    torch, MISSING = None, f"{error.name}: not installed"


@bp.activation(initializer="he")
def written_relu(x):
    return x if x > 0 else 0.0


@bp.activation
def written_mish(x):
    e = math.exp(min(x, 20.0))  # tanh(log(1 + e)) = n / (n + 2)
    n = e * (e + 2)
    return x * n / (n + 2)


@bp.optimizer
def written_adam(g, w, m, v, lr, step, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + epsilon), m, v


PAIRS = {  # written, built in: settings of a trainer
    "relu": ({"activation": written_relu}, {"activation": "relu"}),
    "mish": ({"activation": written_mish}, {"activation": "mish"}),
    "Adam": ({"optimizer": written_adam(1e-3)}, {"optimizer": bp.Adam(1e-3)}),
}


def main():
    options = parser().parse_args()
    print(*common.describe(), f"PyTorch: {MISSING or torch.version}", sep="\n")
    beside = ["PyTorch, mish", "ratio"] if torch else []
    head("workload", *(cell for name in PAIRS for cell in (f"{name} us", "built in", "ratio")), *beside)
    for name in options.workload or WORKLOADS:
        workload = WORKLOADS[name]
        X, y = workload.data("float32")
        rivals = [common.Fit(workload, "float32", X, y, "native", n_threads=1, **settings)
                  for pair in PAIRS.values() for settings in pair]
        if torch:
            torch.use(1)
            rivals.append(torch.dense(workload.widths, None, X, y, workload.batch, "Mish", workload.loss))
        for rival in rivals:
            rival.epochs(1)  # compiles, makes plans and touches memory
        us = 1e6 * common.race(*rivals, rounds=options.rounds)[0] / workload.steps
        cells = [cell for own, other in us[:6].reshape(3, 2, -1)
                 for cell in (f"{own.min():.2f}", f"{other.min():.2f}", f"{np.median(own / other):.3f}")]
        row(name, *cells, *([f"{us[6].min():.1f}", f"{np.median(us[6] / us[2]):.1f}"] if torch else []))


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--workload", choices=[*WORKLOADS], action="append", help="one; give it again for more")
    options.add_argument("--rounds", type=int, default=15, help="of 0.1 s for each side, or of an epoch if longer")
    return options


if __name__ == "__main__":
    main()
