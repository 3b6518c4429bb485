"""The command line: the demo, the tables, the configuration."""

import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from samples import python

import bpfast as bp
from bpfast import backends
from bpfast.demo import optdigits
from bpfast.initializers import INITIALIZERS
from bpfast.layers import Layer
from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES
from bpfast.regularizers import CLIPS, REGULARIZERS
from bpfast.schedules import SCHEDULES


def without(module, *arguments):
    """The arguments of a Python that runs ``bpfast`` as if a module were not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from bpfast.cli import main; sys.exit(main(sys.argv[1:]))"
    return "-c", code, *arguments


def accuracy(text):
    return float(re.search(r"test accuracy (\S+)", text)[1])


def test_demo(tmp_path):
    """It learns, times the engines and shows the gradients."""
    done = python("-m", "bpfast", "demo", "--epochs", 2, cwd=tmp_path)
    assert accuracy(done.stdout) > 0.9
    assert "epoch 2/2" in done.stderr
    for part in (bp.__version__, "3823 digits", "1797", "numpy", "native", "norm of the gradient", "layer 2"):
        assert part in done.stdout
    assert not list(tmp_path.iterdir())


def test_demo_reaches_its_accuracy(tmp_path):
    """As it is run without arguments; minutes without the native backend."""
    if backends.missing("native"):
        pytest.skip("the native backend was not built, as BPFAST_PURE=1 asks")
    assert accuracy(python("-m", "bpfast", "demo", cwd=tmp_path).stdout) >= 0.965


def test_the_same_seed_gives_the_same_demo(tmp_path):
    texts = [python("-m", "bpfast", "demo", "--epochs", 1, "--seed", seed, cwd=tmp_path).stdout
             for seed in (1, 1, 2)]
    norms = [re.findall(r"layer .*", text) for text in texts]
    assert norms[0] == norms[1] != norms[2]


def test_plot(tmp_path):
    """A picture; and no file that is not asked for."""
    done = python("-m", "bpfast", "demo", "--epochs", 2, "--plot", tmp_path / "curves.png", cwd=tmp_path)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png" in done.stdout and len(list(tmp_path.iterdir())) == 1


def test_plot_without_matplotlib(tmp_path):
    """Names the extra before any work, with the exit status of a wrong argument."""
    done = python(*without("matplotlib", "demo", "--epochs", "1", "--plot", "curves.png"), cwd=tmp_path, expected=2)
    assert "bpfast[plot]" in done.stderr and done.stdout == ""
    assert not list(tmp_path.iterdir())
    done = python(*without("matplotlib", "demo", "--epochs", "1", "--backend", "numpy"), cwd=tmp_path)
    assert "test accuracy" in done.stdout


@pytest.mark.parametrize("arguments, message", [
    (["demo", "--plot", "curves.xyz"], "ends in none of"),
    (["demo", "--plot", "no/such/folder/curves.png"], "cannot write"),
    (["demo", "--epochs", "0"], "at least 1"),
    (["demo", "--epochs", "many"], "invalid"),
    (["demo", "--seed", "-1"], "seed"),
    (["demo", "--backend", "cuda"], "invalid choice"),
    (["dance"], "invalid choice"),
    ([], "required"),
])
def test_wrong_arguments(tmp_path, arguments, message):
    done = python("-m", "bpfast", *arguments, cwd=tmp_path, expected=2)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_config_and_version():
    text = python("-m", "bpfast", "config").stdout
    assert all(part in text for part in ("bpfast", "numpy", "threads", *backends.BACKENDS))
    assert python("-m", "bpfast", "--version").stdout.split()[-1] == bp.__version__


def test_the_tables_are_printed():
    """Every row with its formula, its source and the backends that run it."""
    lines = python("-m", "bpfast.ops").stdout.splitlines()
    for op in [*ACTIVATIONS.values(), *LOSSES.values(), *UPDATES.values()]:
        (line,) = [line for line in lines if line.split() and re.split(r"[( ]", line.strip())[0] == op.name]
        assert op.formula in line and op.source in line and "numpy" in line
        assert ("native" in line) == (not backends.missing("native"))
    for name, thing in {**INITIALIZERS, **REGULARIZERS, **CLIPS, **SCHEDULES}.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert thing.formula and thing.formula in line and thing.source in line


def test_the_layers_are_printed():
    """Every public one: the first sentence of its docstring, and its source."""
    lines = {line.split()[0]: line for line in python("-m", "bpfast.ops").stdout.splitlines() if line.strip()}
    for layer in filter(inspect.isclass, map(bp.__dict__.get, bp.__all__)):
        if issubclass(layer, Layer):
            first = " ".join(layer.__doc__.replace("``", "").split()[:4])
            assert re.match(rf" +{layer.__name__} +{re.escape(first)}", lines[layer.__name__])
    assert re.match(r" +Dense +y = f\(x W \+ b\), W \(n_in, units\), b \(units,\)(  |$)", lines["Dense"])
    assert re.search(r" initial  +De & Smith 2020, SkipInit; .* Jegou 2021, eq. 4$", lines["Scale"])


def test_help_of_the_tables():
    done = python("-m", "bpfast.ops", "--help")
    assert done.stdout.startswith("usage: python -m bpfast.ops") and "relu" not in done.stdout
    assert "unrecognized" in python("-m", "bpfast.ops", "layers", expected=2).stderr


@pytest.mark.parametrize("module, arguments", [("bpfast.ops", []), ("bpfast", ["config"])])
def test_nobody_reads_on(module, arguments):
    """As in `python -m bpfast.ops | head -1`: an exit status, no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run([sys.executable, "-m", module, *arguments], env=environment, text=True, stdout=closed,
                              stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")


def test_optdigits():
    X, y, X_test, y_test = optdigits()
    assert X.shape == (3823, 64) and X_test.shape == (1797, 64) and X.dtype == np.float32
    for rows, labels in ((X, y), (X_test, y_test)):
        assert rows.min() == 0 and rows.max() == 1 and (rows * 16 == np.round(rows * 16)).all()
        assert labels.shape == (len(rows),) and (np.bincount(labels) > 100).all() and labels.max() == 9


def test_optdigits_are_the_published(data):
    """Number for number those of the UCI repository, in its split."""
    X, y, X_test, y_test = optdigits()
    with np.load(data / "classif" / "optdigits.npz") as file:
        for rows, labels, part in ((X, y, "train_idx"), (X_test, y_test, "test_idx")):
            np.testing.assert_array_equal(16 * rows, file["X"][file[part]])
            np.testing.assert_array_equal(labels, file["y"][file[part]])
