"""The text of dropout: its draws word for word, its masks as random numbers, and its adjoint."""

import itertools
import math

import numpy as np
import pytest
from checks import check_pair

from bpfast.ops.activations import SELU_ALPHA, SELU_SCALE
from bpfast.ops.dropout import (
    alpha_dropout_constants,
    dropout_backward,
    dropout_constants,
    dropout_factors,
    dropout_forward,
    dropout_mask,
)
from bpfast.ops.random import DROPOUT, philox

RATES = (0.0, 0.1, 0.5, 0.9)
KINDS = (dropout_constants, alpha_dropout_constants)


@pytest.mark.parametrize("shape", [(3, 2, 5), (4, 8), (2, 1)], ids=str)
def test_the_draw_is_what_the_text_says(shape):
    """Word for word, from the cipher of single counters; at a rate of word / 2**32 the unit is kept just yet."""
    seed, layer, step, units = 2**40 + 5, 300, 2**33 + 7, math.prod(shape[1:])
    for i, j in np.ndindex(shape[0], units):
        counter = (i * math.ceil(units / 4) + j // 4, DROPOUT + 256 * layer, step % 2**32, step // 2**32)
        word = int(philox([counter], (seed % 2**32, seed // 2**32))[0, j % 4])
        for threshold in (2**31, word, word + 1):
            mask = dropout_mask(seed, layer, step, shape, threshold / 2**32)
            assert mask.dtype == bool and mask.shape == shape
            assert mask.reshape(-1, units)[i, j] == (word >= threshold)


@pytest.mark.parametrize("units", [1, 3, 4, 7, 64])
def test_a_row_is_drawn_by_itself(units):
    many = dropout_mask(3, 1, 5, (50, units), 0.4)
    for rows in (1, 2, 49):
        np.testing.assert_array_equal(dropout_mask(3, 1, 5, (rows, units), 0.4), many[:rows])
    np.testing.assert_array_equal(dropout_mask(3, 1, 5, (50, units, 1), 0.4)[..., 0], many)
    if units == 64:
        assert len({row.tobytes() for row in many}) == 50


def test_masks_are_independent():
    """Of another seed, layer or step: equal in half of the places, within five standard deviations."""
    n = 20_000
    masks = [dropout_mask(*key, (100, n // 100), 0.5).ravel()
             for key in ((0, 0, 0), (1, 0, 0), (2**32, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2**32), (0, 2**24 - 1, 0))]
    for one, other in itertools.combinations(masks, 2):
        assert abs((one == other).mean() - 0.5) < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("rate", RATES)
def test_the_share_of_kept_units(rate):
    mask = dropout_mask(1, 2, 3, (200, 101), rate)
    assert abs(mask.mean() - (1 - rate)) <= 5 * math.sqrt(rate * (1 - rate) / mask.size)
    assert mask.all() or rate
    assert not dropout_mask(1, 2, 3, (200, 101), math.nextafter(1, 0)).any()  # no word reaches 2**32


@pytest.mark.parametrize("rate", RATES)
def test_dropout_is_its_definition(rate, rng):
    x = rng.normal(size=(5, 7))
    mask = rng.random(x.shape) >= rate
    y = dropout_forward(x, *dropout_factors(mask, dropout_constants(rate), x.dtype))
    np.testing.assert_allclose(y, x * mask / (1 - rate), rtol=1e-15)
    q, d = 1 - rate, -SELU_SCALE * SELU_ALPHA
    a = (q + d**2 * q * (1 - q)) ** -0.5
    b = -a * (1 - q) * d
    y = dropout_forward(x, *dropout_factors(mask, alpha_dropout_constants(rate), x.dtype))
    np.testing.assert_allclose(y, a * (x * mask + d * (1 - mask)) + b, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", RATES)
def test_dropout_adjoint(kind, rate, rng):
    mask = rng.random((5, 7)) >= rate
    pair = (lambda x: dropout_forward(x, *dropout_factors(mask, kind(rate), x.dtype)),
            lambda dy, x: [dropout_backward(dy, dropout_factors(mask, kind(rate), x.dtype)[0])])
    check_pair(*pair, [rng.normal(size=(5, 7))], rng)


@pytest.mark.parametrize("rate", RATES)
def test_what_dropout_leaves_as_it_is(rate, rng):
    """The mean of both kinds on normal numbers, the variance of alpha dropout, within five standard deviations."""
    x = rng.normal(size=(400, 250))
    mask = dropout_mask(7, 0, 0, x.shape, rate)
    for kind in KINDS:
        y = dropout_forward(x, *dropout_factors(mask, kind(rate), x.dtype))
        assert abs(y.mean()) < 5 * y.std() / math.sqrt(x.size)
    assert abs(y.var() - 1) < 5 * np.square(y - y.mean()).std() / math.sqrt(x.size)
