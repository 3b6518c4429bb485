"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .callbacks import Callback, EarlyStopping, StopBelow, TimeLimit
from .history import History
from .initializers import Glorot, He
from .layers import Dense, Residual
from .lbfgs import LBFGS
from .learning_rate import LearningRateTest, find_learning_rate
from .metrics import METRICS
from .network import Network
from .optimizers import SGD, Adam
from .trainer import DivergenceError, Trainer

__all__ = [
    "LBFGS",
    "METRICS",
    "SGD",
    "Adam",
    "Callback",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "Glorot",
    "He",
    "History",
    "LearningRateTest",
    "Network",
    "Residual",
    "StopBelow",
    "TimeLimit",
    "Trainer",
    "find_learning_rate",
    "show_config",
]
