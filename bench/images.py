"""Convolutional networks learn MNIST:  python bench/images.py [mnist.npz]

Standardised images of 28 x 28, Adam with one cycle of its learning rate, no augmentation, a fixed seed. Prints a
Markdown table: the accuracy on the test set, the parameters, and the minutes of the fit on all cores, or on as many as
--threads says. Ends with status 1 where a net stays below its bound.

The file is that of bench/mnist.py.
"""

import sys
from time import perf_counter

import benchmarks.common as common  # before NumPy: it sets the conditions
from benchmarks import conditions
from benchmarks.markdown import head, row
from mnist import load, parser

import bpfast as bp

N_CORES = len(conditions.CORES) or 1


def normalised(filters):
    return [bp.Conv2D(filters, 3, bias=False, initializer="he"), bp.BatchNorm(), bp.Activation("relu")]


TWO = [
    bp.Standardize(),
    bp.Conv2D(16, 5, "relu"), bp.MaxPool2D(),
    bp.Conv2D(32, 5, "relu"), bp.MaxPool2D(),
    bp.Flatten(), bp.Dropout(0.4), bp.Dense(48, "relu"), bp.Dropout(0.3), bp.Dense(10, "softmax"),
]
THREE = [
    bp.Standardize(),
    *normalised(24), bp.MaxPool2D(), bp.Dropout(0.1),
    *normalised(48), bp.MaxPool2D(), bp.Dropout(0.2),
    *normalised(96), bp.MaxPool2D(), bp.Flatten(), bp.Dropout(0.4), bp.Dense(10, "softmax"),
]
NETS = {  # name -> layers, peak of the learning rate, epochs, least accuracy
    "two convolutions": (TWO, 3e-3, 10, 0.992),
    "three with batch normalisation": (THREE, 1e-2, 10, 0.994),
}


def main():
    options = parser(__doc__)
    options.add_argument("--threads", type=int, choices=range(1, 1 + N_CORES), default=N_CORES)
    options.add_argument("--net", choices=NETS, action="append", help="one; default: all")
    given = options.parse_args()
    X, y, X_test, y_test = load(given.file, 28, 28, 1)
    conditions.begin(given.threads)
    print(*common.describe(), sep="\n")
    head("network", "accuracy", "at least", "parameters", "epochs", "threads", "minutes")
    failed = False
    for name in given.net or NETS:
        layers, peak, epochs, least = NETS[name]
        net = bp.Network(layers, input_shape=(28, 28, 1), seed=given.seed)
        trainer = bp.Trainer(net, loss="cross_entropy", optimizer=bp.Adam(bp.OneCycle(peak, epochs)), batch_size=128,
                             seed=given.seed, backend=given.backend, n_threads=given.threads)
        begin = perf_counter()
        trainer.fit(X, y, epochs=epochs)
        minutes = (perf_counter() - begin) / 60
        accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
        failed |= accuracy < least
        row(name, f"{accuracy:.4f}", f"{least:.3f}", net.to_vector().size, epochs, given.threads, f"{minutes:.1f}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
