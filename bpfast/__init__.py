"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .gradcheck import GradientError, GradientReport, check_gradient, check_gradients
from .history import History
from .initializers import Glorot, He
from .layers import Dense, Residual
from .network import Network
from .optimizers import SGD, Adam
from .selftest import self_test
from .trainer import DivergenceError, Trainer

__all__ = [
    "SGD",
    "Adam",
    "Dense",
    "DivergenceError",
    "Glorot",
    "GradientError",
    "GradientReport",
    "He",
    "History",
    "Network",
    "Residual",
    "Trainer",
    "check_gradient",
    "check_gradients",
    "self_test",
    "show_config",
]
