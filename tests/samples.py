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
