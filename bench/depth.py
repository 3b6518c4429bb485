"""Deep networks that do not learn, and what cures them:  python bench/depth.py [mnist.npz]

16 and 32 dense layers of 64 units and a softmax learn MNIST in 6 epochs, batches of 128, the same Adam for all. With
sigmoids and weights of a small variance the gradient vanishes on the way back, and the net guesses one digit. Each
cure alone changes only what its name says. Prints a Markdown table for each depth: the accuracy on the test set, and
the norm of the gradient with respect to the weights of five of the layers before training, of 1000 rows. Ends with
status 1 where a cure reaches less than 0.95, or the net without one more than 0.12.

The file is that of bench/mnist.py.
"""

import sys
from time import perf_counter

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np
from benchmarks.markdown import head, row
from mnist import load, parser

import bpfast as bp

UNITS, EPOCHS, BATCH = 64, 6, 128
ADAM = bp.Adam(bp.OneCycle(1.5e-3, EPOCHS), beta2=0.95)
DEPTHS = 16, 32
ROWS = 1000  # of the gradients
CURED, GUESSED = 0.95, 0.12
SMALL = bp.Normal(mean=0, deviation=0.1)  # variance 0.01


def dense(activation, initializer):
    """-> what makes so many dense layers."""
    return lambda depth: [bp.Dense(UNITS, activation, initializer=initializer)] * depth


def normalised(depth):
    return [bp.Dense(UNITS, initializer=SMALL), bp.BatchNorm(), bp.Activation("sigmoid")] * depth


def residual(depth):
    """Two layers, then blocks of two, of which the second is linear: the sums can fall as well as rise."""
    layer = bp.Dense(UNITS, "sigmoid", initializer=SMALL)
    return [layer, layer, *[bp.Residual(layer, bp.Dense(UNITS, initializer=SMALL))] * (depth // 2 - 1)]


PLAIN = "none: sigmoid, N(0, 0.01)"
CURES = {  # name -> function(depth) -> layers
    PLAIN: dense("sigmoid", SMALL),
    "He, relu": dense("relu", "he"),
    "Xavier, tanh": dense("tanh", "glorot"),
    "LeCun, selu": dense("selu", "lecun"),
    "batch normalisation": normalised,
    "residual blocks": residual,
}


def main():
    options = parser(__doc__).parse_args()
    X, y, X_test, y_test = load(options.file, 784)
    print(*common.describe(), sep="\n")
    failed = False
    for depth in DEPTHS:
        shown = [round(share * (depth - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
        head(f"{depth} layers", "accuracy", "seconds", *(f"layer {i + 1}" for i in shown))
        for name, layers in CURES.items():
            net = bp.Network([*layers(depth), bp.Dense(10, "softmax")], input_shape=784, seed=options.seed)
            trainer = bp.Trainer(net, loss="cross_entropy", optimizer=ADAM, batch_size=BATCH,
                                 seed=options.seed, backend=options.backend)
            norms = gradient_norms(trainer, X[:ROWS], y[:ROWS])
            begin = perf_counter()
            trainer.fit(X, y, epochs=EPOCHS, verbose=False)
            seconds = perf_counter() - begin
            accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
            failed |= accuracy > GUESSED if name == PLAIN else accuracy < CURED
            row(name, f"{accuracy:.4f}", f"{seconds:.1f}", *(f"{norms[i]:.1e}" for i in shown))
    return failed


def gradient_norms(trainer, X, y):
    """-> of the weight of every dense layer, from the first to the softmax."""
    _, gradients = trainer.loss_and_gradients(X, y)
    return [np.linalg.norm(g) for name, g in gradients.items() if name.endswith("weight")]


if __name__ == "__main__":
    sys.exit(main())
