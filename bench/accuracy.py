"""What the estimators learn beside scikit-learn's:  python bench/accuracy.py [DATA] [--rows N]

Prints a Markdown table: the mean test score over so many seeds, accuracy or R^2, of bpfast.sklearn and of scikit-learn
with default settings, their difference and its standard error over the seeds. A seed draws the first weights, the order
of the rows, and the split into 75 % to learn from and 25 % to test, the same for both; inputs, and targets of
regression, are standardised. A line is marked where bpfast is worse by more than a standard error, which chance alone
does to nearly one in five.  On two cores, about 5 minutes.

DATA is a folder with classif/*.npz, regression/*.npz and uci_reg20/*.npz.
"""

import argparse
import sys
import warnings
from pathlib import Path

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
import sklearn
from benchmarks import conditions
from benchmarks.markdown import head, row
from health import read
from joblib import Parallel, delayed
from results import DATA
from sklearn import neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bpfast.sklearn

ESTIMATORS = bpfast.sklearn, neural_network


def main():
    options = parser().parse_args()
    paths = [path for folder in LEARNERS for path in sorted((options.folder / folder).glob("*.npz"))]
    if not paths:
        sys.exit(f"no sets in {options.folder}; give the folder of the data sets")
    print(*common.describe(), f"scikit-learn {sklearn.__version__}", sep="\n")
    conditions.use_all_cores()
    head("set", "rows", "score", "bpfast", "scikit-learn", "difference", "standard error", "")
    means = []
    with Parallel(n_jobs=len(conditions.CORES) or 1) as pool:
        for path in paths:
            (X, y), learner = read(path), LEARNERS[path.parent.name]
            rows = np.random.default_rng(0).permutation(len(X))[: options.rows]
            scores = pool(delayed(score)(learner(estimators, seed), X[rows], y[rows], seed)
                          for seed in range(options.seeds) for estimators in ESTIMATORS)
            means.append(tell(path.stem, len(rows) if len(rows) == len(X) else f"{len(rows)} of {len(X)}",
                              "accuracy" if learner is classifier else "R^2", np.reshape(scores, (-1, 2))))
    tell("mean of the sets", "", "", np.array(means))


def classifier(estimators, seed):
    return make_pipeline(StandardScaler(), estimators.MLPClassifier(random_state=seed))


def regressor(estimators, seed):
    model = TransformedTargetRegressor(estimators.MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(StandardScaler(), model)


LEARNERS = {"classif": classifier, "regression": regressor, "uci_reg20": regressor}  # of a folder's sets


def score(model, X, y, seed):
    """On the test rows of this seed."""
    warnings.simplefilter("ignore", UserWarning)  # fits end at their 200 iterations; some columns never change
    X, X_test, y, y_test = train_test_split(X, y, random_state=seed)
    return model.fit(X, y).score(X_test, y_test)


def tell(name, rows, what, scores):
    """A row for scores (cases, 2) of bpfast and scikit-learn; -> their means."""
    difference = scores[:, 0] - scores[:, 1]
    mean, error = difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5
    own, theirs = scores.mean(axis=0)
    worse = mean + error < -1e-12  # where one seed alone differs both are equal, but for their rounding
    row(name, rows, what, f"{own:.4f}", f"{theirs:.4f}", f"{mean:+.4f}", f"{error:.4f}", "worse" if worse else "")
    return own, theirs


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", nargs="?", type=Path, default=DATA, help="default: %(default)s")
    options.add_argument("--rows", type=int, default=5000, help="the most of a set; default: %(default)s")
    options.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    return options


if __name__ == "__main__":
    main()
