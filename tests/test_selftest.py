"""The self test: passes here, covers everything that runs, and finds planted faults."""

import io
import itertools
import os

import numpy as np
import pytest
from engines import DTYPES, ENGINES, NATIVE_LEVELS, name_of

import bpfast as bp
from bpfast import backends, cli, selftest
from bpfast.ops import ACTIVATIONS, LOSSES, UPDATES


def run():
    """-> whether it passed, what it printed, and the table: row -> column -> cell."""
    file = io.StringIO()
    passed = bp.self_test(file)
    text = file.getvalue()
    header, *lines = text.partition("\n-:")[0].splitlines()
    columns = header.split("  ")
    columns = [column.strip() for column in columns if column.strip()]
    cells = {line.rsplit(maxsplit=len(columns))[0]: line.split()[-len(columns):] for line in lines}
    return passed, text, {name: dict(zip(columns, row)) for name, row in cells.items()}


@pytest.fixture
def quick(monkeypatch):
    """Of the engines only the reference and one level of native; no networks."""
    level = NATIVE_LEVELS[-1:] or (None,)
    monkeypatch.setattr(selftest, "_engines", lambda: [("numpy", None, "float64"), ("native", *level, "float32")])
    monkeypatch.setattr(selftest, "CHECKS", selftest.CHECKS[:3])


def test_it_passes_here(monkeypatch):
    """With a cell for every op and network, backend, CPU level and dtype."""
    monkeypatch.setenv("BPFAST_CPU", "v3")
    passed, text, table = run()
    assert passed, text
    assert os.environ["BPFAST_CPU"] == "v3"
    columns = {f"{name_of(engine)} {dtype.replace('float', 'f')}" for engine in ENGINES for dtype in DTYPES}
    assert all(set(row) == columns for row in table.values())
    assert set(table) == {*(f"activation {name}" for name in ACTIVATIONS), *(f"loss {name}" for name in LOSSES),
                          *(f"update {name}" for name in UPDATES), *(f"network {name}" for name in selftest.NETWORKS)}
    for name, row in table.items():
        for column, cell in row.items():
            assert cell == ("-" if column.startswith("numba") and not name.startswith("network") else "ok")
    assert "all checks passed" in text and f"bpfast   {bp.__version__}" in text


class Faulty:
    """Kernels with something wrong."""

    def __init__(self, kernels, method, change):
        self._kernels, self._method, self._change = kernels, method, change

    def __getattr__(self, name):
        right = getattr(self._kernels, name)
        return (lambda *arguments: self._change(right(*arguments))) if name == self._method else right


FAULTS = {  # a method, what it does to the right result, the rows that show it
    "a factor": ("activation_forward", lambda y: 1.001 * y, "activation"),
    "a sign": ("activation_adjoint", lambda dx: -dx, "activation"),
    "nan": ("activation_adjoint", lambda dx: dx * np.float32("nan"), "activation"),
    "a wrong value": ("loss", lambda found: (found[0] + 1, found[1]), "loss"),
    "a wrong gradient": ("loss", lambda found: (found[0], 2 * found[1]), "loss"),
    "no step": ("update", lambda found: (found[0] - 1, *found[1:]), "update"),
}


@pytest.mark.skipif(not NATIVE_LEVELS, reason="the native backend was not built, as BPFAST_PURE=1 asks")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_kernel_is_found(fault, quick, monkeypatch):
    method, change, kind = FAULTS[fault]
    right = backends.kernels
    monkeypatch.setattr(backends, "kernels", lambda name, dtype, *level: (
        Faulty(right(name, dtype, *level), method, change) if name == "native" else right(name, dtype, *level)))
    passed, text, table = run()
    assert not passed and "checks FAILED" in text
    for name, row in table.items():
        assert row["numpy f64"] == "ok"
        assert row[f"native-{NATIVE_LEVELS[-1]} f32"] == ("WRONG" if name.startswith(kind) else "ok")
        assert (f"{name}: AssertionError" in text) == name.startswith(kind)


def test_a_faulty_text_is_found(quick, monkeypatch):
    """By differentiation, also where kernel and text agree."""
    monkeypatch.setitem(ACTIVATIONS["tanh"].__dict__, "adjoint", lambda dy, x, y: dy * (1 + y * y))
    passed, text, table = run()
    assert not passed and "GradientError" in text
    assert {name for name, row in table.items() if row["numpy f64"] == "WRONG"} == {"activation tanh"}


def test_a_row_without_a_twin_is_told(quick, monkeypatch):
    other = ACTIVATIONS["tanh"]()
    other.name = "other"
    monkeypatch.setitem(ACTIVATIONS, "other", other)
    passed, _, table = run()
    assert passed and [*table["activation other"].values()] == ["ok", "-"]


@pytest.mark.parametrize("fault", ["gradient", "training"])
def test_a_faulty_network_is_found(fault, monkeypatch):
    monkeypatch.setattr(selftest, "_engines", lambda: [("numpy", None, "float64")])
    monkeypatch.setattr(selftest, "CHECKS", selftest.CHECKS[3:])
    if fault == "gradient":
        right = bp.Trainer.input_gradient
        monkeypatch.setattr(bp.Trainer, "input_gradient", lambda *arguments: -right(*arguments))
    else:
        right, calls = selftest._losses, itertools.count(1)
        monkeypatch.setattr(selftest, "_losses", lambda *arguments: right(*arguments) * (1 + 1e-6 * next(calls)))
    passed, _, table = run()
    assert not passed and {row["numpy f64"] for row in table.values()} == {"WRONG"}


@pytest.mark.parametrize("passed", [True, False])
def test_doctor(passed, monkeypatch):
    """The exit status says whether all is well."""
    monkeypatch.setattr(cli, "self_test", lambda: passed)
    assert cli.main(["doctor"]) == int(not passed)
