"""The command line: `bpfast demo`, `bpfast config`, `bpfast doctor`."""

import argparse
import os
import sys

from . import __version__, demo
from .backends import BACKENDS, missing, show_config
from .selftest import self_test


def main(arguments=None):
    """Run one command; return the exit status: 0, 1 for a failed self test, 2 for wrong arguments, 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    return status_of(lambda: given.run(given))


def status_of(command):
    """Run a function that prints; -> the exit status: what it returns, 1 where nobody reads on, 130 after Ctrl-C."""
    try:
        status = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # nobody reads on (`bpfast demo | head -1`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status or 0


def parser():
    top = argparse.ArgumentParser(prog="bpfast", description="Back-propagation networks, trained on a CPU.")
    top.add_argument("--version", action="version", version=f"bpfast {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="learn handwritten digits, time the engine, show the gradient")
    command.add_argument("--epochs", type=at_least(1), default=30, metavar="N", help="default 30")
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N",
                         help="of the weights and the shuffling; default 0")
    command.add_argument("--backend", type=backend, choices=["auto", *BACKENDS], default="auto",
                         help="default auto: the first of the others that can run here")
    command.add_argument("--plot", type=picture, metavar="FILE.png",
                         help="write the learning curves; needs matplotlib, the extra bpfast[plot]")
    command.set_defaults(run=lambda given: demo.run(given.epochs, given.seed, given.backend, given.plot))

    command = commands.add_parser("config", help="print versions, CPU level, threads and backends")
    command.set_defaults(run=lambda given: show_config())

    command = commands.add_parser("doctor", help="check every formula and backend of this installation, in seconds")
    command.set_defaults(run=lambda given: int(not self_test()))
    return top


def at_least(low):
    """The type of an argument that is a whole number of at least `low`."""

    def number(text):
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {text}")
        return int(text)

    return number


def backend(name):
    """The type of --backend: one that can run here; "auto" is the first of them."""
    if name == "auto":
        return next(candidate for candidate in BACKENDS if not missing(candidate))
    if name in BACKENDS and (why := missing(name)):
        raise argparse.ArgumentTypeError(f"{name} cannot run here: {why}")
    return name


def picture(path):
    """The type of --plot: a file that a picture can be written to, tried before any training."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise argparse.ArgumentTypeError('needs matplotlib: python -m pip install "bpfast[plot]"') from None
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if os.path.splitext(path)[1].lower().removeprefix(".") not in formats:
        raise argparse.ArgumentTypeError(f"{path!r} ends in none of: {', '.join(formats)}")
    new = not os.path.exists(path)
    try:
        open(path, "ab").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {path!r}: {error.strerror}") from None
    if new:
        os.remove(path)
    return path
