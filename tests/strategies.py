"""Networks that hypothesis draws."""

from hypothesis import strategies as st

import bpfast as bp
from bpfast.ops import ACTIVATIONS

activations = st.sampled_from(sorted(ACTIVATIONS))


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
