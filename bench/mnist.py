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
    options = parser().parse_args()
    if not options.file.exists():
        sys.exit(f"no file {options.file}; give the path of mnist.npz")
    print(*common.describe(), sep="\n")
    with np.load(options.file) as data:
        X, X_test = (data[name].reshape(-1, 784) / np.float32(255) for name in ("X_train", "X_test"))
        y, y_test = data["y_train"], data["y_test"]
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


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("file", nargs="?", type=Path, default=MNIST, help="default: %(default)s")
    options.add_argument("--backend", choices=["native", "numba", "numpy"], default="native")
    options.add_argument("--seed", type=int, default=0)
    return options


if __name__ == "__main__":
    sys.exit(main())
