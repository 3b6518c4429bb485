"""The dense layer z = x W + b and its adjoint.   Source: Rumelhart, Hinton & Williams 1986; Bishop 2006, 5.3.

x       (batch, n_in)  f4|f8   input rows                              IN
weight  (n_in, n_out)  like x                                          IN
bias    (n_out,)       like x                                          IN
delta   (batch, n_out) like x  dE/dz                                   IN

The twin is dense.h.
"""


def dense_forward(x, weight, bias):
    """-> z (batch, n_out) = x W + b."""
    return x @ weight + bias


def dense_backward(delta, x, weight):
    """-> dx = delta W^T, dW = x^T delta, db = sum of delta over the batch."""
    return delta @ weight.T, x.T @ delta, delta.sum(axis=0)
