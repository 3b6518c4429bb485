"""The convolution layer and its adjoint, and the windows that it and pooling look through.   The twin is conv.h.

Source: LeCun et al. 1998; Goodfellow, Bengio & Courville 2016, eq. 9.6 (the cross-correlation, which all libraries use).

x        (batch, height, width, c_in)    f4|f8   images                                      IN
weight   (kh, kw, c_in, c_out)           like x                                              IN
bias     (c_out,)                        like x  or None, where the layer has no bias        IN
delta    (batch, h_out, w_out, c_out)    like x  dE/dz                                       IN
size     (kh, kw)                        int     of a window                                 IN
stride   (sh, sw)                        int     from one window to the next                 IN
padding  ((top, bottom), (left, right))  int     pixels of zeros around the image            IN

A tap is what one place (i, j) of all windows sees: the pixel (p sh + i - top, q sw + j - left) of the image for the
output (p, q).  Taps are numbered i kw + j, row by row.
"""

from numpy import pad, stack, tensordot, zeros

PIXELS = (0, 1, 2)  # the axes that a kernel is shared over


def conv_forward(x, weight, bias, stride, padding):
    """-> z (batch, h_out, w_out, c_out) = the sum of tap W_ij over the taps, + bias."""
    z = sum(tap @ kernel for tap, kernel in zip(taps(x, weight.shape[:2], stride, padding), _kernels(weight)))
    return z if bias is None else z + bias


def conv_backward(delta, x, weight, stride, padding):
    """-> dx = what delta W_ij^T adds up to where the taps lie, dW_ij = tap^T delta, db = sum of delta over all pixels."""
    size = weight.shape[:2]
    dx = taps_adjoint((delta @ kernel.T for kernel in _kernels(weight)), x.shape, x.dtype, size, stride, padding)
    dkernels = stack([tensordot(tap, delta, (PIXELS, PIXELS)) for tap in taps(x, size, stride, padding)])
    return dx, dkernels.reshape(weight.shape), delta.sum(axis=PIXELS)


def taps(x, size, stride, padding):
    """-> the kh * kw taps of x one after the other, each (batch, h_out, w_out, channels); padding is 0."""
    return _views(pad(x, ((0, 0), *padding, (0, 0))), size, stride)


def taps_adjoint(dtaps, shape, dtype, size, stride, padding):
    """-> dx, an array of this shape and dtype: the adjoints of all taps, put back where they were seen and added up."""
    (top, bottom), (left, right) = padding
    batch, height, width, channels = shape
    dpadded = zeros((batch, top + height + bottom, left + width + right, channels), dtype)
    for view, dtap in zip(_views(dpadded, size, stride), dtaps):
        view += dtap
    return dpadded[:, top : top + height, left : left + width]


def out_size(size, kernel, stride, before, after):
    """-> how many windows of `kernel` pixels fit into `size` pixels and the padding `before` and `after` them."""
    return (size + before + after - kernel) // stride + 1


def same_padding(size, kernel, stride):
    """-> (before, after), the least padding for ceil(size / stride) windows; an odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _kernels(weight):
    """The matrices W_ij (c_in, c_out), one for each tap."""
    return weight.reshape(-1, *weight.shape[2:])


def _views(padded, size, stride):
    """The taps of images that are padded already, as views."""
    (kh, kw), (sh, sw) = size, stride
    height, width = (out_size(n, k, s, 0, 0) for n, k, s in zip(padded.shape[1:3], size, stride))
    for i in range(kh):
        for j in range(kw):
            yield padded[:, i : i + sh * height : sh, j : j + sw * width : sw]
