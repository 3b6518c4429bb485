"""Published results, learned again:  python bench/results.py [DATA] [--runs N]

Real sets with plain settings: test accuracy of optdigits and adult, the 20 standard splits of five UCI regressions, and
Proben1 by Rprop under the protocol of Prechelt 1994.  Prints what was found beside what is published; ends with status
1 where something is worse than its bound.  About a minute on one core with the default of 30 runs for Proben1.

DATA is a folder with classif/optdigits.npz, classif/adult.npz, uci_reg20/*.npz and proben1/*.npz.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np

import bpfast as bp

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = range(3)

# RMSE and its standard error over 20 splits: scikit-learn 1.9.1, MLPRegressor, Adam, 50 ReLU, 40 epochs
REGRESSION = {
    "bostonHousing": (2.99, 0.18),
    "energy": (0.72, 0.03),
    "kin8nm": (0.0849, 0.0018),
    "power-plant": (4.23, 0.07),
    "wine-quality-red": (0.650, 0.009),
}

# hidden units, squared error percentage and its deviation, class error % and its deviation, of orderings 1, 2, 3:
# Prechelt 1994, "Proben1", technical report 21/94, networks without shortcuts
PROBEN1 = {
    "cancer": (((4, 2), 1.32, 0.13, 1.38, 0.49), ((8, 4), 3.47, 0.28, 4.77, 0.94), ((16, 8), 2.60, 0.22, 3.70, 0.52)),
    "diabetes": (((32,), 16.99, 0.91, 24.10, 1.91), ((16, 8), 18.43, 1.00, 26.42, 2.26),
                 ((32,), 16.48, 1.16, 22.59, 2.23)),
    "glass": (((16, 8), 9.24, 0.32, 32.70, 5.34), ((16, 8), 10.09, 0.28, 55.57, 3.70),
              ((16, 8), 10.74, 0.52, 58.40, 7.82)),
    "thyroid": (((16, 8), 1.28, 0.12, 2.38, 0.35), ((8, 4), 1.02, 0.11, 1.91, 0.24),
                ((16, 8), 1.26, 0.14, 2.27, 0.32)),
}


class Table:
    """Prints a row per result, and remembers whether each keeps its bound."""

    def __init__(self):
        self.kept = True
        print(f"{'set':<18}{'measure':<16}{'found':>9}{'published':>18}{'bound':>10}{'':>7}{'seconds':>9}")

    def row(self, name, measure, found, published, bound, seconds, larger=False):
        """``larger``: found must be at least the bound, otherwise at most."""
        kept = found >= bound if larger else found <= bound
        self.kept &= bool(kept)
        verdict = "ok" if kept else "WORSE"
        numbers = f"{found:>9.4f}{published:>18}{bound:>10.4f}"
        print(f"{name:<18}{measure:<16}{numbers}{verdict:>7}{seconds:>9.2f}", flush=True)


def standardised(train, *others):
    """Every column by the mean and deviation of the first array's."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1
    return [(array - mean) / deviation for array in (train, *others)]


# -- classification ------------------------------------------------------------------------------------------


def optdigits(folder):
    with np.load(folder / "classif" / "optdigits.npz") as file:
        X, y, train, test = (file[name] for name in ("X", "y", "train_idx", "test_idx"))
    X = X / np.float32(16)
    layers = [bp.Dense(100, "relu"), bp.Dense(100, "relu"), bp.Dense(10, "softmax")]
    return X[train], y[train], X[test], y[test], layers, 3e-3, 60


def adult(folder):
    """Numbers standardised, categories one-hot."""
    with np.load(folder / "classif" / "adult.npz") as file:
        parts = dict(file)
    numbers = standardised(parts["X_num_train"], parts["X_num_test"])
    sizes = parts["X_cat_train"].max(axis=0) + 1
    one_hot = [np.hstack([np.eye(size)[column] for size, column in zip(sizes, parts[name].T)])
               for name in ("X_cat_train", "X_cat_test")]
    X, X_test = (np.hstack(pair).astype(np.float32) for pair in zip(numbers, one_hot))
    return X, parts["y_train"], X_test, parts["y_test"], [bp.Dense(64, "relu"), bp.Dense(2, "softmax")], 1e-3, 10


def classification(table, folder):
    """The lowest test accuracy of three seeds."""
    for load, published, bound in (optdigits, ".967-.969", 0.965), (adult, ".844-.854", 0.845):
        X, y, X_test, y_test, layers, rate, epochs = load(folder)
        begin, accuracies = perf_counter(), []
        for seed in SEEDS:
            trainer = bp.Trainer(bp.Network(layers, seed=seed), loss="cross_entropy",
                                 optimizer=bp.Adam(bp.CosineDecay(rate, epochs)), seed=seed)
            trainer.fit(X, y, epochs=epochs, verbose=False)
            accuracies.append(trainer.evaluate(X_test, y_test)["accuracy"])
        seconds = (perf_counter() - begin) / len(SEEDS)
        table.row(load.__name__, "accuracy", min(accuracies), published, bound, seconds, larger=True)


