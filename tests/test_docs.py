"""README.md: its programs run, and its patch applies.  The pages in docs/ are tests by themselves."""

import inspect
import re
import subprocess

import pytest
from checks import c_names
from samples import ROOT, copy_of_the_sources, python

import bpfast as bp
from bpfast.health import RULES
from bpfast.layers import Layer
from bpfast.recording import FIGURES

README = (ROOT / "README.md").read_text()


def blocks(language):
    """The texts of README's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_programs_run(tmp_path):
    """One after the other, in one Python."""
    check = "assert same.predict(X_test).tobytes() == before.tobytes()"
    ten_lines, saving, pickling = blocks("python")
    python("-c", "\n".join([ten_lines, "before = net.predict(X_test)", saving, check, pickling]), cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("command", [("git", "apply"), ("patch", "-p1")], ids=" ".join)
def test_the_patch_applies(tmp_path, command):
    """And what it adds is a row of the table, with its twin."""
    sources = copy_of_the_sources(tmp_path / "sources")
    (patch,) = blocks("diff")
    try:
        done = subprocess.run(command, cwd=sources, input=patch, text=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    assert done.returncode == 0, done.stdout + done.stderr
    table = python("-m", "bpfast.ops", cwd=sources, path=sources).stdout
    assert re.search(r"^ +bipolar +tanh\(x / 2\) .*Fausett 1994$", table, re.MULTILINE)
    names = c_names((sources / "bpfast/ops/activations.h").read_text())
    assert names[names.index("bipolar") - 1] == "sigmoid"


def test_the_page_of_layers_has_all():
    page = (ROOT / "docs/layers.md").read_text()
    named = set(re.findall(r"`(\w+)\(", "".join(re.findall(r"^\| `.*? \|", page, re.MULTILINE))))
    classes = filter(inspect.isclass, map(bp.__dict__.get, bp.__all__))
    assert named >= {layer.__name__ for layer in classes if issubclass(layer, Layer)}


def test_the_page_of_illnesses_has_all():
    """Every illness has a row, and every figure of a recording."""
    page = (ROOT / "docs/gradients.md").read_text()
    assert {rule.name for rule in RULES} <= set(re.findall(r"^\| ([a-z -]+) \|", page, re.MULTILINE))
    assert set(FIGURES) <= set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*? \|", page, re.MULTILINE))))
