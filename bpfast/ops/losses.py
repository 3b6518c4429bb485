"""Losses, a row each: the value of every row of a batch, and the gradient with respect to the outputs.

y   (batch, n_out) f4|f8                 outputs, or logits for a fused loss    IN
t   (batch, n_out) f4|f8 | (batch,) intp targets, or labels 0 <= t < n_out      IN
->  (batch,)                             value of each row
->  (batch, n_out)                       dvalue/dy of each row

The training loss is the mean of the values over the batch, weighted by ``sample_weight``.
Row for row the twin of losses.h.
"""

from .softmax import cross_entropy, cross_entropy_gradient
from .table import LOSSES, Loss, fill

# fmt: off
fill(LOSSES, (
    Loss("squared_error", {},
         lambda y, t: 0.5 * ((y - t) ** 2).sum(axis=-1),
         lambda y, t: y - t,
         fuses=None, labels=False,
         formula="1/2 sum_j (y_j - t_j)^2", source="Rumelhart, Hinton & Williams 1986, eq. 4"),
    Loss("cross_entropy", {}, cross_entropy, cross_entropy_gradient,
         fuses="softmax", labels=True,
         formula="-log softmax(z)_t", source="Bishop 2006, eq. 4.108"),
))
