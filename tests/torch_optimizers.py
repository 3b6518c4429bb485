"""The optimizers and schedules of PyTorch under the names of this package: what they are compared with."""

from contextlib import contextmanager

import numpy as np
import torch
from torch import optim


def betas(beta1, beta2, epsilon, **others):
    """Adam's hyperparameters as PyTorch calls them."""
    return {"betas": (beta1, beta2), "eps": epsilon, **others}


def averages(rho, epsilon, **others):
    """RMSprop's hyperparameters as PyTorch calls them."""
    return {"alpha": rho, "eps": epsilon, **others}


TWINS = {  # row: its class in PyTorch, and its settings from the row's hyperparameters
    "sgd": (optim.SGD, dict),
    "momentum": (optim.SGD, dict),
    "nesterov": (optim.SGD, lambda momentum: {"momentum": momentum, "nesterov": True}),
    "adagrad": (optim.Adagrad, lambda epsilon: {"eps": epsilon}),
    "rmsprop": (optim.RMSprop, averages),
    "rmsprop_momentum": (optim.RMSprop, averages),
    "rmsprop_centered": (optim.RMSprop, lambda **hyper: averages(**hyper, centered=True)),
    "adadelta": (optim.Adadelta, lambda rho, epsilon: {"rho": rho, "eps": epsilon}),
    "adam": (optim.Adam, betas),
    "adamax": (optim.Adamax, betas),
    "nadam": (optim.NAdam, betas),
    "amsgrad": (optim.Adam, lambda **hyper: betas(**hyper, amsgrad=True)),
    "adamw": (optim.AdamW, betas),
    "rprop": (optim.Rprop, lambda eta_minus, eta_plus, delta_min, delta_max: {
        "etas": (eta_minus, eta_plus), "step_sizes": (delta_min, delta_max)}),
}  # fmt: skip


@contextmanager
def scalars_in_double():
    """PyTorch keeps the product of Nadam's momentums in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@scalars_in_double()
def optimize(op, gradients, w, rate):
    """-> (steps, n) float64, the parameters after every step of PyTorch's twin of a row."""
    kind, settings = TWINS[op.name]
    w = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    optimizer = kind([w], lr=rate, **settings(**op.hyper))
    found = []
    for g in gradients:
        w.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        found.append(w.detach().numpy().copy())
    return np.array(found)


def settings_and_defaults(op):
    """-> what a row's hyperparameters are to PyTorch, and what its class takes without them."""
    kind, settings = TWINS[op.name]
    return settings(**op.hyper), kind([torch.zeros(1, requires_grad=True)]).defaults


def rates(kind, rate, n, values=None, **settings):
    """-> the learning rates of n epochs under a scheduler of PyTorch, which sees the values of a metric if given."""
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler, found = kind(optimizer, **settings), []
    for epoch in range(n):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([] if values is None else [values[epoch]]))
    return np.array(found)
