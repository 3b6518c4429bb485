"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

from .backends import show_config
from .callbacks import Callback, EarlyStopping, StopBelow, TimeLimit
from .gradcheck import GradientError, GradientReport, check_gradient, check_gradients
from .history import History
from .initializers import Constant, Glorot, He, LeCun, Normal, Orthogonal, TruncatedNormal, Uniform, Zeros
from .layers import Dense, Residual
from .lbfgs import LBFGS
from .learning_rate import LearningRateTest, find_learning_rate
from .metrics import METRICS
from .network import Network
from .ops import ACTIVATIONS, LOSSES
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
from .regularizers import L1, L2, ClipGlobalNorm, ClipNorm, ClipValue, MaxNorm, WeightDecay
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
from .selftest import self_test
from .trainer import DivergenceError, Trainer

__all__ = [
    "ACTIVATIONS",
    "L1",
    "L2",
    "LBFGS",
    "LOSSES",
    "METRICS",
    "SGD",
    "AMSGrad",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "Callback",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "ExponentialDecay",
    "Glorot",
    "GradientError",
    "GradientReport",
    "He",
    "History",
    "InverseScaling",
    "LeCun",
    "LearningRateTest",
    "Lion",
    "MaxNorm",
    "Momentum",
    "Nadam",
    "Nesterov",
    "Network",
    "Normal",
    "OneCycle",
    "Orthogonal",
    "PolynomialDecay",
    "RMSProp",
    "ReduceOnPlateau",
    "Residual",
    "Rprop",
    "StepDecay",
    "StopBelow",
    "TimeLimit",
    "Trainer",
    "TruncatedNormal",
    "Uniform",
    "WarmUp",
    "WeightDecay",
    "Zeros",
    "check_gradient",
    "check_gradients",
    "find_learning_rate",
    "self_test",
    "show_config",
]
