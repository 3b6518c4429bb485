"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .history import History
from .initializers import (
    Constant,
    Glorot,
    He,
    LeCun,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from .layers import Dense, Residual
from .network import Network
from .optimizers import SGD, Adam
from .trainer import DivergenceError, Trainer

__all__ = [
    "SGD",
    "Adam",
    "Constant",
    "Dense",
    "DivergenceError",
    "Glorot",
    "He",
    "History",
    "LeCun",
    "Network",
    "Normal",
    "Orthogonal",
    "Residual",
    "Trainer",
    "TruncatedNormal",
    "Uniform",
    "Zeros",
    "show_config",
]
