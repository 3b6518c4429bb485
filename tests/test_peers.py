"""The table of other libraries: a peer that is missing, broken or lazy is named.  Without torch and JAX."""

import os
import sys

from samples import ROOT, python

MISSING = 'raise ModuleNotFoundError("No module named \'jax\'", name="jax")'
BROKEN = 'raise RuntimeError("no | compiler")'
LAZY = """
import pickle, sys
from pathlib import Path
from bench.peers import process
process.begin(1, sys.argv[1])
from bench.benchmarks.workloads import WORKLOADS
from bench.peers import __main__ as peers, fit, worker

task, expected = peers.save("tiny", Path(sys.argv[1])), peers.expected_losses(WORKLOADS["tiny"])
for peer in ("bpfast", "numpy"):
    worker.prepare(peer, task, 1, expected)
fit.Bpfast.train = lambda self: self.trainer.fit(self.X[::2], self.y[::2], epochs=1)
try:
    worker.prepare("bpfast", task, 1, expected)
except worker.Unavailable as reason:
    print(reason)
"""


def test_a_peer_that_cannot_run_is_named(tmp_path):
    (tmp_path / "jax.py").write_text(MISSING)
    (tmp_path / "torch.py").write_text(BROKEN)
    arguments = "-m bench.peers --workload tiny --rounds 1 --threads 1 --peer jax --peer torch".split()
    table = python(*arguments, cwd=ROOT, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)])).stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert rows[0] == ["workload", "threads", "bpfast", "torch", "jax"]
    assert [row[-2:] for row in rows if row[0] in ("tiny", "version", "cold start, s", "peak memory, MB")] \
        == 4 * [["RuntimeError: no / compiler", "jax: not installed"]]
    [step] = [row[2] for row in rows if row[0] == "tiny"]
    assert 0 < float(step.split()[0]) < 1e6


def test_a_peer_that_trains_less_is_named(tmp_path):
    said = python("-c", LAZY, tmp_path, cwd=ROOT).stdout
    assert said.startswith("learns otherwise: the loss goes from 1.991 to ")
