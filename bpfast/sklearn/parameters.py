"""The docstrings of both estimators: what they have in common, once."""

from inspect import cleandoc

PARAMETERS = """
hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
    Units of each hidden layer.
activation : str, activation, or a sequence of one per hidden layer, default="relu"
    scikit-learn's "identity", "logistic", "tanh", "relu", any name in `bpfast.ACTIVATIONS`, or an activation of one's
    own, made with `@bpfast.activation`.
solver : {"adam", "sgd", "lbfgs"}, default="adam"
    "sgd" has `momentum`; "lbfgs" looks at all rows before every step and computes in float64.
alpha : float, default=0.0001
    Adds alpha / (2 n) |W|^2 to the mean loss of a batch of n rows, or of weight n.
batch_size : int or "auto", default="auto"
    Rows per step; "auto" is min(200, n_samples).
learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
    With `solver="sgd"`: constant; learning_rate_init / t^power_t after t rows; or divided by 5 when the loss, or with
    `early_stopping` the score, has stalled.
learning_rate_init : float, default=0.001
    The first learning rate.
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
    Print the loss, and the score, of every iteration.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last one.
momentum : float, default=0.9
    Of `solver="sgd"`, in [0, 1).
nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's.
early_stopping : bool, default=False
    Hold out a share of the rows, stop when their score has stalled, and keep the weights of the best iteration.
validation_fraction : float, default=0.1
    The share.
beta_1, beta_2 : float, default=0.9, 0.999
    Of Adam, in [0, 1).
epsilon : float, default=1e-8
    Of Adam.
n_iter_no_change : int, default=10
    More iterations than this without a better loss, or score, are a stall.
max_fun : int, default=15000
    The most gradients of "lbfgs".
dropout : float, or a sequence of one per hidden layer, default=0.0
    The share of a layer's outputs that each step drops.
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
    Of the computation; None takes that of X, float64 for integers.
n_threads : int or None, default=None
    None takes the cores that are free; the result is the same, bit for bit.
backend : {"auto", "native", "numba", "numpy"}, default="auto"
    What computes.
"""

ATTRIBUTES = """
coefs_, intercepts_ : lists of ndarray
    The weights (n_in, n_out) and biases (n_out,) of every layer: those of the network, which changes with them.
loss_, best_loss_ : float
    The last loss, and the smallest; None for the smallest with `early_stopping`.
loss_curve_ : list of float
    The loss of every iteration, with the penalty.
validation_scores_, best_validation_score_ : list of float, float
    Of `early_stopping`, else None.
validation_loss_curve_ : list of float or None
    The loss of the rows held out, or given as X_val, without the penalty.
early_stopped_ : bool
    Whether `early_stopping` has ended the fit.
n_iter_, t_ : int
    Iterations of the last fit, and rows that all fits have seen.
n_features_in_, n_layers_, n_outputs_ : int
    Inputs; layers with that of the inputs; outputs.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the inputs, where X had some.
out_activation_ : str
    The activation of the outputs.
"""


def documented(summary, parameters, attributes, example):
    """Write the docstring of a class, in scikit-learn's form."""

    def write(kind):
        kind.__doc__ = "\n\n".join((
            summary,
            "Parameters, attributes and methods are those of scikit-learn's class of this name; the parameters\n"
            "from `dropout` on are its own.",
            "Parameters\n----------\n" + "\n".join(filter(None, map(cleandoc, (
                parameters if "loss :" in parameters else "", PARAMETERS,
                "" if "loss :" in parameters else parameters)))),
            "Attributes\n----------\n" + "\n".join(filter(None, map(cleandoc, (attributes, ATTRIBUTES)))),
            "Examples\n--------\n" + cleandoc(example) + "\n"))
        return kind

    return write
