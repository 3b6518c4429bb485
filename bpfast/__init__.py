"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .history import History
from .initializers import Constant, Glorot, He, LeCun, Normal, Orthogonal, TruncatedNormal, Uniform, Zeros
from .layers import Dense, Residual
from .network import Network
from .ops import ACTIVATIONS, LOSSES
from .optimizers import SGD, Adam
from .regularizers import L1, L2, ClipGlobalNorm, ClipNorm, ClipValue, MaxNorm, WeightDecay
from .trainer import DivergenceError, Trainer

__all__ = [
    "ACTIVATIONS",
    "L1",
    "L2",
    "LOSSES",
    "SGD",
    "Adam",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "Dense",
    "DivergenceError",
    "Glorot",
    "He",
    "History",
    "LeCun",
    "MaxNorm",
    "Network",
    "Normal",
    "Orthogonal",
    "Residual",
    "Trainer",
    "TruncatedNormal",
    "Uniform",
    "WeightDecay",
    "Zeros",
    "show_config",
]
