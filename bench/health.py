"""How often a diagnosis is a false alarm:  python bench/health.py [folder of data sets]

Networks that learn, on every set of the folder, inputs standardised: tanh with Xavier's weights, relu with He's, batch
normalisation and residual blocks, 2 and 8 hidden layers, drawn by so many seeds, looked at when they are new and after
some epochs of training. Every verdict is an alarm. Prints a Markdown table with the number of networks and of alarms by
kind, names each alarm, and how far the nearest of all figures was from the threshold; ends with status 1 where an alarm
is not of the classes, of which some sets have too few.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks.markdown import head, row

import bpfast as bp

SETS = Path(__file__).resolve().parents[2] / "shared" / "data" / "classif"
UNITS = 32
TRAINERS = {"adam": (bp.Adam(1e-3), 32), "sgd": (bp.Momentum(1e-2), 32)}
EPOCHS = 8


def dense(activation, initializer):
    """-> what makes so many dense layers."""
    return lambda depth: [bp.Dense(UNITS, activation, initializer=initializer)] * depth


def normalised(depth):
    return [bp.Dense(UNITS), bp.BatchNorm(), bp.Activation("relu")] * depth


def residual(depth):
    return [bp.Dense(UNITS, "relu"), *[bp.Residual(bp.Dense(UNITS, "relu"), bp.Dense(UNITS))] * (depth // 2)]


KINDS = {"Xavier, tanh": dense("tanh", "glorot"), "He, relu": dense("relu", "he"), "batch norm": normalised,
         "residual": residual}
DEPTHS = 2, 8


def main():
    options = parser().parse_args()
    print(*common.describe(), sep="\n")
    sets = {path.stem: load(path) for path in sorted(options.folder.glob("*.npz"))}
    alarms, tried, extremes = Counter(), Counter(), {}
    for name, (X, y, n_classes) in sets.items():
        for kind, layers in KINDS.items():
            for seed in range(options.seeds):
                depth = DEPTHS[seed % len(DEPTHS)]
                optimizer, batch = list(TRAINERS.values())[seed // 2 % len(TRAINERS)]
                net = bp.Network([*layers(depth), bp.Dense(n_classes, "softmax")], input_shape=X.shape[1], seed=seed)
                trainer = bp.Trainer(net, loss="cross_entropy", optimizer=optimizer, batch_size=batch, seed=seed,
                                     n_threads=1)
                tried[kind] += 1
                for when in ("new", "trained"):
                    if when == "trained":
                        trainer.fit(X, y, epochs=EPOCHS, verbose=False)
                    report = trainer.diagnose(X, y)
                    look(report.measured, extremes)
                    for verdict in report.verdicts:
                        alarms[kind, when, verdict.name] += 1
                        print(f"alarm: {name}, {kind}, {depth} layers, seed {seed}, {optimizer!r}, {when}: "
                              f"{verdict.name} {verdict.figures}", flush=True)
    head("networks", "tried", "alarms, new", "trained", "of which class imbalance")
    for kind, n in tried.items():
        new, trained = (sum(count for key, count in alarms.items() if key[:2] == (kind, when))
                        for when in ("new", "trained"))
        row(kind, n, new, trained, alarms[kind, "new", "class imbalance"] + alarms[kind, "trained", "class imbalance"])
    print(f"extremes: {', '.join(f'{name} {value:.3g}' for name, value in extremes.items())}")
    return any(name != "class imbalance" for *_, name in alarms)


def look(m, extremes):
    """Keep the worst figures."""
    hidden = m.delta_norm[:-1]
    figures = {"least delta of the first layer over the largest": -hidden[0] / hidden.max(),
               "first over last": hidden[0] / hidden[-1], "saturated": np.nanmax([0, *m.saturated[:-1]]),
               "dead": np.nanmax([0, *m.dead[:-1]]),
               "last hidden signals over inputs": np.hypot(m.activation_mean, m.activation_std)[-2] / m.input_norm[0]}
    for name, figure in figures.items():
        extremes[name] = max(extremes.get(name, -np.inf), figure)


def load(path):
    """-> X standardised, y, number of classes."""
    X, y = read(path)
    deviation = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1), y, int(y.max()) + 1


def read(path):
    """-> X as it is, y."""
    with np.load(path) as data:
        if "X" in data:
            return data["X"], data["y"]
        # numbers, and categories that become one-hot
        X = [data["X_num_train"]] + [column[:, None] == np.unique(column) for column in data["X_cat_train"].T]
        return np.hstack(X).astype(np.float32), data["y_train"]


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", nargs="?", type=Path, default=SETS, help="default: %(default)s")
    options.add_argument("--seeds", type=int, default=20)
    return options


if __name__ == "__main__":
    sys.exit(main())
