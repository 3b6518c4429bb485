"""What tells of an illness when it begins."""

from ..callbacks import Callback
from ..description import Description
from .measure import measure
from .rules import RULES, Patient, verdicts

WATCHED = tuple(rule for rule in RULES if rule.is_watched)
NAMES = tuple(dict.fromkeys(rule.name for rule in WATCHED))


class Watch(Callback, Description):
    """Print a line when an illness begins: what ``fit(..., watch=True)`` does.

    It looks at up to 1000 of the rows before the first epoch and after every one, as ``Trainer.diagnose`` does, but
    tries no learning rates: at inputs, signals, gradients, and the curves of the losses.  An illness is told once a
    fit; one that has passed and comes back, again.
    """

    __slots__ = ()

    def prepare(self, names):
        return Nurse(ends=())


class StopIfIll(Callback, Description):
    """End a fit when an illness begins of which ``fit(..., watch=True)`` would tell, and print what it is.

    Parameters
    ----------
    *illnesses : str
        Names of those that end it, such as "vanishing gradient"; without any every one does.
    """

    __slots__ = ("illnesses",)

    def __init__(self, *illnesses):
        for name in illnesses:
            if name not in NAMES:
                raise ValueError(f"StopIfIll: unknown illness {name!r}; choose from: {', '.join(NAMES)}")
        self._set(illnesses=illnesses)

    def prepare(self, names):
        return Nurse(self.illnesses or NAMES)


class Nurse(Callback):
    """Watches one fit, which some illnesses end."""

    looks_at_rows = True

    def __init__(self, ends):
        self._ends = ends

    def begin(self, trainer):
        self._ill = set()
        return self.epoch(trainer)

    def epoch(self, trainer, figures=None):
        patient = Patient(trainer, measure(trainer.network, trainer.loss, *trainer.kept_rows), trainer.kept_rows)
        found = {verdict.name: verdict for verdict in verdicts(patient, WATCHED)}
        begun, self._ill = [name for name in found if name not in self._ill], set(found)
        for name in begun:
            print(f"after epoch {trainer.history.n_epochs}: {found[name].line}")
        return any(name in self._ends for name in begun)