# -- regression ----------------------------------------------------------------------------------------------


def regression(table, folder):
    """Inputs and targets standardised by the training rows; errors in the units of the target."""
    for name, (published, error) in REGRESSION.items():
        with np.load(folder / "uci_reg20" / f"{name}.npz") as file:
            X, y, splits = file["X"], file["y"].reshape(-1, 1), list(zip(file["train_idx"], file["test_idx"]))
        begin, found = perf_counter(), []
        for train, test in splits:
            X_train, X_test = standardised(X[train], X[test])
            y_train, y_test = standardised(y[train], y[test])
            net = bp.Network([bp.Dense(50, "relu", initializer="glorot"), bp.Dense(1)], seed=0)
            trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.Adam(bp.CosineDecay(0.01, 40)), batch_size=16,
                                 seed=0)
            trainer.fit(X_train, y_train, epochs=40, verbose=False)
            found.append(y[train].std() * np.sqrt(np.mean((trainer.predict(X_test) - y_test) ** 2)))
        seconds = (perf_counter() - begin) / len(splits)
        table.row(name, "RMSE", np.mean(found), f"{published:g} +- {error:g}", published + error, seconds)


# -- Proben1 -------------------------------------------------------------------------------------------------


class Prechelt(bp.Callback):
    """Ends a fit by generalisation loss or lack of progress, and keeps the network of the least validation error.

    Every five epochs: GL = 100 (E_va / least E_va - 1) > 5, or P5 = 1000 (mean E_tr / least E_tr - 1) < 0.1 over the
    five.   Source: Prechelt 1994, section 3.
    """

    STRIP = 5

    def begin(self, trainer):
        self.strip, self.least, self.best = [], np.inf, None

    def epoch(self, trainer, figures):
        self.strip.append(figures["loss"])
        if len(self.strip) < self.STRIP:
            return False
        if figures["val_loss"] < self.least:
            self.least, self.best = figures["val_loss"], trainer.network.to_vector()
        generalisation_loss = 100 * (figures["val_loss"] / self.least - 1)
        progress = 1000 * (np.mean(self.strip) / min(self.strip) - 1)
        self.strip = []
        return bool(generalisation_loss > 5 or progress < 0.1)

    def end(self, trainer):
        trainer.network.from_vector(self.best)


def prechelt_run(hidden, train, validation, test, seed):
    """-> (squared error percentage, class error %) on the test rows; the last layer is linear."""
    begin = bp.Uniform(-0.1, 0.1)
    layers = [*(bp.Dense(units, "softsign", initializer=begin) for units in hidden),
              bp.Dense(train[1].shape[1], initializer=begin)]
    trainer = bp.Trainer(bp.Network(layers, seed=seed), loss="squared_error", optimizer=bp.Rprop(0.01),
                         batch_size="full", seed=seed)
    trainer.fit(*train, epochs=3000, validation=validation, callbacks=Prechelt(), verbose=False)
    outputs = trainer.predict(test[0])
    wrong = outputs.argmax(axis=1) != test[1].argmax(axis=1)
    return 100 * np.mean((outputs - test[1]) ** 2), 100 * wrong.mean()


def proben1(table, folder, runs):
    for name, orderings in PROBEN1.items():
        with np.load(folder / "proben1" / f"{name}.npz") as file:
            parts = dict(file)
        ends = np.cumsum(parts["sizes"])[:2]
        for number, (hidden, error, deviation, class_error, class_deviation) in enumerate(orderings, 1):
            rows = zip(np.split(parts[f"X{number}"], ends), np.split(parts[f"Y{number}"], ends))
            train, validation, test = rows
            begin = perf_counter()
            found = np.mean([prechelt_run(hidden, train, validation, test, seed) for seed in range(runs)], axis=0)
            seconds = (perf_counter() - begin) / runs
            for measure, mean, published, spread in (("squared error", found[0], error, deviation),
                                                     ("class error %", found[1], class_error, class_deviation)):
                table.row(f"{name}{number}", measure, mean, f"{published} +- {spread}", published + spread, seconds)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", nargs="?", type=Path, default=DATA, help="default: %(default)s")
    options.add_argument("--runs", type=int, default=30, help="of every ordering of Proben1; default 30")
    given = options.parse_args()
    if not given.folder.is_dir():
        sys.exit(f"no folder {given.folder}; give the folder of the data sets")
    print(*common.describe(), sep="\n")
    table = Table()
    classification(table, given.folder)
    regression(table, given.folder)
    proben1(table, given.folder, given.runs)
    return not table.kept


if __name__ == "__main__":
    sys.exit(main())
