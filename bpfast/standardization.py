"""What a Standardize layer learns: the mean and the deviation of every input."""

import numpy as np

from .sparse import SparseRows

ROWS = 4096  # looked at together, so that memory stays small


def learn_scale(network, X, rows):
    """Give the Standardize layer of a network, if there is one that knows none, the mean and deviation of X.

    ``rows`` (k,) are those to learn from, None: all.  Means are over all axes but the last; of channels in images.
    """
    for i in network.program.instructions:
        if i.op == "standardize":
            mean, deviation, known = (network.statistics[name] for name in i.statistics)
            if not known.any():
                if isinstance(X, SparseRows):
                    raise ValueError(
                        f"layer {i.layer!r} would take the mean from X, after which no number of a sparse matrix is "
                        "zero: leave it out and divide columns by their largest number, or use X.toarray()")
                mean[...], deviation[...] = scale_of(X, rows)
                known[...] = 1


def scale_of(X, rows):
    """-> mean, deviation (c,) in double precision; of what never changes the deviation is 1."""
    n = len(X) if rows is None else len(rows)

    def mean_of(f):
        blocks = (slice(begin, begin + ROWS) if rows is None else rows[begin : begin + ROWS]
                  for begin in range(0, n, ROWS))
        sums = sum(f(X[block].astype(np.float64).reshape(-1, X.shape[-1])).sum(axis=0) for block in blocks)
        return sums / (n * np.prod(X.shape[1:-1], dtype=int))

    mean = mean_of(lambda x: x)
    deviation = np.sqrt(mean_of(lambda x: (x - mean) ** 2))
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1, deviation)
