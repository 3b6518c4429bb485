"""Counter-based random numbers: the same draw in every backend, in any order, for any number of threads.

A draw is a pure function of (seed, purpose, epoch, index); dropout counts steps, not epochs, and its purpose tells the
layers that drop apart, see dropout.py.   Source: Salmon et al. 2011, Philox4x32-10.
The twin is random.h.
"""

import numpy as np

SHUFFLE, HOLD_OUT, RESTART, DROPOUT = 1, 2, 3, 4  # the purposes: draws for one never meet those for another

BLOCK = 1 << 12  # draws made together, so that memory stays small

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter, key):
    """-> (n, 4) uint32: the cipher of each counter, (n, 4) words, under the key (low word, high word)."""
    c0, c1, c2, c3 = np.asarray(counter, np.uint64).T
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _LOW, (k1 + np.uint64(0xBB67AE85)) & _LOW
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(n, seed, purpose, epoch):
    """-> (n,) uint32, the draws 0 .. n-1 of (seed, purpose, epoch); seed and epoch have 64 bits."""
    drawn = np.empty((-(-n // 4), 4), np.uint32)
    for begin in range(0, len(drawn), BLOCK):
        block = drawn[begin : begin + BLOCK]
        counter = np.empty(block.shape, np.uint64)
        counter[:, 0] = np.arange(begin, begin + len(block))
        counter[:, 1:] = purpose, epoch & 0xFFFFFFFF, epoch >> 32
        block[:] = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return drawn.ravel()[:n]


def permutation(n, seed, epoch):
    """A random order of n rows, (n,) intp, by the shuffle of Fisher and Yates (Durstenfeld 1964)."""
    drawn, order = words(n, seed, SHUFFLE, epoch), np.arange(n, dtype=np.intp)
    rows = memoryview(order)  # a list of integers would take five times the memory
    for begin in range(0, n, BLOCK):
        block = drawn[begin : begin + BLOCK]
        sizes = n - np.arange(begin, begin + len(block), dtype=np.uint64)
        choices = (block * sizes) >> _HALF  # uniform on 0 .. size-1 up to 2**-32
        for i, j in zip(range(n - 1 - begin, 0, -1), choices.tolist()):
            rows[i], rows[j] = rows[j], rows[i]
    return order
