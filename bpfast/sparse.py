"""Rows most of whose numbers are zero, as SciPy's CSR keeps them; SciPy itself is not needed."""

from functools import cached_property

import numpy as np


class SparseRows:
    """Sparse rows (n, n_in): row i has the numbers ``values[starts[i] : starts[i + 1]]`` in such ``columns``, else 0.

    starts     (n + 1,) intp, ascending from 0
    columns    (k,) int32 or int64, in any order; numbers of a row in the same column add up
    values     (k,) of any real dtype
    """

    ndim = 2

    def __init__(self, starts, columns, values, n_in):
        self.starts, self.columns, self.values = starts, columns, values
        self.shape, self.dtype = (len(starts) - 1, n_in), values.dtype

    def __len__(self):
        return self.shape[0]

    def most_in(self, n):
        """The most numbers that n of the rows have, or more."""
        return min(len(self.values), n * self._longest)

    @cached_property
    def _longest(self):
        return int(np.diff(self.starts).max())

    def __getitem__(self, rows):
        """-> dense (k, n_in), the rows of a slice or of indices (k,)."""
        rows = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        first, counts = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        ends = counts.cumsum()
        places = np.arange(counts.sum()) + np.repeat(first - ends + counts, counts)
        dense = np.zeros((len(rows), self.shape[1]), self.dtype.newbyteorder("="))
        np.add.at(dense, (np.repeat(np.arange(len(rows)), counts), self.columns[places]), self.values[places])
        return dense

    def place_of(self, k):
        """-> the row and the column of number k of the values."""
        return self.starts.searchsorted(k, "right") - 1, self.columns[k]

    def astype(self, dtype, order="C"):
        """-> dense (n, n_in), all rows."""
        return self[:].astype(dtype, order=order, copy=False)


def numbers(X):
    """The numbers of an array, or those that sparse rows keep."""
    return X.values if isinstance(X, SparseRows) else X
