"""The counter-based random numbers, and the order of rows that they draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpfast as bp
from bpfast.ops import random

KNOWN_ANSWERS = [  # counter, key, cipher: the kat_vectors of Random123 for philox4x32, 10 rounds
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
LARGEST = 2**64 - 1

words64 = st.integers(0, LARGEST)


def hexadecimal(text):
    return [int(word, 16) for word in text.split()]


def plan(backend):
    return bp.Network([bp.Dense(1)], input_shape=1).plan(backend)


def test_known_answers():
    counters, keys, ciphers = ([hexadecimal(text) for text in column] for column in zip(*KNOWN_ANSWERS, strict=True))
    for counter, key, cipher in zip(counters, keys, ciphers, strict=True):
        found = random.philox([counter], key)
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found, [cipher])
    found = random.philox([counters[0]] * 3 + [counters[1]], keys[0])  # many counters at once
    np.testing.assert_array_equal(found[:3], [ciphers[0]] * 3)


def test_a_draw_depends_on_all_of_its_key():
    reference = random.words(8, seed=5, purpose=1, epoch=7)
    others = [(6, 1, 7), (5 + 2**32, 1, 7), (5, 2, 7), (5, 1, 8), (5, 1, 7 + 2**32)]
    for seed, purpose, epoch in others:
        assert not np.isin(random.words(8, seed, purpose, epoch), reference).any()


def test_more_draws_begin_with_the_same():
    many = random.words(1000, 3, 1, 4)
    for n in (0, 1, 3, 4, 5, 999):
        np.testing.assert_array_equal(random.words(n, 3, 1, 4), many[:n])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 17, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2**32, LARGEST])
def test_every_backend_draws_the_same_order(backend, n, seed):
    for epoch in (0, 1, 2**32 + 3, LARGEST):
        order = plan(backend).permutation(n, seed, epoch)
        assert order.dtype == np.intp and order.flags.c_contiguous
        np.testing.assert_array_equal(order, random.permutation(n, seed, epoch))


@given(st.integers(0, 300), words64, words64)
def test_permutation_is_one(n, seed, epoch):
    np.testing.assert_array_equal(np.sort(random.permutation(n, seed, epoch)), np.arange(n))


def test_permutation_by_hand():
    """Fisher and Yates: from the last place down, swap with one of the places not above it."""
    n, order = 10, list(range(10))
    for place, word in zip(range(n - 1, 0, -1), random.words(n, 11, random.SHUFFLE, 2).tolist(), strict=False):
        other = word * (place + 1) // 2**32
        order[place], order[other] = order[other], order[place]
    np.testing.assert_array_equal(random.permutation(n, 11, 2), order)


def test_words_are_uniform():
    """Every bit is set in half of the words, and neighbours are not correlated, within five standard deviations."""
    n = 100_000
    words = random.words(n, 1, 1, 1)
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert (np.abs(bits.mean(axis=0) - 0.5) < 5 * 0.5 / np.sqrt(n)).all()
    assert abs(np.corrcoef(words[:-1], words[1:])[0, 1]) < 5 / np.sqrt(n)


def test_every_row_comes_to_every_place():
    """Chi-square of row against place over 4000 epochs, 4 rows: 9 degrees of freedom."""
    epochs, n = 4000, 4
    orders = np.array([random.permutation(n, 9, epoch) for epoch in range(epochs)])
    counts = np.array([[np.sum(orders[:, place] == row) for row in range(n)] for place in range(n)])
    assert ((counts - epochs / n) ** 2 / (epochs / n)).sum() < 9 + 5 * np.sqrt(2 * 9)
    assert len({tuple(order) for order in orders.tolist()}) == 24  # every order is drawn
