"""The texts of convolution, pooling and normalisation: against their definitions, written out as loops,
against differentiation, and against PyTorch."""

import itertools
import math

import numpy as np
import pytest
from checks import check_pair

from bpfast.ops.conv import conv_backward, conv_forward, out_size, same_padding, taps_adjoint
from bpfast.ops.norms import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_learn,
    layer_norm_backward,
    layer_norm_forward,
    normalize,
    normalize_backward,
    standardize_backward,
    standardize_forward,
)
from bpfast.ops.pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward

NONE = ((0, 0), (0, 0))
WINDOWS = {  # shape of x, size, stride, padding
    "plain": ((2, 5, 6, 3), (3, 3), (1, 1), NONE),
    "odd": ((3, 7, 5, 2), (2, 3), (2, 1), ((1, 0), (0, 2))),
    "rows are left over": ((2, 8, 7, 1), (2, 3), (3, 2), ((0, 1), (1, 0))),
    "gaps between windows": ((1, 7, 6, 2), (2, 1), (3, 4), NONE),
    "one pixel": ((2, 1, 1, 3), (1, 1), (1, 1), NONE),
    "one pixel, padded": ((1, 1, 1, 1), (3, 2), (1, 1), ((1, 1), (1, 0))),
    "the whole image": ((2, 4, 3, 2), (4, 3), (1, 1), NONE),
    "far padding": ((1, 2, 3, 1), (3, 3), (1, 2), ((2, 2), (2, 1))),
}
every_window = pytest.mark.parametrize("shape, size, stride, padding", WINDOWS.values(), ids=WINDOWS)
every_norm_shape = pytest.mark.parametrize("shape", [(7, 3), (2, 1), (4, 3, 2, 5), (1, 2, 2, 1), (1, 1, 3, 3)], ids=str)
EPS = 1e-3


def caught():
    return pytest.raises(AssertionError)


# -- windows --------------------------------------------------------------------------------------------------


def windows(shape, size, stride, padding):
    """For every output pixel (p, q): [(tap, row, column)] of the image's pixels in its window, by trying them all."""
    (top, bottom), (left, right) = padding
    height, width = shape[1:3]
    found = {}
    for p, above in enumerate(range(-top, height + bottom - size[0] + 1, stride[0])):
        for q, before in enumerate(range(-left, width + right - size[1] + 1, stride[1])):
            found[p, q] = [
                ((row - above) * size[1] + column - before, row, column)
                for row in range(max(above, 0), min(above + size[0], height))
                for column in range(max(before, 0), min(before + size[1], width))
            ]
    return found


def by_loops(f, x, size, stride, padding, channels):
    """-> (batch, h_out, w_out, channels), each pixel of it f(image, window)."""
    seen = windows(x.shape, size, stride, padding)
    y = np.empty((len(x), *np.add(max(seen), 1), channels))
    for b, (p, q) in itertools.product(range(len(x)), seen):
        y[b, p, q] = f(x[b], seen[p, q])
    return y


def conv_by_loops(x, weight, bias, stride, padding):
    def pixel(image, window):
        z = bias.copy()
        for tap, row, column in window:
            for i, o in np.ndindex(weight.shape[2:]):
                z[o] += image[row, column, i] * weight[divmod(tap, weight.shape[1])][i, o]
        return z

    return by_loops(pixel, x, weight.shape[:2], stride, padding, len(bias))


def conv_inputs(rng, shape, size):
    return rng.normal(size=shape), rng.normal(size=(*size, shape[3], 4)), rng.normal(size=4)


def conv_pair(stride, padding):
    """forward and gradients as check_pair wants them."""
    return (lambda x, weight, bias: conv_forward(x, weight, bias, stride, padding),
            lambda delta, x, weight, bias: conv_backward(delta, x, weight, stride, padding))


