"""A small network that learns from few rows; a fresh Python to do it in; a copy of the sources to build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from checks import digest

import bpfast as bp

ROOT = Path(__file__).resolve().parents[1]  # of the repository
NOT_SOURCES = (".*", "*.so", "*.egg-info", "*.log", "__pycache__", "build", "dist", "results", "html")


def small_rows(rng):
    """-> X (200, 6), labels 0 or 1."""
    X = rng.normal(size=(200, 6))
    return X, (X[:, 0] + X[:, 1] ** 2 > 0.7).astype(int)


def outputs_for(loss, numbers):
    """Outputs that a loss may read, from normal numbers: all of them, or some within its domain and at its ends."""
    if loss.domain == (0, 1):
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-numbers))
    if loss.domain == (0, np.inf):
        return np.maximum(numbers, 0)
    if loss.name == "exponential_poisson":
        return np.minimum(numbers, 50)  # rates that a float32 holds
    return numbers


def targets_for(loss, labels, numbers):
    """Targets of the kind that a loss takes, from labels (n,) and normal numbers (n, n_out)."""
    return {
        "labels": labels,
        "reals": numbers,
        "unit": np.clip(numbers + numbers.dtype.type(0.5), 0, 1),  # zeros, ones and numbers between
        "nonnegative": np.floor(2 * numbers**2),
        "signs": np.where(numbers > 0, 1, -1).astype(numbers.dtype),
    }[loss.targets]


def small_trainer(backend="numpy", *, dtype="float64", **settings):
    """A Trainer of a network that takes its number of inputs from the first data."""
    net = bp.Network([bp.Dense(12, "tanh"), bp.Dense(2, "softmax")], dtype=dtype, seed=1)
    return bp.Trainer(net, loss="cross_entropy", **{"seed": 2, "backend": backend, **settings})


def fit_and_digest(backend):
    """What a process of its own is asked to do: the SHA-256 of a small fit."""
    trainer = small_trainer(backend)
    trainer.fit(*small_rows(np.random.default_rng(0)), epochs=3)
    return digest(trainer.network)


def python(*arguments, cwd=None, path=None, expected=0, **environment):
    """Run a fresh Python that finds what this one does, or only what lies in the folder ``path``; -> its result."""
    path = [str(path)] if path else [*filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def copy_of_the_sources(folder):
    """Copy the repository there, without what builds and tests have left in it."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    return folder
