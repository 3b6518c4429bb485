"""The benches of bpfast.sklearn: what they print, and how a bar that is missed and a refusal are told."""

import numpy as np
from samples import ROOT, python

COMPARE = """
import sys
import estimators

X, y = estimators.data((50, 4), 2, "float32")
work = estimators.fit(2, X, y, hidden_layer_sizes=(3,), max_iter=1)
table = estimators.Table("ms", rounds=1)
table.compare("kept", "float32", work, 0)
assert table.kept
table.compare("missed", "float32", work, longest=0)
assert not table.kept
"""


def rows_of(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_figures_stand_beside_their_bars():
    kept, missed = rows_of(python("-W", "ignore", "-c", COMPARE, cwd=ROOT / "bench").stdout)
    assert kept[0] == "kept" and kept[-1] == "0x"
    assert missed[-1] == "0.0: missed"
    theirs, own = map(float, kept[2:4])
    assert 0 < own < 1e4 and 0 < theirs < 1e4 and float(kept[4].rstrip("x")) > 0


def test_accuracies_of_few_rows_are_those_of_scikit_learn(tmp_path):
    """One batch is all rows of these sets: only rounding can differ."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    for folder, y in ("classif", (X[:, 0] > X[:, 1] ** 2).astype(np.int16)), ("regression", X[:, 0] + X[:, 1] ** 2):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "few.npz", X=X, y=y)
    said = python("bench/accuracy.py", tmp_path, "--seeds", 2, "--rows", 100, cwd=ROOT).stdout
    [_, _, *sets, mean] = rows_of(said)
    assert [row[:3] for row in sets] == [["few", "100 of 120", "accuracy"], ["few", "100 of 120", "R^2"]]
    assert mean[0] == "mean of the sets"
    for _, _, _, own, theirs, difference, error, _ in sets:
        assert 0.5 < float(own) < 1 and abs(float(own) - float(theirs)) < 2e-3
        assert abs(float(difference)) < 2e-3 and float(error) < 2e-3
