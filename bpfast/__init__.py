"""bpfast: back-propagation networks trained on a CPU at the speed of the hardware."""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING

from .backends import show_config
from .callbacks import Callback, EarlyStopping, StopBelow, TimeLimit
from .custom import activation, loss, optimizer
from .divergence import DivergenceError
from .history import History
from .images import (
    AvgPool1D,
    AvgPool2D,
    Conv1D,
    Conv2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    MaxPool1D,
    MaxPool2D,
    ResidualBlock,
)
from .initializers import Constant, Glorot, He, LeCun, Normal, Orthogonal, TruncatedNormal, Uniform, Zeros
from .layers import (
    Activation,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    Residual,
    Scale,
    Standardize,
)
from .lbfgs import LBFGS
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
from .regularizers import L1, L2, ClipGlobalNorm, ClipNorm, ClipValue, L2OfSum, MaxNorm, WeightDecay
from .resnet import resnet
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
from .trainer import Trainer

if TYPE_CHECKING:
    from .gradcheck import GradientError, GradientReport, check_gradient, check_gradients
    from .health import HealthReport, StopIfIll
    from .learning_rate import LearningRateTest, find_learning_rate
    from .selftest import self_test
    from .tensorboard import TensorBoard

_LOADED_WHEN_USED = {  # what a program that trains and predicts does without
    **dict.fromkeys(("GradientError", "GradientReport", "check_gradient", "check_gradients"), "gradcheck"),
    **dict.fromkeys(("HealthReport", "StopIfIll"), "health"),
    **dict.fromkeys(("LearningRateTest", "find_learning_rate"), "learning_rate"),
    "self_test": "selftest",
    "TensorBoard": "tensorboard",
}


def __getattr__(name):
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LOADED_WHEN_USED[name]}", __name__), name)


def __dir__():
    return sorted({*globals(), *__all__})


__all__ = [
    "ACTIVATIONS",
    "L1",
    "L2",
    "LBFGS",
    "LOSSES",
    "METRICS",
    "SGD",
    "AMSGrad",
    "Activation",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "AlphaDropout",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Callback",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "ConstantRate",
    "Conv1D",
    "Conv2D",
    "CosineDecay",
    "CosineRestarts",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "ExponentialDecay",
    "Flatten",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "Glorot",
    "GradientError",
    "GradientReport",
    "He",
    "HealthReport",
    "History",
    "InverseScaling",
    "L2OfSum",
    "LayerNorm",
    "LeCun",
    "LearningRateTest",
    "Lion",
    "MaxNorm",
    "MaxPool1D",
    "MaxPool2D",
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
    "ResidualBlock",
    "Rprop",
    "Scale",
    "Standardize",
    "StepDecay",
    "StopBelow",
    "StopIfIll",
    "TensorBoard",
    "TimeLimit",
    "Trainer",
    "TruncatedNormal",
    "Uniform",
    "WarmUp",
    "WeightDecay",
    "Zeros",
    "activation",
    "check_gradient",
    "check_gradients",
    "find_learning_rate",
    "loss",
    "optimizer",
    "resnet",
    "self_test",
    "show_config",
]
