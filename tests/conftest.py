"""Fixtures: where a test can run.  A tool that is missing fails the suite; it is never a reason to skip."""

import importlib
import os
import signal
import tempfile
from pathlib import Path

os.environ["SCIPY_ARRAY_API"] = "1"  # before SciPy is imported: some of scikit-learn's checks need it

import hypothesis
import matplotlib  # noqa: F401
import numba  # noqa: F401
import numpy as np
import pytest

pytest.register_assert_rewrite("checks")

from engines import BACKENDS, DTYPES, ENGINES, NATIVE_LEVELS, name_of  # noqa: E402
from samples import ROOT, small_rows  # noqa: E402

# A shell starts background jobs with Ctrl-C ignored; the tests of it need it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machine code of functions that tests write goes where nobody else looks.
os.environ["BPFAST_CACHE"] = str(Path(tempfile.gettempdir()) / f"bpfast-tests-{os.getuid()}")

DATA = Path(os.environ.get("BPFAST_DATA", ROOT.parent / "shared" / "data"))

# The same examples in every run: a failure can be repeated, and time does not decide.
hypothesis.settings.register_profile("bpfast", deadline=None, derandomize=True, database=None, max_examples=30)
hypothesis.settings.load_profile("bpfast")


@pytest.fixture
def root():
    """The folder of the repository."""
    return ROOT


@pytest.fixture
def data():
    """The folder of the real data sets."""
    if not DATA.is_dir():
        pytest.skip(f"the data sets are not here: no folder {DATA}; BPFAST_DATA names another")
    return DATA


@pytest.fixture(params=ENGINES, ids=name_of)
def engine(request, monkeypatch):
    """The name of a backend, with BPFAST_CPU set to one of its CPU levels."""
    return _at_level(*request.param, monkeypatch)


@pytest.fixture(params=[("native", level) for level in NATIVE_LEVELS], ids=name_of)
def native_engine(request, monkeypatch):
    """"native", with BPFAST_CPU set to one of its CPU levels."""
    return _at_level(*request.param, monkeypatch)


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a backend, at the CPU level that it chooses."""
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def rows(rng):
    """X (200, 6) and labels that a small network can learn."""
    return small_rows(rng)


def pytest_collection_modifyitems(items):
    """What compares with PyTorch can be run alone."""
    for item in items:
        if {"torch_twin", "torch_optimizers"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("torch")


@pytest.fixture
def torch_twin():
    """The networks in PyTorch."""
    return _with_torch("torch_twin")


@pytest.fixture
def torch_optimizers():
    """The optimizers and schedules of PyTorch."""
    return _with_torch("torch_optimizers")


def _with_torch(module):
    if os.environ.get("BPFAST_REQUIRE_TORCH") != "1":
        pytest.importorskip("torch", reason="PyTorch is not installed; the recorded witnesses are checked all the same")
    return importlib.import_module(module)


def _at_level(backend, level, monkeypatch):
    if level is None:
        monkeypatch.delenv("BPFAST_CPU", raising=False)
    else:
        monkeypatch.setenv("BPFAST_CPU", level)
    return backend
