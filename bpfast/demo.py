"""`python -m bpfast demo`: handwritten digits, learned while you watch."""

import os
import subprocess
import sys
from importlib.resources import files

import numpy as np

from . import __version__
from .backends import missing
from .layers import Dense
from .network import Network
from .optimizers import Adam
from .trainer import Trainer


def optdigits():
    """Handwritten digits of 43 people, 8 x 8 pixels, in the official split by writer.

    ->  X_train (3823, 64), y_train (3823,), X_test (1797, 64), y_test (1797,)
        X float32 in 0..1, the pixel sums 0..16 divided by 16; y uint8, the digit 0..9

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi 10.24432/C50P49, licence CC BY 4.0. Packed, unchanged, by tools/pack_optdigits.py.
    """
    with files(__package__).joinpath("optdigits.npz").open("rb") as file, np.load(file) as data:
        X_train, X_test = (data[name] / np.float32(16) for name in ("X_train", "X_test"))
        return X_train, data["y_train"], X_test, data["y_test"]


def task(backend, seed=0):
    """-> (Trainer of an untrained network, X, y, X_test, y_test)."""
    net = Network([Dense(512, "relu"), Dense(256, "relu"), Dense(10, "softmax")], input_shape=64, seed=seed)
    trainer = Trainer(
        net, loss="cross_entropy", optimizer=Adam(1e-3), batch_size=64, seed=seed, backend=backend
    )
    return trainer, *optdigits()


def run(epochs=30, seed=0, backend="auto", plot=None):
    """Train and test a network, time an epoch of each engine, look at the gradient; print everything.

    plot    None, or the file that the learning curves are written to
    """
    trainer, X, y, X_test, y_test = task(backend, seed)
    print(f"bpfast {__version__}: handwritten digits of 8 x 8 pixels (UCI optdigits)")
    print(f"{len(X)} digits to learn from, {len(X_test)} by other writers to be tested on: val_loss is of these")
    print("network 64-512-256-10, relu, softmax with cross-entropy, Adam, batches of 64, "
          f"backend {trainer.backend}\n", flush=True)
    before = gradient_norms(trainer, X, y)
    history = trainer.fit(X, y, epochs=epochs, validation=(X_test, y_test), verbose=True)
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"\ntest accuracy {accuracy:.4f} after {history['seconds'].sum():.2f} s of training")

    print("\ntime per epoch on one thread, the fastest of several", flush=True)
    timing = "from bpfast.demo import print_seconds; print_seconds()"
    subprocess.run([sys.executable, "-c", timing], env=unhindered(os.environ), check=True)

    print("\nnorm of the gradient      before    after training")
    for layer, norm in gradient_norms(trainer, X, y).items():
        n_in, n_out = trainer.network.parameters[f"{layer}.weight"].shape
        print(f"  layer {layer}  {n_in:4} -> {n_out:<4}{before[layer]:12.2e}{norm:12.2e}")
    if plot is not None:
        write_curves(history, plot)


def gradient_norms(trainer, X, y):
    """-> dict, layer -> Euclidean norm of the gradient of its weight and bias over all rows."""
    squares = {}
    for name, gradient in trainer.loss_and_gradients(X, y)[1].items():
        layer = name.rpartition(".")[0]
        squares[layer] = squares.get(layer, 0.0) + np.square(gradient, dtype="f8").sum()
    return {layer: np.sqrt(square) for layer, square in squares.items()}


def unhindered(environment):
    """The environment in which NumPy's BLAS is at its best on one thread, like the native engine."""
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    held_back = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    return {name: text for name, text in environment.items() if name not in held_back} | one_thread


def print_seconds():
    """Time an epoch of the reference and of the native engine, on the same work."""
    seconds = {}
    for backend, epochs in ("numpy", 8), ("native", 40):
        if why := missing(backend):
            print(f"  {backend:9}not available: {why}")
            continue
        trainer, X, y, *_ = task(backend)
        seconds[backend] = trainer.fit(X, y, epochs=epochs, verbose=False)["seconds"].min()
        ratio = f"{seconds['numpy'] / seconds[backend]:8.1f} x as fast" if backend != "numpy" else ""
        print(f"  {backend:9}{1e3 * seconds[backend]:8.2f} ms{ratio}")


def write_curves(history, path):
    """Write the curves of loss and accuracy, side by side, to the file `path`."""
    from matplotlib.figure import Figure

    from .plots import learning_curves

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    learning_curves(history, loss).set_ylabel("cross-entropy (nats per digit)")
    learning_curves(history, accuracy, metric="accuracy").set_ylabel("digits recognised")
    figure.savefig(path, dpi=150)
    print(f"\nlearning curves written to {path}")
