"""The tables of what layers cost: their commands run, and a PyTorch that is missing is named."""

import os
import sys

from samples import ROOT, python

MISSING = 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")'


def test_the_network_is_timed_without_pytorch(tmp_path):
    (tmp_path / "torch.py").write_text(MISSING)
    arguments = "bench/layers.py --table network --rounds 1 --threads 1".split()
    said = python(*arguments, cwd=ROOT, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)])).stdout
    assert "PyTorch: torch: not installed" in said.splitlines()
    table = [line.strip("|").split("|") for line in said.splitlines() if line[:1] == "|"]
    head, _, row = ([cell.strip() for cell in line] for line in table)
    assert head == ["network", "threads", "bpfast", "bpfast MB"]
    assert 0 < float(row[2].split()[0]) < 1e5
    assert 10 < float(row[3]) < 1000