@every_window
def test_conv_is_its_definition(shape, size, stride, padding, rng):
    x, weight, bias = conv_inputs(rng, shape, size)
    z = conv_forward(x, weight, bias, stride, padding)
    np.testing.assert_allclose(z, conv_by_loops(x, weight, bias, stride, padding), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(conv_forward(x, weight, None, stride, padding) + bias, z)


@every_window
def test_conv_adjoint(shape, size, stride, padding, rng):
    check_pair(*conv_pair(stride, padding), conv_inputs(rng, shape, size), rng)


def test_a_faulty_convolution_is_found(rng):
    shape, size, stride, padding = WINDOWS["odd"]
    inputs = conv_inputs(rng, shape, size)
    forward, gradients = conv_pair(stride, padding)
    flipped = lambda x, weight, bias: forward(x, weight[::-1, ::-1], bias)
    shifted = lambda x, weight, bias: conv_forward(x, weight, bias, stride, (padding[0][::-1], padding[1]))
    for fault in (flipped, shifted):
        with caught():
            check_pair(fault, gradients, inputs, rng)
        with caught():
            np.testing.assert_allclose(fault(*inputs), conv_by_loops(*inputs, stride, padding))
    scaled = lambda *arrays: [1.0001 * array for array in gradients(*arrays)]
    with caught():
        check_pair(forward, scaled, inputs, rng)


def test_out_size_counts_windows():
    for size, kernel, stride, before, after in itertools.product(range(1, 8), (1, 2, 3), (1, 2, 3), (0, 1), (0, 2)):
        places = [begin for begin in range(-before, size + after, stride) if begin + kernel <= size + after]
        if places:
            assert out_size(size, kernel, stride, before, after) == len(places)


def test_same_padding_is_the_least():
    """ceil(size / stride) windows, no pixel of padding more than they need, at most one more after than before."""
    for size, kernel, stride in itertools.product(range(1, 12), range(1, 6), range(1, 5)):
        before, after = same_padding(size, kernel, stride)
        assert 0 <= after - before <= 1
        assert out_size(size, kernel, stride, before, after) == math.ceil(size / stride)
        if after:
            assert out_size(size, kernel, stride, before, after - 1) < math.ceil(size / stride)


# -- pooling --------------------------------------------------------------------------------------------------


def max_pair(size, stride, padding):
    forward = lambda x: max_pool_forward(x, size, stride, padding)[0]
    gradients = lambda dy, x: [
        max_pool_backward(dy, max_pool_forward(x, size, stride, padding)[1], x.shape, size, stride, padding)]
    return forward, gradients


def avg_pair(size, stride, padding):
    return (lambda x: avg_pool_forward(x, size, stride, padding),
            lambda dy, x: [avg_pool_backward(dy, x.shape, size, stride, padding)])


@every_window
def test_pools_are_their_definitions(shape, size, stride, padding, rng):
    x = rng.normal(size=shape) - 5  # padding, were it seen, would win

    def over_window(f):
        pixel = lambda image, window: f([image[row, column] for _, row, column in window], axis=0)
        return by_loops(pixel, x, size, stride, padding, shape[3])

    def winner(image, window):
        return [window[i][0] for i in np.argmax([image[row, column] for _, row, column in window], axis=0)]

    y, won = max_pool_forward(x, size, stride, padding)
    np.testing.assert_array_equal(y, over_window(np.max))
    np.testing.assert_array_equal(won, by_loops(winner, x, size, stride, padding, shape[3]))
    assert won.dtype == np.int32
    np.testing.assert_allclose(avg_pool_forward(x, size, stride, padding), over_window(np.mean), rtol=1e-13)


@pytest.mark.parametrize("pair", [max_pair, avg_pair])
@every_window
def test_pool_adjoints(pair, shape, size, stride, padding, rng):
    x = rng.permutation(math.prod(shape)).reshape(shape) / 10 - 5  # no two are equal
    check_pair(*pair(size, stride, padding), [x], rng)


def test_a_faulty_pool_is_found(rng):
    """The mean over padding too, and a winner counted from the end."""
    shape, size, stride, padding = WINDOWS["odd"]
    x = rng.normal(size=shape)
    forward, _ = avg_pair(size, stride, padding)
    counted = lambda dy, x: [taps_adjoint([dy / 6] * 6, shape, dy.dtype, size, stride, padding)]
    with caught():
        check_pair(forward, counted, [x], rng)
    forward, _ = max_pair(size, stride, padding)
    reverse = lambda dy, x: [max_pool_backward(dy, 5 - max_pool_forward(x, size, stride, padding)[1], shape, size,
                                               stride, padding)]
    with caught():
        check_pair(forward, reverse, [x], rng)


def test_who_wins():
    """The first of equals; never padding, not even over -inf; the first NaN over all; by the real part."""
    nan, inf = np.nan, np.inf
    cases = [([1, 3, 3, 2], 1), ([-inf] * 4, 0), ([1, nan, inf, nan], 1), ([inf, 5, nan, 7], 2), ([0.0, -0.0, 0, 0], 0),
             ([2 - 5j, 2 + 5j, 1 + 9j, 0], 0)]
    for entries, expected in cases:
        x = np.array(entries).reshape(1, 2, 2, 1)
        y, winner = max_pool_forward(x, (2, 2), (1, 1), NONE)
        assert winner == expected
        np.testing.assert_array_equal(y.ravel(), entries[expected])
        y, winner = max_pool_forward(x, (3, 3), (1, 1), ((1, 0), (1, 0)))  # the image is at the end of the window
        assert winner == [4, 5, 7, 8][expected]
        np.testing.assert_array_equal(y.ravel(), entries[expected])


# -- normalisation --------------------------------------------------------------------------------------------


def norm_inputs(rng, shape):
    """x, scale, shift, mean, variance."""
    c = shape[-1]
    x = 3 + 2 * rng.normal(size=shape)
    return x, rng.normal(size=c), rng.normal(size=c), rng.normal(size=c), rng.uniform(0.5, 2, size=c)


def statistics(values):
    """-> mean, biased variance."""
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def batch_gradients(dy, x, scale, shift):
    _, mean, variance = batch_norm_forward(x, scale, shift, EPS)
    return batch_norm_backward(dy, x, scale, mean, variance, EPS)


BATCH_NORM = (lambda x, scale, shift: batch_norm_forward(x, scale, shift, EPS)[0], batch_gradients)
LAYER_NORM = (lambda x, scale, shift: layer_norm_forward(x, scale, shift, EPS),
              lambda dy, x, scale, shift: layer_norm_backward(dy, x, scale, EPS))


@every_norm_shape
def test_norms_are_their_definitions(shape, rng):
    x, scale, shift, mean, variance = norm_inputs(rng, shape)
    y, batch_mean, batch_variance = batch_norm_forward(x, scale, shift, EPS)
    by_unit, constant, by_row = np.empty((3, *shape))
    for c in range(shape[-1]):
        m, v = statistics([x[i] for i in np.ndindex(shape) if i[-1] == c])
        np.testing.assert_allclose([batch_mean[c], batch_variance[c]], [m, v], rtol=1e-13, atol=1e-13)
        by_unit[..., c] = scale[c] * (x[..., c] - m) / math.sqrt(v + EPS) + shift[c]
        constant[..., c] = scale[c] * (x[..., c] - mean[c]) / math.sqrt(variance[c] + EPS) + shift[c]
    for i in np.ndindex(shape[:-1]):
        m, v = statistics(x[i])
        by_row[i] = scale * (x[i] - m) / math.sqrt(v + EPS) + shift
    np.testing.assert_allclose(y, by_unit, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(normalize(x, scale, shift, mean, variance, EPS), constant, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer_norm_forward(x, scale, shift, EPS), by_row, rtol=1e-11, atol=1e-12)
    assert batch_mean.shape == batch_variance.shape == shape[-1:]


@every_norm_shape
def test_norm_adjoints(shape, rng):
    x, scale, shift, mean, variance = norm_inputs(rng, shape)
    like = lambda x: (mean.astype(x.dtype), variance.astype(x.dtype))
    constants = (lambda x, scale, shift: normalize(x, scale, shift, *like(x), EPS),
                 lambda dy, x, scale, shift: normalize_backward(dy, x, scale, *like(x), EPS))
    for pair in (BATCH_NORM, LAYER_NORM, constants):
        check_pair(*pair, (x, scale, shift), rng)


@every_norm_shape
def test_standardize(shape, rng):
    x, _, _, mean, variance = norm_inputs(rng, shape)
    np.testing.assert_allclose(standardize_forward(x, mean, variance) * variance + mean, x, rtol=1e-13)
    pair = (lambda x: standardize_forward(x, mean.astype(x.dtype), variance.astype(x.dtype)),
            lambda dy, x: [standardize_backward(dy, variance.astype(x.dtype))])
    check_pair(*pair, [x], rng)


def test_no_scale_and_no_shift_are_1_and_0(rng):
    x, dy = rng.normal(size=(2, 6, 3)).astype(np.float32)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    y, mean, variance = batch_norm_forward(x, 1, 0, EPS)
    np.testing.assert_array_equal(y, batch_norm_forward(x, one, zero, EPS)[0])
    np.testing.assert_array_equal(layer_norm_forward(x, 1, 0, EPS), layer_norm_forward(x, one, zero, EPS))
    for function, statistics in ((batch_norm_backward, (mean, variance)), (normalize_backward, (mean, variance)),
                                 (layer_norm_backward, ())):
        for found, expected in zip(function(dy, x, 1, *statistics, EPS), function(dy, x, one, *statistics, EPS),
                                   strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


def test_a_faulty_norm_is_found(rng):
    """Statistics taken as constants, and a forgotten eps."""
    x, scale, shift, *_ = norm_inputs(rng, (7, 3))

    def constants(dy, x, scale, shift):
        _, mean, variance = batch_norm_forward(x, scale, shift, EPS)
        return normalize_backward(dy, x, scale, mean, variance, EPS)

    with caught():
        check_pair(BATCH_NORM[0], constants, (x, scale, shift), rng)
    with caught():
        check_pair(LAYER_NORM[0], lambda dy, x, scale, shift: layer_norm_backward(dy, x, scale, 0), (x, scale, shift),
                   rng)


def test_batch_norm_learn(rng):
    values, old = rng.normal(size=(9, 3)).astype(np.float32), np.ones(3, np.float32)
    _, mean, variance = batch_norm_forward(values, 1, 0, EPS)
    learned = batch_norm_learn(old, old, mean, variance, 9, 0.1)
    expected = 0.9 + 0.1 * values.mean(axis=0), 0.9 + 0.1 * np.var(values, axis=0, ddof=1)
    for array, exact in zip(learned, expected, strict=True):
        np.testing.assert_allclose(array, exact, rtol=1e-5)
        assert array.dtype == np.float32
    np.testing.assert_array_equal(batch_norm_learn(old, old, mean, variance, 9, 1)[0], mean)
    np.testing.assert_array_equal(batch_norm_learn(old, 2 * old, mean, variance, 1, 0.1)[1], 2 * old)


# -- PyTorch --------------------------------------------------------------------------------------------------


def same(found, expected, channels_first=True):
    """Equal to 1e-12; a tensor (batch, channels, height, width) is brought into the order of ours."""
    expected = expected.detach().numpy()
    expected = np.moveaxis(expected, 1, -1) if channels_first and expected.ndim > 2 else expected
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def torch(torch_twin):
    return torch_twin.torch


def tensors(torch, *arrays):
    """Leaves of PyTorch; images get their channels first."""
    return [torch.tensor(np.moveaxis(array, -1, 1) if array.ndim > 2 else array, requires_grad=True)
            for array in arrays]


PADDINGS = {"none": (0, 0), "all around": (1, 1), "left and right": (0, 1)}


@pytest.mark.parametrize("size, stride", [((3, 3), (1, 1)), ((2, 3), (2, 1)), ((5, 2), (2, 3))], ids=str)
@pytest.mark.parametrize("pad", PADDINGS.values(), ids=PADDINGS)
def test_windows_like_pytorch(torch, pad, size, stride, rng):
    functional, padding = torch.nn.functional, tuple((n, n) for n in pad)
    array, weight, bias = conv_inputs(rng, (3, 9, 7, 2), size)
    (x, b), w = tensors(torch, array, bias), torch.tensor(weight.transpose(3, 2, 0, 1), requires_grad=True)

    z = functional.conv2d(x, w, b, stride, pad)
    same(conv_forward(array, weight, bias, stride, padding), z)
    delta = rng.normal(size=z.shape)
    z.backward(torch.tensor(delta))
    dx, dweight, dbias = conv_backward(np.moveaxis(delta, 1, -1), array, weight, stride, padding)
    same(dx, x.grad)
    same(dweight.transpose(3, 2, 0, 1), w.grad, channels_first=False)
    same(dbias, b.grad)

    for theirs, (forward, gradients) in (
        (functional.max_pool2d(x, size, stride, pad), max_pair(size, stride, padding)),
        (functional.avg_pool2d(x, size, stride, pad, count_include_pad=False), avg_pair(size, stride, padding)),
    ):
        x.grad = None
        same(forward(array), theirs)
        dy = rng.normal(size=theirs.shape)
        theirs.backward(torch.tensor(dy))
        same(gradients(np.moveaxis(dy, 1, -1), array)[0], x.grad)


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 2, 5)], ids=str)
def test_norms_like_pytorch(torch, shape, rng):
    functional, c, n = torch.nn.functional, shape[-1], math.prod(shape[:-1])
    x, scale, shift, mean, variance = norm_inputs(rng, shape)
    y, batch_mean, batch_variance = batch_norm_forward(x, scale, shift, EPS)

    t_mean, t_variance = torch.tensor(mean), torch.tensor(variance)
    for training, found in ((False, normalize(x, scale, shift, mean, variance, EPS)), (True, y)):
        leaves = tensors(torch, x, scale, shift)
        theirs = functional.batch_norm(leaves[0], t_mean, t_variance, *leaves[1:], training, 0.1, EPS)
        same(found, theirs)
        dy = rng.normal(size=theirs.shape)
        theirs.backward(torch.tensor(dy))
        dy = np.moveaxis(dy, 1, -1) if dy.ndim > 2 else dy
        function, statistics = ((batch_norm_backward, (batch_mean, batch_variance)) if training
                                else (normalize_backward, (mean, variance)))
        for gradient, leaf in zip(function(dy, x, scale, *statistics, EPS), leaves, strict=True):
            same(gradient, leaf.grad)
    learned = batch_norm_learn(mean, variance, batch_mean, batch_variance, n, 0.1)
    same(learned[0], t_mean)
    same(learned[1], t_variance)

    leaves = [torch.tensor(array, requires_grad=True) for array in (x, scale, shift)]
    theirs = functional.layer_norm(leaves[0], (c,), *leaves[1:], EPS)
    same(layer_norm_forward(x, scale, shift, EPS), theirs, channels_first=False)
    dy = rng.normal(size=shape)
    theirs.backward(torch.tensor(dy))
    for gradient, leaf in zip(layer_norm_backward(dy, x, scale, EPS), leaves, strict=True):
        same(gradient, leaf.grad, channels_first=False)
