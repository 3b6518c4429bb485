"""Kernels on matrices, where sums over rows or columns make them more than the text of a row.

Names of arrays are those of the texts in ``ops``, of which these are the loops: x, z = op(x), dz = dE/dz, and so on;
what lies at a name tape.py says, and source.py what ``settings``, ``now``, ``scalars`` and ``shares`` hold.
"""

import math

import numpy as np

from ...ops.dropout import dropout_forward
from ...ops.norms import normalize
from ...ops.random import DROPOUT
from ...ops.special import LEAST, log_least
from .source import SEED, STEP
from .texts import ELEMENTARY, inline, on_scalars

normalize, dropout_forward = inline(normalize), inline(dropout_forward)

exp = ELEMENTARY["exp"]
log_least = on_scalars(log_least, np.dtype(np.float64))


@inline
def clear(row):
    """(1, n) zeros; a slice assigned to takes longer to compile."""
    for j in range(row.shape[1]):
        row[0, j] = 0


# -- layers --------------------------------------------------------------------------------------------------


def dense_forward(x, weight, bias, z):
    np.dot(x, weight, z)
    for r in range(len(z)):
        for j in range(z.shape[1]):
            z[r, j] += bias[0, j]


def dense_gradient(dz, x, dweight, dbias):
    np.dot(x.T, dz, dweight)
    clear(dbias)
    for r in range(len(dz)):
        for j in range(dz.shape[1]):
            dbias[0, j] += dz[r, j]


def dense_delta(dz, weight, dx):
    np.dot(dz, weight.T, dx)


def scale_gradient(dz, x, dscale):
    clear(dscale)
    for r in range(len(x)):
        for j in range(x.shape[1]):
            dscale[0, j] += dz[r, j] * x[r, j]


# -- norms ---------------------------------------------------------------------------------------------------


def batch_norm_forward(x, scale, shift, batch_mean, batch_variance, z, settings):
    eps, n = x.dtype.type(settings[0]), x.dtype.type(len(x))
    clear(batch_mean)
    clear(batch_variance)
    for r in range(len(x)):
        for j in range(x.shape[1]):
            batch_mean[0, j] += x[r, j]
    for j in range(x.shape[1]):
        batch_mean[0, j] /= n
    for r in range(len(x)):
        for j in range(x.shape[1]):
            batch_variance[0, j] += (x[r, j] - batch_mean[0, j]) * (x[r, j] - batch_mean[0, j])
    for j in range(x.shape[1]):
        batch_variance[0, j] /= n
    for r in range(len(x)):
        for j in range(x.shape[1]):
            z[r, j] = normalize(x[r, j], scale[0, j], shift[0, j], batch_mean[0, j], batch_variance[0, j], eps)


def batch_norm_gradient(dz, x, batch_mean, batch_variance, dscale, dshift, settings):
    eps, one, zero = x.dtype.type(settings[0]), x.dtype.type(1), x.dtype.type(0)
    clear(dscale)
    clear(dshift)
    for r in range(len(x)):
        for j in range(x.shape[1]):
            dshift[0, j] += dz[r, j]
            dscale[0, j] += dz[r, j] * normalize(x[r, j], one, zero, batch_mean[0, j], batch_variance[0, j], eps)


def batch_norm_delta(dz, x, scale, batch_mean, batch_variance, dscale, dshift, dx, settings):
    eps, one, zero, n = x.dtype.type(settings[0]), x.dtype.type(1), x.dtype.type(0), x.dtype.type(len(x))
    for r in range(len(x)):
        for j in range(x.shape[1]):
            normal = normalize(x[r, j], one, zero, batch_mean[0, j], batch_variance[0, j], eps)
            centred = dz[r, j] - dshift[0, j] / n - normal * (dscale[0, j] / n)
            dx[r, j] = centred * scale[0, j] / math.sqrt(batch_variance[0, j] + eps)


@inline
def _statistics(row):
    mean = variance = row.dtype.type(0)
    for x in row:
        mean += x
    mean /= row.dtype.type(row.size)
    for x in row:
        variance += (x - mean) * (x - mean)
    return mean, variance / row.dtype.type(row.size)


def layer_norm_forward(x, scale, shift, z, settings):
    eps = x.dtype.type(settings[0])
    for r in range(len(x)):
        mean, variance = _statistics(x[r])
        for j in range(x.shape[1]):
            z[r, j] = normalize(x[r, j], scale[0, j], shift[0, j], mean, variance, eps)


def layer_norm_gradient(dz, x, dscale, dshift, settings):
    eps, one, zero = x.dtype.type(settings[0]), x.dtype.type(1), x.dtype.type(0)
    clear(dscale)
    clear(dshift)
    for r in range(len(x)):
        mean, variance = _statistics(x[r])
        for j in range(x.shape[1]):
            dshift[0, j] += dz[r, j]
            dscale[0, j] += dz[r, j] * normalize(x[r, j], one, zero, mean, variance, eps)


