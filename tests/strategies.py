"""Networks that hypothesis draws."""

from hypothesis import strategies as st

import bpfast as bp
from bpfast.ops import ACTIVATIONS, LOSSES

activations = st.sampled_from(sorted(name for name, op in ACTIVATIONS.items() if op.differentiable))


@st.composite
def layers(draw, n_in):
    """Up to three layers of any activations for so many inputs, some of them residual blocks."""
    units, drawn, width = st.integers(1, 20), [], n_in
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            drawn.append(bp.Residual(bp.Dense(draw(units), draw(activations)), bp.Dense(width, draw(activations))))
        else:
            width = draw(units)
            drawn.append(bp.Dense(width, draw(activations)))
    return drawn


def last_for(loss, otherwise="linear"):
    """The activation of the last layer that belongs to a loss."""
    op = LOSSES[loss]
    return "linear" if op.fuses else op.pair[0] if op.pair else otherwise
