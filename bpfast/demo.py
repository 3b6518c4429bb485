"""`python -m bpfast demo`: handwritten digits, learned while you watch."""

import os
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


def run(epochs=30, seed=0, backend="auto", plot=None):
    """Train and test a network, time an epoch of each engine, look at the gradient; print everything.

    plot    None, or the file that the learning curves are written to
    """
    X, y, X_test, y_test = optdigits()
    net = Network([Dense(512, "relu"), Dense(256, "relu"), Dense(10, "softmax")], input_shape=64, seed=seed)
    before = net.copy()

    settings = {"loss": "cross_entropy", "optimizer": Adam(1e-3), "batch_size": 64, "seed": seed}

    trainer = Trainer(net, backend=backend, **settings)
    print(f"bpfast {__version__}: handwritten digits of 8 x 8 pixels (UCI optdigits)")
    print(f"{len(X)} digits to learn from, {len(X_test)} by other writers to be tested on")
    print("network 64-512-256-10, relu, softmax with cross-entropy, Adam, batches of 64, "
          f"backend {trainer.backend}\n", flush=True)
    history = trainer.fit(X, y, epochs=epochs, validation=(X_test, y_test), verbose=True)
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"\ntest accuracy {accuracy:.4f} after {history['seconds'].sum():.2f} s of training", flush=True)

    print_seconds(lambda engine: Trainer(before.copy(), backend=engine, **settings), X, y)
    print_gradients(Trainer(before, backend=trainer.backend, **settings), trainer, X, y)
    if plot is not None:
        write_curves(history, plot)


def print_seconds(trainer_on, X, y):
    """Time an epoch of the reference and of the native engine on the same work: the fastest of several."""
    print("\ntime per epoch, the fastest of several")
    seconds = {}
    for backend, epochs in ("numpy", 8), ("native", 40):
        if why := missing(backend):
            print(f"  {backend:9}not available: {why}")
            continue
        seconds[backend] = trainer_on(backend).fit(X, y, epochs=epochs, verbose=False)["seconds"].min()
        ratio = f"{seconds['numpy'] / seconds[backend]:8.1f} x as fast" if backend != "numpy" else ""
        print(f"  {backend:9}{1e3 * seconds[backend]:8.2f} ms{ratio}")
    held_back = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]
    if held_back:
        print(f"  ({', '.join(held_back)} set in the environment: NumPy may be slower here than it could be)")


def print_gradients(before, after, X, y):
    """Print the Euclidean norm of the gradient over the training set, layer by layer."""
    print("\nnorm of the gradient      before    after training")
    norms = [gradient_norms(trainer.loss_and_gradients(X, y)[1]) for trainer in (before, after)]
    for layer in norms[0]:
        n_in, n_out = after.network.parameters[f"{layer}.weight"].shape
        print(f"  layer {layer}  {n_in:4} -> {n_out:<4}" + "".join(f"{norm[layer]:12.2e}" for norm in norms))


def gradient_norms(gradients):
    """-> dict, layer -> norm of its weight's and its bias's gradient together."""
    squares = {}
    for name, gradient in gradients.items():
        layer = name.rpartition(".")[0]
        squares[layer] = squares.get(layer, 0.0) + np.square(gradient, dtype="f8").sum()
    return {layer: np.sqrt(square) for layer, square in squares.items()}


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
