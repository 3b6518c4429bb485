"""What compiled steps record: the kernels that take the sums of a layer, and the Recorder that reads them.

A record is a row of ``records``, in float64: how many steps were made with it, and the SUMS of every layer.  A kernel
writes those from column settings[0] on.
"""

import numba
import numpy as np

from ...ops.figures import SUMS
from .. import recorder
from .source import KEPT_FOR, RECORD, RUNS, STEP, UNSEEN
from .texts import OPTIONS, inline

MOST_RECORDS = 64  # records of a call of compiled code
summing = numba.njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}}, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def columns(n_layers, dtype):
    """How many numbers of a dtype a record takes up."""
    return (1 + n_layers * len(SUMS)) * 8 // dtype.itemsize


def column(layer, name):
    """Where a sum of the layer of this number begins."""
    return 1 + layer * len(SUMS) + SUMS.index(name)


@inline
def record(records, now):
    return records[now[RECORD]].view(np.float64)


def begin(records, now):
    row = record(records, now)
    for k in range(row.size):
        row[k] = np.nan


def end(records, now):
    record(records, now)[0] = now[STEP] + 1
    now[RECORD] += 1


# -- activations ---------------------------------------------------------------------------------------------


@summing
def powers(x):
    """-> means of x and of x^2."""
    x, first, second = x.reshape(x.size), 0.0, 0.0
    for i in range(x.size):
        first += np.float64(x[i])
        second += np.float64(x[i]) * np.float64(x[i])
    return first / x.size, second / x.size


def moments(x, records, settings, now):
    row, k = record(records, now), int(settings[0])
    row[k], row[k + 1] = powers(x)


def flat(slope, records, settings, now):
    """The share of slopes below settings[1]."""
    slope, least, n = slope.reshape(slope.size), slope.dtype.type(settings[1]), 0
    for i in range(slope.size):
        n += abs(slope[i]) < least
    record(records, now)[int(settings[0])] = n / slope.size


def look_for_unseen(seen, now):
    """Whether a unit is left that is not marked."""
    left = 0
    for j in range(seen.shape[1]):
        left += seen[0, j] == 0
    now[RUNS] = now[RUNS] | UNSEEN if left > 0 else now[RUNS] & ~UNSEEN


def mark(slope, seen, settings):
    """seen[j] = 1 where |slope[r, j]| is not below settings[0] in some row."""
    least = slope.dtype.type(settings[0])
    for j in range(seen.shape[1]):
        r = 0
        while seen[0, j] == 0 and r < len(slope):
            seen[0, j] = abs(slope[r, j]) >= least
            r += 1


def dead(seen, records, settings, now):
    total = 0.0
    for j in range(seen.shape[1]):
        total += seen[0, j]
    record(records, now)[int(settings[0])] = 1 - total / seen.shape[1]


# -- parameters ----------------------------------------------------------------------------------------------


@summing
def compare(a, b):
    """-> sum a^2, sum a b, sum b^2, sum (a - b)^2."""
    a, b = a.reshape(a.size), b.reshape(b.size)
    of_a = of_both = of_b = of_change = 0.0
    for i in range(a.size):
        x, y = np.float64(a[i]), np.float64(b[i])
        of_a += x * x
        of_both += x * y
        of_b += y * y
        of_change += (x - y) * (x - y)
    return of_a, of_both, of_b, of_change


def keep(g, last, now):
    """For the step after this one, which is compared with it."""
    g, last = g.reshape(g.size), last.reshape(g.size)
    for i in range(g.size):
        last[i] = g[i]
    now[KEPT_FOR] = now[STEP] + 1


def of_gradients(g, last, records, settings, now):
    row, k = record(records, now), int(settings[0])
    row[k], product, squares, _ = compare(g, last)
    if now[KEPT_FOR] == now[STEP]:
        row[k + 1], row[k + 2] = product, squares


def of_weights(w, old, records, settings, now):
    row, k = record(records, now), int(settings[0])
    row[k], _, _, row[k + 1] = compare(old, w)


class Recorder(recorder.Recorder):
    """Takes the records that compiled steps have written."""

    _kept_for = -1  # the step that a gradient was kept for

    def run(self, training, data, rows, begin, n):
        """Up to n batches of an epoch's rows, from row ``begin`` on; -> how many rows are done."""
        tape, memory, now = training.tape, training.state.memory, training.now
        if begin == 0:
            for place in tape.seen:
                place.of(memory)[...] = 0
        now[RECORD], now[KEPT_FOR] = 0, self._kept_for
        done = training.run(data, rows, begin, min(n, (MOST_RECORDS - 1) * self.every))
        self._kept_for = now[KEPT_FOR]
        for row in tape.records.of(memory)[: now[RECORD]].view(np.float64):
            self.records.append((int(row[0]), row[1:].reshape(-1, len(SUMS)).copy()))
        return done
