"""Whole fits and predictions of bpfast.sklearn beside scikit-learn's:  python bench/estimators.py

Prints Markdown tables, on one core with one thread; with BENCH_THREADS=2 on two with two. Both have the same settings,
and where a table says so the same number of iterations; they take turns, times are medians, a ratio is the median of
those of each turn. Beside every figure is the bar it is to reach: the least ratio, or the longest time of bpfast.
Ends with status 1 where one is missed.
"""

import argparse
import sys
import warnings
from time import sleep

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
import scipy.sparse
import sklearn
from benchmarks.conditions import N_THREADS
from benchmarks.markdown import head, row
from benchmarks.workloads import SEED, draw
from peers import process
from sklearn import neural_network
from sklearn.datasets import load_digits

import bpfast.sklearn

SECONDS = 0.1  # of a turn, or one fit if that is longer
NETS = (  # hidden layers, inputs, batch, rows, epochs, outputs to learn: classes, or 1 number; bars in both dtypes
    ((100,), 50, 200, 5000, 25, (2, 10, 1), {"float32": 8, "float64": 4.5}),
    ((64, 64), 20, 32, 1000, 30, (2, 10), {"float32": 20, "float64": 12}),
    ((256, 128), 784, 128, 2560, 5, (2, 10), {"float32": 2.3, "float64": 1.8}),
)
LBFGS_ITERATIONS = 40, 1000  # both do the first number; with the second each ends where it has converged


class Repeated:
    """Does a thing n times, as ``common.race`` asks for epochs."""

    def __init__(self, do, dtype):
        self.do, self.dtype = do, dtype

    def reset(self):
        sleep(process.PAUSE)

    def epochs(self, n):
        for _ in range(n):
            self.do()


class Table:
    """Rows of a comparison, and whether each keeps its bar."""

    def __init__(self, unit, rounds):
        self.unit, self.rounds, self.kept = unit, rounds, True

    def head(self, what):
        head(what, "dtype", f"scikit-learn, {self.unit}", f"bpfast, {self.unit}", "ratio", "bar")

    def compare(self, name, dtype, make, least=None, longest=None):
        """``make(estimators, **options)`` makes what is timed of a module, with the options that it has besides.

        The bar is the least ratio, or the longest seconds.
        """
        bar = f"{least}x" if longest is None else self.time(longest)
        sides = [Repeated(make(neural_network), dtype), Repeated(make(bpfast.sklearn, n_threads=N_THREADS), dtype)]
        for side in sides:
            side.epochs(1)  # makes plans and touches memory
        theirs, own = common.race(*sides, rounds=self.rounds, seconds=SECONDS)[0]
        kept = np.median(theirs / own) >= least if longest is None else np.median(own) <= longest
        self.kept &= bool(kept)
        row(name, dtype, self.time(np.median(theirs)), self.time(np.median(own)), f"{np.median(theirs / own):.2f}x",
            bar if kept else f"{bar}: missed")

    def time(self, seconds):
        return f"{seconds * {'ms': 1e3, 'us': 1e6}[self.unit]:.1f}"


def main():
    options = parser().parse_args()
    warnings.simplefilter("ignore", UserWarning)  # fits end when they are asked to; some pixels never change
    print(*common.describe(), f"scikit-learn {sklearn.__version__}, threads: {N_THREADS}", sep="\n")
    kept = [TABLES[name](options.rounds) for name in options.table or TABLES]
    print(f"\nEvery figure is the median of {options.rounds} turns.")
    return not all(kept)


def fits(rounds):
    table = Table("ms", rounds)
    table.head("fit by Adam: net, rows x epochs")
    for hidden, n_in, batch, n, epochs, outputs, bars in NETS:
        for n_out in outputs:
            for dtype, bar in bars.items():
                X, y = data((n, n_in), n_out, dtype)
                name = f"{'-'.join(map(str, (n_in, *hidden)))}, {learns(n_out)}, batch {batch}, {n} x {epochs}"
                table.compare(name, dtype, fit(n_out, X, y, hidden_layer_sizes=hidden, batch_size=batch,
                                               max_iter=epochs, n_iter_no_change=epochs), bar)
    return table.kept


def other_fits(rounds):
    table = Table("ms", rounds)
    table.head("fit")
    X, y = load_digits(return_X_y=True)
    for n in LBFGS_ITERATIONS:
        table.compare(f"64-50, digits, lbfgs, {n} iterations at most", "float64",
                      fit(10, X / 16, y, hidden_layer_sizes=(50,), solver="lbfgs", max_iter=n), 1)
    X, y = data((500, 20), 2, "float64")
    few = {"hidden_layer_sizes": (20,), "max_iter": 100, "n_iter_no_change": 100}
    table.compare("20-20, 2 classes, 500 rows, early stopping, 100 epochs", "float64",
                  fit(2, X, y, early_stopping=True, **few), 1)
    table.compare("the same, partial_fit", "float64", partial_fit(2, X, y, **few), 1)
    for dtype in common.DTYPES:
        X = scipy.sparse.random(5000, 20_000, 0.005, "csr", dtype, SEED)
        table.compare("20000-100, 2 classes, batch 200, 5000 sparse rows (0.5 %), 2 epochs", dtype,
                      fit(2, X, data((5000, 1), 2, dtype)[1], max_iter=2), 3)
    return table.kept


def predictions(rounds):
    table = Table("us", rounds)
    table.head("predict")
    for dtype in common.DTYPES:
        for n_out in (2, 10, 1):
            for n, bar in (1, {"longest": 15e-6}), (100_000, {"least": 2}):
                table.compare(f"50-100, {learns(n_out)}, rows: {n}", dtype, predict(n, n_out, dtype), **bar)
    return table.kept


TABLES = {"fit": fits, "other": other_fits, "predict": predictions}


def fit(n_out, X, y, **settings):
    """-> what makes whole fits, each of a model anew."""
    return lambda estimators, **options: lambda: new(estimators, n_out, **settings, **options).fit(X, y)


def partial_fit(n_out, X, y, **settings):
    """-> what makes single epochs of one model, a call each."""

    def make(estimators, **options):
        model = new(estimators, n_out, **settings, **options).fit(X, y)
        return lambda: model.partial_fit(X, y)

    return make


def predict(n, n_out, dtype):
    """-> what makes predictions of n rows by a model that has seen them, or the 200 that these are of."""
    X, y = data((max(n, 200), 50), n_out, dtype)

    def make(estimators, **options):
        model = new(estimators, n_out, max_iter=1, **options).fit(X, y)
        return lambda: model.predict(X[:n])

    return make


def new(estimators, n_out, **settings):
    name = "MLPRegressor" if n_out == 1 else "MLPClassifier"
    return getattr(estimators, name)(random_state=SEED, **settings)


def data(shape, n_out, dtype):
    """-> X, y (n,)."""
    X, y = draw(shape, n_out, "squared_error" if n_out == 1 else "cross_entropy", dtype)
    return X, y.ravel()


def learns(n_out):
    return "a number" if n_out == 1 else f"{n_out} classes"


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--table", choices=TABLES, action="append", help="one; give it again for more")
    options.add_argument("--rounds", type=int, default=7, help="turns of each; default: %(default)s")
    return options


if __name__ == "__main__":
    sys.exit(main())
