"""The memory of a fit of 1e6 rows of 64 numbers, beyond that of X and y: the order of the rows takes 8 MB.

A copy of X would take 64 MB for each byte of a number.  The data repeat a few rows, so that they are made quickly.
"""

import resource

import numpy as np

import bpfast as bp

from .common import SEED, need

ROWS, N_IN, DIFFERENT = 1_000_000, 64, 1000
FILE = "X.npy"  # in the folder that asv runs benchmarks in


def rows(dtype):
    """-> (DIFFERENT, N_IN) of normal deviates."""
    return np.random.default_rng(SEED).standard_normal((DIFFERENT, N_IN)).astype(dtype)


def repeated(array):
    """Each row so often that there are ROWS; the dtype stays."""
    return np.repeat(array, ROWS // DIFFERENT, axis=0)


KINDS = {
    "float64": lambda: repeated(rows("f8")),
    "memory map": lambda: np.load(FILE, mmap_mode="r"),
    "float16": lambda: repeated(rows("f2")),
    "big-endian": lambda: repeated(rows(">f4")),
    "every second column": lambda: repeated(np.repeat(rows("f4"), 2, axis=1))[:, ::2],
}


def peak():
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Fit:
    """One epoch of 64-16-1; asv starts a process for every kind of X."""

    params = ([*KINDS],)
    param_names = ("X",)

    def setup_cache(self):
        np.save(FILE, KINDS["float64"]())

    def setup(self, kind):
        need("native")
        self.X, self.y = KINDS[kind](), np.ones(ROWS, "f4")
        net = bp.Network([bp.Dense(16, "relu"), bp.Dense(1)], seed=SEED)
        self.trainer = bp.Trainer(net, loss="squared_error", batch_size=128, seed=SEED, backend="native")
        self.trainer.fit(self.X[:DIFFERENT], self.y[:DIFFERENT], epochs=1, verbose=False)

    def fit(self):
        self.trainer.fit(self.X, self.y, epochs=1, verbose=False)

    def peakmem_fit(self, kind):
        self.fit()

    peakmem_fit.params = (["float64", "memory map"],)

    def track_memory_beyond_the_data(self, kind):
        """The growth of the peak; the pages of a mapped file, which count too, have been read before."""
        self.X[::8, 0].max()
        before = peak()
        self.fit()
        return peak() - before

    track_memory_beyond_the_data.unit = "MB"
