"""Why does a network not learn?  A look at its signals and gradients, verdicts in words, and cures as code.

measure.py    what a network does on some rows, layer by layer
rules.py      the table of illnesses: a rule each, its thresholds and its source
watch.py      what tells of an illness while a network is trained
cures.py      changes of layers, and the code of them
report.py     HealthReport, Verdict, Cure
page.py       a report as a page of HTML, with pictures
"""

import copy

import numpy as np

from ..data import evenly, few_rows
from ..sparse import SparseRows
from ..standardization import learn_scale
from .measure import Measured, measure
from .report import Cure, HealthReport, Verdict
from .rules import RULES, Patient, verdicts
from .watch import StopIfIll

__all__ = ["RULES", "Cure", "HealthReport", "Measured", "StopIfIll", "Verdict", "diagnose", "measure"]


def diagnose(trainer, rows):
    """-> HealthReport of a trainer whose network is built, from checked Data; trainer and network stay as they are.

    Sparse rows are those that a fit would keep of them, dense.
    """
    if isinstance(rows.X, SparseRows):
        rows = few_rows(rows)
    if rows.weight is not None and not rows.weight.all():
        rows = rows.take(np.flatnonzero(rows.weight))  # what weighs nothing is not learned from
    trainer = copy.deepcopy(trainer)
    learn_scale(trainer.network, rows.X, None)
    measured = measure(trainer.network, trainer.loss, *rows)
    found = verdicts(Patient(trainer, measured, rows))
    return HealthReport(found, measured, trainer, rows.take(evenly(len(rows.X))))
