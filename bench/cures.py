"""Known illnesses on MNIST, what the diagnosis says, and what its cures do:  python bench/cures.py [mnist.npz]

Every ill network is looked at before it learns, learns, and so does each network and trainer that the code of a cure
makes, for as many epochs. Prints a Markdown table of accuracies on the test set. Ends with status 1 where the verdict
is not the known one, where a cured network stays below 0.9, or where five or twenty sigmoid layers of small weights,
not cured, learn more than to guess one digit (published of five: 0.1135, the optimizer not stated).

The file is that of bench/mnist.py.
"""

import sys

import benchmarks.common as common  # before NumPy: it sets the conditions
from benchmarks.markdown import head, row
from mnist import load, parser

import bpfast as bp

UNITS, EPOCHS, BATCH = 64, 5, 128
LEARNED, GUESSED = 0.9, 0.12
OUT = bp.Dense(10, "softmax")
RELU = [bp.Dense(UNITS, "relu")] * 2


def dense(activation, deviation, depth):
    return [bp.Dense(UNITS, activation, initializer=bp.Normal(0, deviation))] * depth


CASES = {  # name -> layers, optimizer, factor of the inputs, biases (None: as they are), the verdict
    "5 sigmoid layers, N(0, 0.01)": (dense("sigmoid", 0.1, 5), bp.SGD(0.1), 1, None, "vanishing gradient"),
    "20 sigmoid layers, N(0, 0.01)": (dense("sigmoid", 0.1, 20), bp.Adam(1e-3), 1, None, "vanishing gradient"),
    "relu, N(0, 9)": (dense("relu", 3, 3), bp.Adam(1e-3), 1, None, "exploding gradient"),
    "relu, biases of -10": (RELU, bp.Adam(1e-3), 1, -10, "dead units"),
    "learning rate 1000 times too large": (RELU, bp.Adam(1.0), 1, None, "learning rate too high"),
    "learning rate 1000 times too small": (RELU, bp.Adam(1e-6), 1, None, "learning rate too low"),
    "inputs of scale 10 000": (RELU, bp.Adam(1e-3), 1e4, None, "unscaled inputs"),
    "weights of zero": (RELU, bp.Adam(1e-3), 1, 0, "zero or symmetric weights"),
}


def main():
    options = parser(__doc__).parse_args()
    X, y, X_test, y_test = load(options.file, 784)
    print(*common.describe(), sep="\n")
    failed = False
    head("network", "verdict", "cure", "accuracy")
    for name, (layers, optimizer, factor, biases, expected) in CASES.items():
        net = bp.Network([*layers, OUT], input_shape=784, seed=options.seed)
        trainer = bp.Trainer(net, loss="cross_entropy", optimizer=optimizer, batch_size=BATCH, seed=options.seed,
                             backend=options.backend)
        for array in net.parameters.values():
            if biases == 0 or (biases is not None and array.ndim == 1):
                array[...] = biases
        report = trainer.diagnose(factor * X, y)
        found = ", ".join(verdict.name for verdict in report.verdicts)
        accuracy = accuracy_of(trainer, factor * X, y, factor * X_test, y_test)
        failed |= found != expected or ("sigmoid" in name and accuracy > GUESSED)
        row(name, found, "none", f"{accuracy:.4f}")
        for cure in [cure for verdict in report.verdicts for cure in verdict.cures]:
            scope = {"bp": bp}
            exec(cure.code, scope)
            accuracy = accuracy_of(scope["trainer"], factor * X, y, factor * X_test, y_test)
            failed |= accuracy < LEARNED
            row("", "", cure.words, f"{accuracy:.4f}")
    return failed


def accuracy_of(trainer, X, y, X_test, y_test):
    """On the test set after some epochs; that of the network as it was where it may not or cannot be trained."""
    try:
        trainer.fit(X, y, epochs=EPOCHS, verbose=False)
    except (bp.DivergenceError, ValueError) as error:  # every weight is zero
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return trainer.evaluate(X_test, y_test)["accuracy"]


if __name__ == "__main__":
    sys.exit(main())
