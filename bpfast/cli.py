"""The command line: `bpfast demo`, `bpfast config`."""
import argparse
import os
import sys

from . import __version__, config, demo


def main(arguments=None):
    """Run one command; return the exit status: 0, 2 for wrong arguments, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        sys.stdout.reconfigure(line_buffering=True)  # a line is seen when it is written, in a pipe too
        options.run(options)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; nothing more can be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def parser():
    top = argparse.ArgumentParser(prog="bpfast", description="Back-propagation networks, trained on a CPU.")
    top.add_argument("--version", action="version", version=f"bpfast {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="learn handwritten digits, time the engines, show the gradients")
    command.add_argument("--epochs", type=positive, default=20, metavar="N", help="default 20")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and shuffling; default 0")
    command.add_argument("--backend", choices=["auto", "native", "numba", "numpy"], default="auto",
                         help="default auto: the first of the others that runs here")
    command.add_argument("--plot", type=picture, metavar="FILE.png", help="write the learning curves (bpfast[plot])")
    command.set_defaults(run=lambda options: demo.run(options.epochs, options.seed, options.backend, options.plot))

    command = commands.add_parser("config", help="print versions, CPU level, threads and backends")
    command.set_defaults(run=lambda options: config.show_config())
    return top


def positive(text):
    """The type of --epochs."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


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
