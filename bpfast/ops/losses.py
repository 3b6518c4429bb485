"""Losses, a row each: the value of one output and its gradient, and how the outputs of a row are reduced.

y   (batch, n_out) f4|f8                 outputs; logits, where a row fuses an activation with a loss    IN
t   (batch, n_out) f4|f8 | (batch,) intp targets, or labels 0 <= t < n_out                               IN
->  like y                               value, or gradient = dvalue/dy, of each output; NaN in, NaN out

A rowwise loss (reduction None) gives the value (batch,) of each row.  The training loss is the mean over the batch,
weighted by ``sample_weight``.  Outputs of exactly 0 or 1 leave losses of probabilities and rates finite: below
LEAST = 1e-12 their logarithms continue by the tangent, so log 0 counts as -28.6 and its derivative as 1e12.

The text of a row runs on arrays in the NumPy backend and on scalars inside a Numba loop.
Row for row the twin of losses.h.
"""

from math import inf

from numpy import exp, log1p, tanh, where

from .softmax import (
    cross_entropy,
    cross_entropy_gradient,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
)
from .special import LEAST, log_least
from .table import LOSSES, Loss, fill

# fmt: off
fill(LOSSES, (
    Loss("squared_error", {},
         lambda y, t: 0.5 * ((y - t) * (y - t)),
         lambda y, t: y - t,
         "reals", "1/2 sum_j (y_j - t_j)^2", "Rumelhart, Hinton & Williams 1986, eq. 3", "sum"),
    Loss("mean_squared_error", {},
         lambda y, t: (y - t) * (y - t),
         lambda y, t: 2 * (y - t),
         "reals", "mean_j (y_j - t_j)^2", "Gauss 1809", "mean"),
    Loss("mean_absolute_error", {},
         lambda y, t: where(y < t, t - y, y - t),
         lambda y, t: where(y < t, -1, where(y > t, 1, y - t)),  # NaN stays NaN
         "reals", "mean_j |y_j - t_j|", "Laplace 1774", "mean", kinks=lambda y, t: y - t),
    Loss("huber", {"delta": 1.0},
         lambda y, t, delta: where(y - t > delta, delta * (y - t - 0.5 * delta),
                                   where(t - y > delta, delta * (t - y - 0.5 * delta), 0.5 * ((y - t) * (y - t)))),
         lambda y, t, delta: where(y - t > delta, delta, where(t - y > delta, -delta, y - t)),
         "reals", "mean_j d_j^2 / 2 if |d_j| <= delta else delta (|d_j| - delta / 2), d = y - t", "Huber 1964", "mean",
         kinks=lambda y, t, delta: (y - t) * (y - t) - delta * delta, bounds={"delta": "(0, inf)"}),
    Loss("quantile", {"q": 0.5},
         lambda y, t, q: where(y < t, q * (t - y), (1 - q) * (y - t)),
         lambda y, t, q: where(y < t, -q, where(y > t, 1 - q, y - t)),
         "reals", "mean_j max(q (t_j - y_j), (1 - q) (y_j - t_j))", "Koenker & Bassett 1978", "mean",
         kinks=lambda y, t, q: y - t, bounds={"q": "(0, 1)"}),
    Loss("log_cosh", {},
         lambda y, t: where(y < t, t - y, y - t) - log1p(tanh(where(y < t, t - y, y - t))),
         lambda y, t: tanh(y - t),
         "reals", "mean_j log cosh(y_j - t_j)", "Green 1990", "mean"),
    Loss("binary_cross_entropy", {},
         lambda y, t: -(t * log_least(y) + (1 - t) * log_least(1 - y)),
         lambda y, t: (1 - t) / where(1 - y < LEAST, LEAST, 1 - y) - t / where(y < LEAST, LEAST, y),
         "unit", "mean_j -(t_j log y_j + (1 - t_j) log(1 - y_j))", "Bishop 2006, eq. 4.90", "mean", domain=(0, 1)),
    Loss("sigmoid_binary_cross_entropy", {},
         lambda y, t: where(y < 0, 0, y) - t * y + log1p(exp(where(y < 0, y, -y))),
         lambda y, t: 1 / (1 + exp(-y)) - t,
         "unit", "mean_j log(1 + exp(z_j)) - t_j z_j", "Bishop 2006, eq. 4.90", "mean",
         fuses=("sigmoid", "binary_cross_entropy")),
    Loss("poisson", {},
         lambda y, t: y - t * log_least(y),
         lambda y, t: 1 - t / where(y < LEAST, LEAST, y),
         "nonnegative", "mean_j y_j - t_j log y_j, without log t_j!", "Nelder & Wedderburn 1972", "mean", domain=(0, inf)),
    Loss("exponential_poisson", {},
         lambda y, t: exp(y) - t * y,
         lambda y, t: exp(y) - t,
         "nonnegative", "mean_j exp(z_j) - t_j z_j, without log t_j!", "Nelder & Wedderburn 1972", "mean",
         fuses=("exponential", "poisson")),
    Loss("hinge", {},
         lambda y, t: where(t * y > 1, 0, 1 - t * y),
         lambda y, t: where(t * y < 1, -t, where(t * y >= 1, 0, y)),
         "signs", "mean_j max(0, 1 - t_j y_j)", "Cortes & Vapnik 1995", "mean", kinks=lambda y, t: 1 - t * y),
    Loss("cross_entropy", {"smoothing": 0.0}, cross_entropy, cross_entropy_gradient,
         "labels", "-sum_j q_j log y_j, q = (1 - smoothing) onehot(t) + smoothing / n", "Bishop 2006, eq. 4.108",
         domain=(0, 1), distribution=True, bounds={"smoothing": "[0, 1)"}),
    Loss("softmax_cross_entropy", {"smoothing": 0.0}, softmax_cross_entropy, softmax_cross_entropy_gradient,
         "labels", "-sum_j q_j log softmax(z)_j, q as in cross_entropy", "Bishop 2006, eq. 4.108",
         fuses=("softmax", "cross_entropy"), bounds={"smoothing": "[0, 1)"}),
))
