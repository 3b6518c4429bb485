"""Time to learn MNIST:  python bench/mnist.py [mnist.npz]

784-256-128-10 with relu, Adam, batches of 128, 10 epochs, on one core. Prints the test accuracy and the seconds
of the fit, without loading. Ends with status 1 below an accuracy of 0.975.

The file holds X_train (60000, 28, 28), y_train, X_test (10000, 28, 28), y_test: pixels 0..255, digits 0..9.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import benchmarks.common as common  # before NumPy: it sets the conditions
import numpy as np

import bpfast as bp

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "images" / "mnist.npz"
ACCURACY = 0.975


def main():
    options = parser(__doc__).parse_args()
    X, y, X_test, y_test = load(options.file, 784)
    print(*common.describe(), sep="\n")
    seed, backend = options.seed, options.backend
    net = bp.Network([bp.Dense(256, "relu"), bp.Dense(128, "relu"), bp.Dense(10, "softmax")], seed=seed)
    adam = bp.Adam(1e-3)
    trainer = bp.Trainer(net, loss="cross_entropy", optimizer=adam, batch_size=128, seed=seed, backend=backend)
    begin = perf_counter()
    trainer.fit(X, y, epochs=10)
    seconds = perf_counter() - begin
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"test accuracy {accuracy:.4f} after 10 epochs in {seconds:.2f} s, backend {backend}")
    return accuracy < ACCURACY


def load(file, *shape):
    """-> X, y, X_test, y_test: rows of this shape, numbers from 0 to 1 in float32, and digits."""
    if not file.exists():
        sys.exit(f"no file {file}; give the path of mnist.npz")
    with np.load(file) as data:
        X, X_test = (data[name].reshape(-1, *shape) / np.float32(255) for name in ("X_train", "X_test"))
        return X, data["y_train"], X_test, data["y_test"]


def parser(description):
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("file", nargs="?", type=Path, default=MNIST, help="default: %(default)s")
    options.add_argument("--backend", choices=["native", "numba", "numpy"], default="native")
    options.add_argument("--seed", type=int, default=0)
    return options


if __name__ == "__main__":
    sys.exit(main())
