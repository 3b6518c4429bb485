"""What is wrong with a network: a rule each, with its thresholds and its source, in one table at the end."""

import copy
import warnings
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from ..data import class_labels, evenly
from ..divergence import DivergenceError
from ..metrics import classes
from ..regularizers import L2, ClipGlobalNorm
from ..schedules import CosineRestarts
from ..standardization import learn_scale
from . import cures
from .measure import measure
from .report import Cure, Verdict

UNSCALED = 30.0  # mean square root of what is fed or learned
SATURATED = 0.5  # share of numbers
STEPS = 10  # of the probing, at least
EPOCHS_TO_COME = 100  # in which a rate that is warmed up reaches its peak
SOME_ROWS = 10_000  # in which inputs and targets are looked at
LOGITS = {"softmax": np.log, "exponential": np.log, "sigmoid": lambda p: np.log(p / (1 - p))}


class Patient:
    """What the rules look at: trainer, measured, data; what takes time is found when a rule asks for it."""

    def __init__(self, trainer, measured, rows):
        self.trainer, self.measured, self.rows = trainer, measured, rows
        self.layers = trainer.network.layers
        self.losses = trainer.history["loss"] if trainer.history.n_epochs else np.empty(0)
        self.found = set()  # names of the verdicts so far
        self._falls = {}

    @cached_property
    def fresh(self):
        """The same with the weights drawn again, as new."""
        trainer = cures.anew(self.trainer)
        learn_scale(trainer.network, self.rows.X, None)
        return Patient(trainer, measure(trainer.network, trainer.loss, *self.rows), self.rows)

    @cached_property
    def inputs(self):
        """-> (n, c) of every input, or channel of images, in at most 10 000 rows."""
        X = self.rows.X[evenly(len(self.rows.X), SOME_ROWS)]
        return X.reshape(-1, X.shape[-1]).astype(np.float64)

    @cached_property
    def classes(self):
        """-> (n,) int64, or None where the targets are numbers."""
        return class_labels(self.rows.y, self.trainer.loss.targets)

    @cached_property
    def shares(self):
        """-> the shares of the classes that there are, by label; none where the targets are numbers."""
        if self.classes is None:
            return {}
        labels, counts = np.unique(self.classes, return_counts=True)
        return dict(zip(labels.tolist(), counts / len(self.classes)))

    @cached_property
    def predicted(self):
        """-> true and predicted classes of the rows that were measured."""
        few = self.rows.take(evenly(len(self.rows.X)))
        outputs = self.trainer.network.predict(few.X)
        return classes(self.trainer.loss, few.y, outputs.reshape(len(outputs), -1))

    @cached_property
    def baseline(self):
        """The mean loss of the constant outputs that are the mean of the targets."""
        loss, (_, y, weight) = self.trainer.loss, self.rows.take(evenly(len(self.rows.X), SOME_ROWS))
        n_out = self.trainer.network.program.n_out
        if loss.labels:
            constant = np.bincount(y.astype(np.int64), weight, n_out) / (len(y) if weight is None else weight.sum())
        else:
            constant = np.average(y.astype(np.float64), axis=0, weights=weight)
        if loss.fuses:
            with np.errstate(divide="ignore"):
                constant = np.clip(LOGITS[loss.fuses[0]](constant), -30, 30)
        y = y.astype(np.int64) if loss.labels else y.astype(np.float64)
        return float(np.average(loss.per_row(np.tile(constant, (len(y), 1)), y), weights=weight))

    @property
    def rate(self):
        """The learning rate of now; None where the optimizer finds its steps by itself."""
        optimizer = self.trainer.optimizer
        return None if optimizer.update is None or optimizer.full_batch else self.rates[0]

    @property
    def rates(self):
        """-> (epochs,), the learning rates of now and of the epochs to come."""
        return self.trainer.optimizer.schedule.rates(self.trainer.history.n_epochs + np.arange(float(EPOCHS_TO_COME)))

    def at_rate(self, rate):
        """The trainer's optimizer with another learning rate, or schedule."""
        return type(self.trainer.optimizer)(**{**self.trainer.optimizer._fields(), "learning_rate": rate})

    def fall(self, rate):
        """How far the loss falls in a few steps of a copy at this rate; -inf where it diverges."""
        if rate not in self._falls:
            self._falls[rate] = self._fall(rate)
        return self._falls[rate]

    @property
    def slow_fall(self):
        """The fall at a hundredth of the rate, or of that where it is larger."""
        return max(self.fall(0.01 * self.rate), self.fall(1e-4 * self.rate))

    def _fall(self, rate):
        trainer = copy.deepcopy(self.trainer)
        trainer.optimizer = self.at_rate(rate)
        rows = self.rows.take(evenly(len(self.rows.X), max(STEPS * min(self.trainer._rows_per_step, 1 << 16), 100)))
        if self.trainer.batch_size == "full":
            rows = self.rows.take(evenly(len(self.rows.X)))
        steps = -(-len(rows.X) // self.trainer._rows_per_step)
        few = self.rows.take(evenly(len(self.rows.X)))
        before = trainer.loss_and_gradients(*few)[0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trainer.fit(rows.X, rows.y, sample_weight=rows.weight, epochs=-(-STEPS // steps), verbose=False)
        except DivergenceError:
            return -np.inf
        except ValueError:  # every weight is zero, as the initializer drew it: no step is made
            return 0.0
        after = trainer.loss_and_gradients(*few)[0]
        return before - after if np.isfinite(after) else -np.inf

    def cured(self, words, change=None, **settings):
        """-> Cure, as code for this network and trainer; None where the changed layers do not fit together."""
        try:
            return Cure(words, cures.cured_code(self.trainer, change, **settings), change)
        except ValueError:
            return None

    @property
    def normalised(self):
        """-> the Cure that normalises what every activation reads."""
        return self.cured("batch normalisation before every activation", cures.normalised)

    def cures_of_flow(self):
        """-> the Cures that keep signals and gradients at one scale."""
        return tuple(self.cured(words, change) for words, change in cures.cures_of_flow(self.layers))

    def cures_of_rate(self, rates, patient):
        """-> the Cures by another rate: below the one at which a few steps of a patient take most off the loss."""
        rate = float(f"{0.3 * max(rates, key=patient.fall):.2g}")
        found = (self.cured(f"learning rate {rate:g}", optimizer=self.at_rate(rate)),)
        y = self.rows.y
        if self.trainer.loss.targets != "reals" or np.sqrt(np.mean(np.square(y, dtype=np.float64))) < UNSCALED:
            return found
        code = f"y = (y - y.mean(axis=0)) / y.std(axis=0)\n{cures.cured_code(self.trainer)}"
        return (Cure("scale the targets to mean 0 and deviation 1", code), *found)


# -- inputs and targets ------------------------------------------------------------------------------------------


def constant_inputs(p, share):
    constant = np.ptp(p.inputs, axis=0) == 0
    if constant.mean() > share:
        words = "most inputs have the same value in every row, so they tell no rows apart; look at how the data " \
                "were read, and leave out the columns that are constant"
        code = "X = X[:, X.min(axis=0) < X.max(axis=0)]"
        return (), words, {"share of constant inputs": constant.mean()}, (Cure("leave constant inputs out", code),)


def unscaled_inputs(p, largest, smallest):
    first = p.trainer.network.program.instructions[0]
    if first.op in ("standardize", "batch_norm", "layer_norm"):
        return None
    size = np.sqrt(np.mean(p.inputs**2, axis=0))
    if smallest < size.max() <= largest:
        return None
    words = "the inputs are far from size 1: sums are as many times too large or small as they are, and one learning " \
            "rate cannot fit all weights"
    figures = {"smallest mean square root of an input": size.min(), "largest": size.max()}
    return (), words, figures, (p.cured("scale every input to mean 0 and deviation 1", cures.standardized),)


def class_imbalance(p, alone, rare, ignored):
    if len(p.shares) < 2 and p.classes is not None:
        words = "all targets are of one class, so there is nothing to tell apart"
        return (), words, {"classes": len(p.shares)}, ()
    if not p.shares:
        return None
    commonest = max(p.shares.values())
    never = []
    if p.losses.size:
        truth, found = p.predicted
        never = [label for label, share in p.shares.items() if share * len(p.shares) < rare
                 and np.count_nonzero(truth == label) >= ignored and not (found == label).any()]
    if commonest <= alone and not never:
        return None
    words = "one class is nearly all that the network sees, and to say it always gives a small loss"
    if never:
        words = f"rare classes are never predicted: {', '.join(map(str, never))}"
    figures = {"share of the commonest class": commonest, "of the rarest": min(p.shares.values())}
    fit = "trainer.fit(X, y, class_weight='balanced')"
    return (), words, figures, (Cure("weigh the classes", f"{cures.cured_code(p.trainer)}\n{fit}"),)


# -- signals and gradients ---------------------------------------------------------------------------------------


def symmetric(p):
    m = p.measured
    places = [k for k in range(len(m.layers) - 1) if m.alike[k]]
    if not places:
        return None
    words = "all units of a layer have the same weights and get the same gradient, so they stay alike for ever, as " \
            "one unit would do"
    figures = {"largest norm of their weights": m.weight_norm[places].max()}
    return places, words, figures, (p.cured("draw the weights at random", cures.redrawn),)


def dead_units(p, share):
    m = p.measured
    places = np.flatnonzero(m.dead[:-1] > share)
    if not len(places):
        return None
    words = "units are active for no row, and nothing passes back through them: sums lie so far below zero, after " \
            "too large a step or with biases that push them there"
    figures = {"largest share of dead units": m.dead[places].max(),
               "mean of their sums": m.pre_activation_mean[places].min()}
    leaky = partial(cures.activated, "leaky_relu", "he")
    return places, words, figures, (
        p.cured("draw the weights anew, with He's variance and biases of zero", cures.redrawn),
        p.cured("leaky_relu, through which a gradient passes below zero too", leaky))


def saturation(p, share):
    m = p.measured
    places = np.flatnonzero(m.saturated[:-1] > share)
    if not len(places):
        return None
    words = "most units are at the flat ends of their activation, where its derivative is almost zero"
    figures = {"largest share of saturated units": m.saturated[places].max(),
               "deviation of their sums": m.pre_activation_std[places].max()}
    return places, words, figures, (p.cured("draw smaller weights", cures.redrawn), p.normalised)


def vanishing(p, ratio):
    m = p.measured
    deltas = m.delta_norm[:-1]
    closed = m.saturated[:-1] > SATURATED  # there saturation is the reason
    if len(deltas) < 2 or closed.all() or not np.isfinite(deltas).all():
        return None
    first, last = int(np.argmin(closed)), int(np.argmax(deltas))
    fall = deltas[first] / deltas.max() if deltas.max() else 0.0
    if first > last or fall >= ratio:
        return None
    words = "the gradient reaches the first layer as a small part of what it was, so the first layers do not learn"
    figures = {"delta of the first layer over the largest": fall,
               "factor per layer": fall ** (1 / max(last - first, 1))}
    if not np.isnan(m.saturated[:last]).all():
        words += "; the derivative of a sigmoid is at most 1/4, and every layer multiplies by it and by its weights"
    return range(last), words, figures, p.cures_of_flow() or (p.cured("draw the weights anew", cures.redrawn),)


def exploding(p, growth, total, ratio):
    m = p.measured
    made, deltas = np.hypot(m.activation_mean, m.activation_std)[:-1], m.delta_norm[:-1]  # outputs fit the targets
    if not len(made):
        return None
    with np.errstate(all="ignore"):
        forth, back = made[-1] / m.input_norm[0], deltas[0] / deltas[-1]
        signal = forth ** (1 / len(made))
    finite = np.isfinite([*made, *m.gradient_norm]).all()
    if finite and not (signal > growth and forth > total) and not back > ratio:
        return None
    words = "signals grow from layer to layer, or the gradient does on its way back, by so much that no learning " \
            "rate fits all layers"
    figures = {"growth of the signals per layer": signal, "delta of the first layer over the last": back,
               "signals of the last hidden layer": made[-1]}
    clip = p.cured("bound the norm of the gradient", cures.redrawn, clip=ClipGlobalNorm(1.0))
    drawn = p.cured("draw weights of a variance that keeps the scale", cures.redrawn)
    return range(len(m.layers)), words, figures, (drawn, p.normalised, clip)


# -- the course of the training ----------------------------------------------------------------------------------


def rate_was_too_high(p, rise, better, worse, learned):
    """Of a network that large steps have ruined: one that begins anew is well, but for the same steps."""
    if p.rate is None or not _has_risen(p, worse, learned):
        return None
    by_rate = exploding(p.fresh, **EXPLODES) is None and _too_fast(p.fresh, rise, better)
    return rate_too_high(p, rise, better, worse, learned) if by_rate else None


def rate_too_high(p, rise, better, worse, learned):
    if p.rate is None:
        return None
    figures = {"learning rate": p.rate}
    if _has_risen(p, worse, learned):
        figures |= {"largest loss of an epoch": p.losses.max(), "loss of a constant": p.baseline}
    elif _too_fast(p, rise, better):
        figures |= {"fall of the loss in a few steps": p.fall(p.rate),
                    "at a hundredth of the rate, or of that": p.slow_fall}
    else:
        return None
    dead = p.measured.dead[:-1]
    if (dead > 0.5).any():
        figures["share of units that are dead since"] = np.nanmax(dead)
    words = "the steps are so large that the loss grows, or falls less than by smaller ones"
    return (), words, figures, p.cures_of_rate(p.rate * np.logspace(-1, -12, 12), p.fresh)


def _too_fast(p, rise, better):
    """Whether a few steps diverge, or do better at a hundredth of the rate, or of that."""
    scale, fast, slow = abs(p.baseline) or 1.0, p.fall(p.rate), p.slow_fall
    return fast == -np.inf or fast < slow - rise * scale or (slow > better * scale and fast < slow / 2)


def _has_risen(p, worse, learned):
    """Whether the loss grew, perhaps within the first epoch, and did not come back.

    That of classes begins near the loss of a constant.
    """
    if not p.losses.size or p.losses[-1] <= learned * p.baseline:
        return False
    began = min(p.baseline, p.losses[0]) if p.trainer.loss.targets in ("labels", "unit") else p.losses[0]
    return p.losses.max() > began + worse * (abs(p.baseline) or 1.0)


def rate_too_low(p, little, much, linear, learned):
    if p.rate is None or p.measured.loss < learned * p.baseline:
        return None
    scale = abs(p.baseline) or 1.0
    rate = p.rates.max()
    slow, fast = p.fall(rate) / scale, p.fall(100 * rate) / scale
    if slow > little or fast < much or fast < linear * slow:
        return None
    words = "the steps are so small that the loss hardly falls; a hundred times as large, it falls about a " \
            "hundred times as fast"
    figures = {"learning rate": rate, "share of the loss that a few steps take off": slow,
               "at 100 times the rate": fast}
    return (), words, figures, p.cures_of_rate(rate * np.logspace(1, 4, 4), p)


def plateau(p, epochs, fall, learned):
    stays = _stays(p, epochs, fall)
    if stays is None or p.losses[-1] < learned * p.baseline:
        return None
    words = "the loss stays where it is, hardly below that of a constant: a plateau, a local minimum, or inputs " \
            "that say nothing of the targets"
    figures = {f"fall of the loss over {epochs} epochs": stays, "loss": p.losses[-1], "loss of a constant": p.baseline}
    restarts = f"{cures.cured_code(p.trainer)}\ntrainer.fit(X, y, restarts=5)"
    found = [Cure("begin several times, and keep the best", restarts)]
    if p.rate:
        schedule = CosineRestarts(float(f"{3 * p.rate:.2g}"), 10)
        found.append(p.cured("a rate that rises again and again", optimizer=p.at_rate(schedule)))
    return (), words, figures, tuple(found)


def under_fitting(p, epochs, fall, learned, plateau):
    stays = _stays(p, epochs, fall)
    if stays is None or not learned * p.baseline < p.losses[-1] < plateau * p.baseline:
        return None
    words = "the training loss itself stays high: the network is too small for these data, it is restrained too " \
            "much, or the targets are noise"
    figures = {f"fall of the loss over {epochs} epochs": stays, "loss": p.losses[-1], "loss of a constant": p.baseline}
    wide = p.cured("twice the units of every hidden layer", cures.widened)
    free = (p.cured("no regularizer", regularizer=None),) if p.trainer.regularizer else ()
    return (), words, figures, (*free, wide)


def over_fitting(p, rise):
    history = p.trainer.history
    if "val_loss" not in history:
        return None
    curve = history["val_loss"]
    if np.isnan(curve).all():
        return None
    best = int(np.nanargmin(curve))
    grown = (curve[-1] - curve[best]) / (abs(p.baseline) or 1.0)
    if not (grown > rise and p.losses[-1] < p.losses[best]):
        return None
    words = f"the validation loss grows since epoch {best + 1}, while the training loss falls on: rows are learned " \
            "by heart"
    figures = {"smallest validation loss": curve[best], "last": curve[-1], "training loss": p.losses[-1]}
    stop = "trainer.fit(X, y, validation=0.2, epochs=1000, callbacks=bp.EarlyStopping(patience=10))"
    return (), words, figures, (
        Cure("stop at the best epoch", f"{cures.cured_code(p.trainer)}\n{stop}"),
        p.cured("restrain the weights", regularizer=L2(1e-3)),
        p.cured("drop units in training", cures.dropping))


def _stays(p, epochs, fall):
    """The fall of the loss over the last epochs as a share of it, where it is small, else None."""
    if len(p.losses) <= epochs:
        return None
    before, now = p.losses[-epochs - 1], p.losses[-epochs:].min()
    share = (before - now) / (abs(before) or 1.0)
    return share if share < fall else None


class Rule(NamedTuple):
    """``find(patient, **thresholds)`` -> places of layers, words, figures, cures; or None.

    A rule is silent where one of ``explained_by`` spoke, of which its illness would be a consequence.
    """

    name: str
    find: Callable
    thresholds: dict
    source: str
    explained_by: tuple = ()
    is_watched: bool = False  # in training, too: it takes little time


HIGH = {"rise": 0.5, "better": 0.05, "worse": 2.0, "learned": 0.9}  # thresholds
EXPLODES = {"growth": 4.0, "total": 20.0, "ratio": 1e3}
TOLD = "unscaled inputs", "constant inputs", "zero or symmetric weights", "learning rate too high"  # before the others
FLOW = *TOLD, "dead units", "exploding gradient", "saturation", "vanishing gradient"
RATE = *FLOW, "learning rate too low", "class imbalance"
RULES = (
    Rule("constant inputs", constant_inputs, {"share": 0.5}, "LeCun, Bottou, Orr & Mueller 1998, section 4.3",
         is_watched=True),
    Rule("unscaled inputs", unscaled_inputs, {"largest": UNSCALED, "smallest": 0.01},
         "LeCun, Bottou, Orr & Mueller 1998, section 4.3", is_watched=True),
    Rule("zero or symmetric weights", symmetric, {}, "Rumelhart, Hinton & Williams 1986", is_watched=True),
    Rule("learning rate too high", rate_was_too_high, HIGH, "Bengio 2012, section 3.1.1", TOLD[:3], is_watched=True),
    Rule("dead units", dead_units, {"share": 0.8}, "Lu, Shin, Su & Karniadakis 2020", FLOW[:4], is_watched=True),
    Rule("exploding gradient", exploding, EXPLODES,
         "He, Zhang, Ren & Sun 2015, section 2.2; Pascanu, Mikolov & Bengio 2013", FLOW[:5], is_watched=True),
    Rule("saturation", saturation, {"share": SATURATED}, "Glorot & Bengio 2010, section 3", FLOW[:5], is_watched=True),
    Rule("vanishing gradient", vanishing, {"ratio": 0.01}, "Hochreiter 1991; Glorot & Bengio 2010, section 4", FLOW[:6],
         is_watched=True),
    Rule("learning rate too high", rate_too_high, HIGH, "Bengio 2012, section 3.1.1", FLOW),
    Rule("learning rate too low", rate_too_low, {"little": 0.01, "much": 2e-3, "linear": 60, "learned": 0.5},
         "Bengio 2012, section 3.1.1", FLOW),
    Rule("class imbalance", class_imbalance, {"alone": 0.95, "rare": 0.1, "ignored": 10}, "King & Zeng 2001",
         RATE[:-1]),
    Rule("plateau", plateau, {"epochs": 5, "fall": 0.01, "learned": 0.95}, "Fukumizu & Amari 2000", RATE),
    Rule("under-fitting", under_fitting, {"epochs": 5, "fall": 0.01, "learned": 0.7, "plateau": 0.95},
         "Geman, Bienenstock & Doursat 1992", RATE),
    Rule("over-fitting", over_fitting, {"rise": 0.1}, "Geman, Bienenstock & Doursat 1992; Prechelt 1998", RATE,
         is_watched=True),
)


def verdicts(patient, rules=RULES):
    """Yield the Verdict of every rule that has something to say."""
    for rule in rules:
        found = None if patient.found & set(rule.explained_by) else rule.find(patient, **rule.thresholds)
        if found:
            places, words, figures, helps = found
            patient.found.add(rule.name)
            layers = tuple(patient.measured.layers[k] for k in places)
            figures = {name: float(figure) for name, figure in figures.items()}
            yield Verdict(rule.name, layers, words, figures, tuple(cure for cure in helps if cure))
