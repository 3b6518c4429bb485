"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .history import History
from .initializers import Glorot, He
from .layers import Dense, Residual
from .network import Network
from .optimizers import (
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    Adamax,
    AdamW,
    AMSGrad,
    Lion,
    Momentum,
    Nadam,
    Nesterov,
    RMSProp,
    Rprop,
)
from .schedules import (
    ConstantRate,
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from .trainer import DivergenceError, Trainer

__all__ = [
    "SGD",
    "AMSGrad",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "Dense",
    "DivergenceError",
    "ExponentialDecay",
    "Glorot",
    "He",
    "History",
    "InverseScaling",
    "Lion",
    "Momentum",
    "Nadam",
    "Nesterov",
    "Network",
    "OneCycle",
    "PolynomialDecay",
    "RMSProp",
    "ReduceOnPlateau",
    "Residual",
    "Rprop",
    "StepDecay",
    "Trainer",
    "WarmUp",
    "show_config",
]
