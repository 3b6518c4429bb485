"""The docstrings of both estimators: what they have in common, once."""

import re
from inspect import cleandoc, signature

PARAMETERS = """
hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
    Units of each hidden layer.
activation : str, activation, or a sequence of one per hidden layer, default="relu"
    Of the hidden layers: scikit-learn's "identity", "logistic", "tanh", "relu", any name in `bpfast.ACTIVATIONS` but
    "softmax", or one's own, made with `@bpfast.activation`.
solver : {"adam", "sgd", "lbfgs"}, default="adam"
    What finds the weights: "sgd" has `momentum`; "lbfgs" looks at all rows before every step and computes in float64.
alpha : float, default=0.0001
    Adds alpha / (2 n) |W|^2 to the mean loss of a batch of n rows, or of weight n.
batch_size : int or "auto", default="auto"
    Rows per step; "auto" is min(200, n_samples). "lbfgs" takes all.
learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
    With `solver="sgd"`: constant; learning_rate_init / (t + 1)^power_t after t rows; or divided by 5 when the loss, or
    with `early_stopping` the score, has stalled.
learning_rate_init : float, default=0.001
    The first learning rate, of "sgd" and "adam".
power_t : float, default=0.5
    Of "invscaling".
max_iter : int, default=200
    The most iterations: epochs, or steps of "lbfgs".
shuffle : bool, default=True
    Whether every iteration has an order of the rows of its own.
random_state : int, RandomState instance or None, default=None
    Draws the first weights, the order of rows, rows held out, and what dropout drops.
tol : float, default=1e-4
    What is better by less than this is no better.
verbose : bool, default=False
    Whether to print the loss, and the score, of every iteration.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last one.
momentum : float, default=0.9
    Of `solver="sgd"`, in [0, 1).
nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's.
early_stopping : bool, default=False
    Whether to hold out a share of the rows, stop when their score has stalled, and keep the weights of the best
    iteration; not with "lbfgs".
validation_fraction : float, default=0.1
    The share that is held out.
beta_1 : float, default=0.9
    Of Adam, in [0, 1): how much of its mean gradient each step keeps.
beta_2 : float, default=0.999
    Of Adam, in [0, 1): how much of its mean square each step keeps.
epsilon : float, default=1e-8
    Of Adam: added to the root of the mean square, before its bias is corrected, as scikit-learn does.
n_iter_no_change : int, default=10
    More iterations than this without a better loss, or score, are a stall.
max_fun : int, default=15000
    The most gradients of "lbfgs", which finishes the step in which it takes more.
dropout : float, or a sequence of one per hidden layer, default=0.0
    The share of a layer's outputs that each step drops, in [0, 1).
optimizer : str, bpfast optimizer or None, default=None
    In place of `solver`, with its own learning rate or schedule: `bpfast.AdamW(bpfast.CosineDecay(1e-3, 100))`.
clip : bpfast clip or None, default=None
    Bounds the gradient: `bpfast.ClipGlobalNorm(1.0)`.
scoring : str, callable or None, default=None
    The scorer of `early_stopping`; None is accuracy, or R^2.
keep_optimizer : bool, default=False
    Whether a warm start keeps what the optimizer remembers.
time_limit : float or None, default=None
    Seconds after which a fit ends, with what it has learned.
dtype : {"float32", "float64"} or None, default=None
    Of the computation; None takes that of X, and float64 for integers and "lbfgs".
n_threads : int or None, default=None
    Threads of a fit; None takes the cores that are free. The result is the same, bit for bit.
backend : {"auto", "native", "numba", "numpy"}, default="auto"
    What computes; "auto" takes the fastest that can.
"""

ATTRIBUTES = """
coefs_ : list of ndarray of shape (n_in, n_out)
    The weights of every layer: those of the network, which changes with them.
intercepts_ : list of ndarray of shape (n_out,)
    The biases of every layer, likewise.
loss_ : float
    The last loss, with the penalty.
best_loss_ : float or None
    The smallest loss; None with `early_stopping`.
loss_curve_ : list of float
    The loss of every iteration, with the penalty.
validation_scores_ : list of float or None
    The score of every iteration, with `early_stopping`.
best_validation_score_ : float or None
    The best score, with `early_stopping`.
validation_loss_curve_ : list of float or None
    The loss of the rows held out, or given as X_val, after every iteration, without the penalty; None where there are
    no such rows, and of "lbfgs".
early_stopped_ : bool
    Whether `early_stopping` has ended the fit.
n_iter_ : int
    Iterations of the last fit.
t_ : int
    Rows seen since the first weights were drawn, a row once for every epoch.
n_features_in_ : int
    Inputs.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the inputs, where X had some.
n_layers_ : int
    Layers, with that of the inputs.
n_outputs_ : int
    Outputs.
out_activation_ : str
    The activation of the outputs.
"""


NOTES = """
With the same `random_state` and `shuffle=False` every solver finds the weights that scikit-learn's finds, to rounding.
"""


def documented(summary, parameters, attributes, see_also, notes, examples):
    """Write the docstring of a class, in scikit-learn's form; the parameters stand in the order of its constructor."""
    texts = _entries(PARAMETERS) | _entries(parameters)

    def write(kind):
        names = list(signature(kind).parameters)
        sections = {"Parameters": "\n".join(texts[name] for name in names),
                    "Attributes": "\n".join(filter(None, map(cleandoc, (attributes, ATTRIBUTES)))),
                    "See Also": see_also, "Notes": f"{cleandoc(notes)}\n{NOTES}", "Examples": examples}
        kind.__doc__ = "\n\n".join((
            summary,
            "Parameters, attributes and methods are those of scikit-learn's class of this name; the parameters\n"
            "from `dropout` on are its own.",
            *(f"{title}\n{'-' * len(title)}\n{cleandoc(text)}" for title, text in sections.items()))) + "\n"
        return kind

    return write


def _entries(text):
    """-> {name of a parameter: its text}."""
    return {entry.partition(" :")[0]: entry for entry in re.split(r"\n(?=\w)", cleandoc(text)) if entry}
