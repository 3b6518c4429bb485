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
    plan = network.plan("numpy")
    found = plan.activations(arrays, X.astype(network.dtype))
    for instruction in plan.program.instructions:
        if not np.isfinite(found.values[instruction.output]).all():
            before = np.isfinite(found.before[instruction.output]).all()
            layer = _activating(network, instruction) if before else instruction.layer
            return f"in the output of layer {layer!r}"
    last = np.abs(found.values[plan.program.output]).max()
    return f"in the loss: the network's outputs reach {last:.3g}"


def _activating(network, instruction):
    """The layer whose activation an instruction of a plan does: its own, or an Activation that the plan put into it."""
    if instruction.op == "activation":
        return instruction.layer
    makers = {i.output: i.layer for i in network.program.instructions}
    return next((i.layer for i in network.program.instructions if i.op == "activation"
                 and makers.get(i.inputs[0]) == instruction.layer and i.activation == instruction.activation),
                instruction.layer)
