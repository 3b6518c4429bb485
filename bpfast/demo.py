"""`python -m bpfast demo`: handwritten digits, learned while you watch."""
import os
from importlib.resources import files

import numpy as np

from . import __version__
from .layers import Dense
from .network import Network
from .optimizers import Adam
from .trainer import Trainer


def optdigits():
    """Handwritten digits of 43 people, 8 x 8 pixels, in the official split by writer.

    ->  X_train (3823, 64), y_train (3823,), X_test (1797, 64), y_test (1797,)
        X float32 in 0..1, the pixel sums 0..16 divided by 16; y uint8, the digit 0..9

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi 10.24432/C50P49, licence CC BY 4.0. Repacked without change by tools/pack_optdigits.py.
    """
    with files(__package__).joinpath("optdigits.npz").open("rb") as file, np.load(file) as data:
        X_train, X_test = (data[name] / np.float32(16) for name in ("X_train", "X_test"))
        return X_train, data["y_train"], X_test, data["y_test"]


def run(epochs=20, seed=0, backend="auto", plot=None):
    """Train and test a network, compare the engines, look at the gradient; print everything.

    plot    None, or the file that the learning curves are written to
    """
    X, y, X_test, y_test = optdigits()
    net = Network([Dense(256, "relu"), Dense(128, "relu"), Dense(10, "softmax")], input_shape=64, seed=seed)
    untrained = net.copy()

    def teach(network, backend):
        return Trainer(network, loss="cross_entropy", optimizer=Adam(1e-3), batch_size=32, seed=seed, backend=backend)

    trainer = teach(net, backend)
    print(f"bpfast {__version__}: handwritten digits (UCI optdigits, 8 x 8 pixels), "
          f"{len(X)} to learn from, {len(X_test)} by other writers to be tested on")
    print(f"network 64-256-128-10, softmax + cross-entropy, Adam, batches of 32, backend {trainer.backend}\n")
    history = trainer.fit(X, y, epochs=epochs, validation=(X_test, y_test), verbose=True)
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"\ntest accuracy {accuracy:.4f} after {sum(history['seconds']):.2f} s of training")

    print_seconds(lambda backend: teach(untrained.copy(), backend), X, y)
    print_gradients(teach(untrained.copy(), backend), trainer, X, y)
    if plot is not None:
        write_curves(history, plot)


def print_seconds(trainer_on, X, y):
    """Time an epoch of each engine: the fastest of several, the same work from the same start."""
    print("\ntime per epoch, the fastest of several")
    fastest = {}
    for backend, epochs in ("numpy", 6), ("native", 30):
        try:
            trainer = trainer_on(backend)
        except RuntimeError as reason:
            print(f"    {backend:8}  not available: {reason}")
            continue
        fastest[backend] = min(trainer.fit(X, y, epochs=epochs, verbose=False)["seconds"])
        print(f"    {backend:8}{1e3 * fastest[backend]:9.2f} ms{fastest['numpy'] / fastest[backend]:9.1f} x")
    held_back = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]
    if held_back:
        print(f"    ({' and '.join(held_back)} set: NumPy may run slower than it can here)")


def print_gradients(untrained, trained, X, y):
    """Print the Euclidean norm of each layer's gradient over the training set, before and after training."""
    print("\nnorm of the gradient       before      after training")
    before, after = (norms(trainer.loss_and_gradients(X, y)[1]) for trainer in (untrained, trained))
    for (name, norm), layer in zip(before.items(), trained.network.layers, strict=True):
        print(f"    {name}  {layer!r:22}{norm:10.2e}{after[name]:12.2e}")


def norms(gradients):
    """Sum the squares of a layer's gradients, weight and bias together, and take the root."""
    squares = {}
    for name, gradient in gradients.items():
        layer = name.rpartition(".")[0]
        squares[layer] = squares.get(layer, 0.0) + np.sum(np.square(gradient, dtype="f8"))
    return {layer: np.sqrt(square) for layer, square in squares.items()}


def write_curves(history, path):
    """Write the curves of the loss and the accuracy, side by side, to the file `path`."""
    from matplotlib.figure import Figure

    from .plots import learning_curves

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    learning_curves(history, loss).set_ylabel("cross-entropy (nats per digit)")
    learning_curves(history, accuracy, metric="accuracy").set_ylabel("accuracy (% of the digits)")
    figure.savefig(path, dpi=150)
    print(f"\nlearning curves written to {path}")
