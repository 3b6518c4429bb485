"""When numbers stop being finite: the error, and where it began."""

import numpy as np


class DivergenceError(ArithmeticError):
    """The loss, a parameter or a statistic became infinite or NaN.

    The network is back at the end of the last finite epoch.
    """


def find_culprit(network, arrays, X):
    """Where the first infinite or NaN number stands in a network with these parameters and statistics, in words."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            return f"in {'parameter' if name in network.parameters else 'statistic'} {name!r}"
    program = network.program
    values = network.plan("numpy").activations(arrays, X.astype(network.dtype), program).values
    for instruction in program.instructions:
        if not np.isfinite(values[instruction.output]).all():
            return f"in the output of layer {instruction.layer!r}"
    last = np.abs(values[program.output]).max()
    return f"in the loss: the network's outputs reach {last:.3g}"