def layer_norm_delta(dz, x, scale, dx, settings):
    eps, one, zero, n = x.dtype.type(settings[0]), x.dtype.type(1), x.dtype.type(0), x.dtype.type(x.shape[1])
    for r in range(len(x)):
        mean, variance = _statistics(x[r])
        plain = moment = zero  # sums of dx as if the statistics were constants, and of that times the normalized x
        for j in range(x.shape[1]):
            dx[r, j] = dz[r, j] * scale[0, j] / math.sqrt(variance + eps)
            plain += dx[r, j]
            moment += dx[r, j] * normalize(x[r, j], one, zero, mean, variance, eps)
        for j in range(x.shape[1]):
            dx[r, j] -= plain / n + normalize(x[r, j], one, zero, mean, variance, eps) * (moment / n)


# -- noise ---------------------------------------------------------------------------------------------------

LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@inline
def _philox(c0, c1, c2, c3, k0, k1):
    """-> the four words of ``random.philox`` for one counter and key."""
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & LOW, (k1 + np.uint64(0xBB67AE85)) & LOW
    return c0, c1, c2, c3


def dropout(x, factor, z, settings, now):
    """Units are dropped where the word is below the threshold: see ``ops/dropout.py``."""
    number, threshold = np.uint64(settings[0]), settings[1]
    kept, addend, dropped = x.dtype.type(settings[2]), x.dtype.type(settings[3]), x.dtype.type(settings[4])
    seed, step = np.uint64(now[SEED]), np.uint64(now[STEP])
    purpose = np.uint64(DROPOUT) | number << np.uint64(8)
    blocks = (x.shape[1] + 3) // 4
    for r in range(len(x)):
        for block in range(blocks):
            counter = np.uint64(r * blocks + block)
            words = _philox(counter & LOW, purpose, step & LOW, step >> HALF, seed & LOW, seed >> HALF)
            for k in range(min(4, x.shape[1] - 4 * block)):
                j = 4 * block + k
                keeps = words[k] >= threshold
                factor[r, j] = kept if keeps else 0
                z[r, j] = dropout_forward(x[r, j], factor[r, j], addend if keeps else dropped)


# -- softmax -------------------------------------------------------------------------------------------------


@inline
def _exponentials(x, y):
    """y = exp(x - max x) of a row; -> the maximum, the sum of y."""
    largest, total = x[0], 0.0
    for j in range(x.size):
        largest = max(largest, x[j])
    for j in range(x.size):
        y[j] = exp(x[j] - largest)
    for j in range(x.size):
        total += y[j]
    return largest, total


def softmax(x, y):
    for r in range(len(x)):
        _, total = _exponentials(x[r], y[r])
        for j in range(x.shape[1]):
            y[r, j] /= total


def softmax_adjoint(dy, y, dx):
    for r in range(len(y)):
        total = 0.0
        for j in range(y.shape[1]):
            total += dy[r, j] * y[r, j]
        for j in range(y.shape[1]):
            dx[r, j] = y[r, j] * (dy[r, j] - total)


def cross_entropy(y, t, delta, settings, shares):
    for r in range(len(y)):
        loss = 0.0
        for j in range(y.shape[1]):
            q = settings[0] / y.shape[1] + (1 - settings[0] if j == t[r, 0] else 0)
            loss -= q * log_least(np.float64(y[r, j]))
            delta[r, j] = -shares[r] * q / max(y[r, j], LEAST)
        shares[r] *= loss


def softmax_cross_entropy(y, t, delta, settings, shares):
    for r in range(len(y)):
        largest, total = _exponentials(y[r], delta[r])
        loss = math.log(total)
        for j in range(y.shape[1]):
            q = settings[0] / y.shape[1] + (1 - settings[0] if j == t[r, 0] else 0)
            if q:
                loss -= q * (y[r, j] - largest)
            delta[r, j] = shares[r] * (delta[r, j] / total - q)
        shares[r] *= loss


# -- restraints ----------------------------------------------------------------------------------------------


def clip_norm(g, settings):
    g, norm = g.reshape(g.size), 0.0
    for i in range(g.size):
        norm += np.float64(g[i]) * g[i]
    norm = math.sqrt(norm)
    if norm > settings[0]:
        factor = g.dtype.type(settings[0] / norm)
        for i in range(g.size):
            g[i] *= factor


def limit_columns(w, settings):
    squares = np.zeros(w.shape[1])
    for r in range(len(w)):
        for j in range(w.shape[1]):
            squares[j] += np.float64(w[r, j]) * w[r, j]
    for r in range(len(w)):
        for j in range(w.shape[1]):
            if squares[j] > settings[0] * settings[0]:
                w[r, j] *= w.dtype.type(settings[0] / math.sqrt(squares[j]))
