"""Learning rates that change: each schedule by hand and as PyTorch has it, and what a Trainer makes of them."""

import numpy as np
import pytest
from samples import small_trainer

import bpfast as bp

EPOCHS = np.arange(40.0)

KNOWN = [  # schedule, progress in epochs, rate
    (bp.ConstantRate(0.5), [0, 1.5, 1e6], [0.5, 0.5, 0.5]),
    (bp.StepDecay(0.8, every=3, factor=0.5), [0, 2.99, 3, 5.5, 6, 9], [0.8, 0.8, 0.4, 0.4, 0.2, 0.1]),
    (bp.StepDecay(0.8, every=0.5), [0, 0.25, 0.5, 1], [0.8, 0.8, 0.08, 0.008]),
    (bp.ExponentialDecay(0.8, 0.25), [0, 0.5, 1, 2], [0.8, 0.4, 0.2, 0.05]),
    (bp.InverseScaling(0.6), [0, 3, 8], [0.6, 0.3, 0.2]),
    (bp.InverseScaling(0.6, power=1), [0, 1, 2], [0.6, 0.3, 0.2]),
    (bp.PolynomialDecay(0.8, 4), [0, 1, 2, 4, 5, 1e6], [0.8, 0.6, 0.4, 0, 0, 0]),
    (bp.PolynomialDecay(0.9, 4, power=2, minimum=0.1), [0, 2, 3, 4, 9], [0.9, 0.3, 0.15, 0.1, 0.1]),
    (bp.CosineDecay(0.8, 6), [0, 2, 3, 4, 6, 7], [0.8, 0.6, 0.4, 0.2, 0, 0]),
    (bp.CosineDecay(0.9, 6, minimum=0.1), [0, 2, 3, 4, 6, 1e6], [0.9, 0.7, 0.5, 0.3, 0.1, 0.1]),
    (bp.CosineRestarts(0.8, 6), [0, 3, 4, 6, 8, 12, 15, 600], [0.8, 0.4, 0.2, 0.8, 0.6, 0.8, 0.4, 0.8]),
    (bp.CosineRestarts(0.9, 6, 2, 0.1), [0, 4, 6, 10, 12, 18, 30, 42], [0.9, 0.3, 0.9, 0.7, 0.5, 0.9, 0.5, 0.9]),
    (bp.CosineRestarts(0.8, 1, 3), [0, 1, 2.5, 4, 8.5, 13, 40, 26.5], [0.8, 0.8, 0.4, 0.8, 0.4, 0.8, 0.8, 0.4]),
    (bp.WarmUp(bp.ConstantRate(0.8), 4), [0, 1, 2, 4, 9], [0, 0.2, 0.4, 0.8, 0.8]),
    (bp.WarmUp(bp.CosineDecay(0.8, 6), 4, start=0.5), [0, 2, 4, 6, 7, 10, 11], [0.4, 0.6, 0.8, 0.6, 0.4, 0, 0]),
    (bp.OneCycle(0.75, 10), [0, 1.5, 3, 6.5, 10, 11], [0.03, 0.39, 0.75, 0.3750015, 3e-6, 3e-6]),
    (bp.OneCycle(0.8, 8, rise=0.5, divisor=2, final_divisor=4), [0, 2, 4, 6, 8], [0.4, 0.6, 0.8, 0.45, 0.1]),
    (bp.ReduceOnPlateau(0.5), [0, 7], [0.5, 0.5]),
]
SCHEDULES = [schedule for schedule, *_ in KNOWN]


@pytest.mark.parametrize("schedule, progress, rates", KNOWN, ids=repr)
def test_known_rates(schedule, progress, rates):
    found = schedule.rates(np.array(progress, float))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, rates, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_rates_of_an_optimizer(schedule):
    """Steps are counted from 1, progress from 0; in chunks the rates are the same."""
    for steps in (1, 7, 32):
        optimizer = bp.Momentum(schedule)
        together = optimizer.coefficients(1, 20 * steps, steps)
        progress = np.repeat(np.arange(20), steps) + np.tile(np.arange(steps) / steps, 20)
        for column in (0, 2):  # the rate by itself, and as the rule takes it
            np.testing.assert_array_equal(together[:, column], schedule.rates(progress))
        chunks = [optimizer.coefficients(1 + epoch * steps, n * steps, steps, epoch)
                  for epoch, n in ((0, 1), (1, 7), (8, 12))]
        np.testing.assert_array_equal(np.concatenate(chunks), together)
        scaled = optimizer.coefficients(1, 20 * steps, steps, scale=0.5)
        np.testing.assert_array_equal(scaled[:, 0], 0.5 * together[:, 0])
    assert np.isfinite(schedule.rates(np.array([0, 1e9]))).all()


def test_every_schedule_is_tried():
    kinds = {kind for kind in vars(bp).values() if isinstance(kind, type) and issubclass(kind, bp.schedules.Schedule)}
    assert kinds == {type(schedule) for schedule in SCHEDULES}


def test_as_pytorch(torch_optimizers):
    """Number for number, an epoch at a time."""
    from torch.optim import lr_scheduler as torch

    n = len(EPOCHS)
    total = n - 1  # OneCycleLR ends at its last step, and rises until one step before pct_start of all
    for schedule, rate, kind, settings in (
        (bp.StepDecay(0.8, 7, 0.3), 0.8, torch.StepLR, {"step_size": 7, "gamma": 0.3}),
        (bp.ExponentialDecay(0.8, 0.9), 0.8, torch.ExponentialLR, {"gamma": 0.9}),
        (bp.CosineDecay(0.8, n, 0.1), 0.8, torch.CosineAnnealingLR, {"T_max": n, "eta_min": 0.1}),
        (bp.CosineRestarts(0.8, 7, 1, 0.1), 0.8, torch.CosineAnnealingWarmRestarts, {"T_0": 7, "eta_min": 0.1}),
        (bp.CosineRestarts(0.8, 3, 2), 0.8, torch.CosineAnnealingWarmRestarts, {"T_0": 3, "T_mult": 2}),
        (bp.PolynomialDecay(0.8, 30, 2), 0.8, torch.PolynomialLR, {"total_iters": 30, "power": 2}),
        (bp.OneCycle(0.8, total, (0.3 * n - 1) / total), 1, torch.OneCycleLR, {
            "max_lr": 0.8, "total_steps": n, "cycle_momentum": False}),
        (bp.WarmUp(bp.ConstantRate(0.8), 9, 0.25), 0.8, torch.LinearLR, {"start_factor": 0.25, "total_iters": 9}),
    ):  # fmt: skip
        found = schedule.rates(EPOCHS[: n - 1])
        expected = torch_optimizers.rates(kind, rate, n - 1, **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15, err_msg=repr(schedule))


# -- rates that follow the history --------------------------------------------------------------------------


def scales(schedule, values):
    """The scale of every epoch, the first before any value."""
    return list(schedule.scales(iter(values)))


def test_a_plateau():
    schedule = bp.ReduceOnPlateau(0.8, factor=0.5, patience=1)
    assert scales(schedule, [3, 2, 2, 2, 1, 1, 1, 1, 1]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert scales(schedule, [3, np.nan, 3, np.nan, np.nan, 3]) == [1, 1, 1, 1, 1, 1, 0.5]
    assert scales(bp.ReduceOnPlateau(0.8, 0.5, 0, mode="max"), [3, 2, 4, 4]) == [1, 1, 0.5, 0.5, 0.25]
    assert scales(bp.ReduceOnPlateau(0.8, 0.5, 0, min_delta=1), [3, 2, 1, 0.5]) == [1, 1, 0.5, 0.5, 0.25]
    assert scales(bp.ReduceOnPlateau(0.8, 0.5, 0, minimum=0.3), [3, 3, 3, 3]) == [1, 1, 0.5, 0.3 / 0.8, 0.3 / 0.8]
    assert scales(bp.ReduceOnPlateau(0.8, 0.5, 0, cooldown=2), [3, 3, 3, 3, 3, 3]) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert scales(bp.ReduceOnPlateau(0.0, 0.5, 0), [3, 3]) == [1, 1, 0.5]
    assert scales(bp.WarmUp(schedule, 3), [1, 1, 1]) == scales(schedule, [1, 1, 1])


def test_plateaus_as_pytorch(torch_optimizers, rng):
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    for patience, cooldown, mode in ((0, 0, "min"), (2, 0, "max"), (1, 3, "min"), (3, 1, "max")):
        values = rng.normal(size=60).cumsum()
        schedule = bp.ReduceOnPlateau(0.8, 0.7, patience, "loss", mode, 0.2, cooldown, 0.01)
        settings = {"factor": 0.7, "patience": patience, "mode": mode, "cooldown": cooldown, "min_lr": 0.01}
        settings |= {"threshold": 0.2, "threshold_mode": "abs", "eps": 0}
        expected = torch_optimizers.rates(ReduceLROnPlateau, 0.8, 60, values, **settings)
        np.testing.assert_allclose(0.8 * np.array(scales(schedule, values))[:60], expected, rtol=1e-12)
        assert len(set(expected)) > 4


# -- in a Trainer -------------------------------------------------------------------------------------------


def test_a_trainer_follows_its_schedule(engine, rows):
    """Every step has its rate: as steps made by hand, and as recorded."""
    schedule = bp.WarmUp(bp.StepDecay(0.5, 1, 0.5), 1.5, start=0.1)
    trainer, by_hand = (small_trainer(engine, optimizer=bp.SGD(schedule), batch_size=64) for _ in range(2))
    history = trainer.fit(*rows, epochs=4, shuffle=False)
    for number in range(16):  # 4 epochs of 4 steps
        batch = [part[number % 4 * 64 : (number % 4 + 1) * 64] for part in rows]
        by_hand.optimizer = bp.SGD(schedule.rates(np.array([number / 4]))[0])
        by_hand.fit(*batch, epochs=1, shuffle=False)
    np.testing.assert_allclose(trainer.network.to_vector(), by_hand.network.to_vector(), rtol=1e-12)
    np.testing.assert_allclose(history["learning_rate"], schedule.rates(np.array([0.75, 1.75, 2.75, 3.75])), rtol=1e-15)
    assert "learning_rate" not in by_hand.history


def test_batches_without_weight(rows):
    """Progress counts epochs, and within one its steps; a batch of zero weight makes none."""
    schedule, weight = bp.ExponentialDecay(0.1, 0.5), np.ones(200)
    weight[:50] = 0
    trainer = small_trainer(optimizer=bp.SGD(schedule), batch_size=50)
    history = trainer.fit(*rows, epochs=3, sample_weight=weight, shuffle=False)
    np.testing.assert_allclose(history["learning_rate"], schedule.rates(np.arange(3) + 2 / 4), rtol=1e-15)


def test_progress_counts_epochs(rows):
    """Also where a later fit has fewer steps to an epoch."""
    X, y = rows
    trainer = small_trainer(optimizer=bp.SGD(bp.StepDecay(0.1, 5, 0.5)), batch_size=1)
    trainer.fit(X, y, epochs=4)
    trainer.fit(X[:10], y[:10], epochs=2)
    np.testing.assert_array_equal(trainer.history["learning_rate"], [0.1] * 5 + [0.05])


def test_exact_boundaries():
    """At a boundary a new period has begun, whatever the rounding of the division."""
    tenths = np.arange(10) / 10
    np.testing.assert_allclose(bp.StepDecay(1, 0.1, 0.5).rates(tenths), 0.5 ** np.arange(10))
    np.testing.assert_allclose(bp.CosineRestarts(1, 0.1).rates(tenths), 1)
    np.testing.assert_array_equal(bp.PolynomialDecay(1, 2, power=0).rates(np.arange(4.0)), [1, 1, 0, 0])
    assert bp.CosineRestarts(1, 1, 2).rates(np.array([])).size == 0


def test_plateaus_know_what_is_better():
    values = [0.5, 0.6, 0.7, 0.8]
    assert list(bp.ReduceOnPlateau(1, patience=0, metric="val_accuracy").scales(values)) == [1] * 5
    assert list(bp.ReduceOnPlateau(1, patience=0, metric="val_loss").scales(values))[-1] < 1
    with pytest.raises(ValueError, match="whether 'val_profit' should fall or grow"):
        bp.ReduceOnPlateau(1, metric="val_profit")


def test_ahead_or_one_by_one(rows, monkeypatch):
    """How many coefficients are computed together changes nothing."""
    trainers = [small_trainer(optimizer=bp.Nadam(bp.CosineRestarts(0.01, 2.5))) for _ in range(2)]
    trainers[0].fit(*rows, epochs=7)
    monkeypatch.setattr("bpfast.trainer.STEPS_AHEAD", 1)
    trainers[1].fit(*rows, epochs=7)
    assert trainers[0].network == trainers[1].network


@pytest.mark.parametrize("metric, mode", [("loss", "min"), ("val_loss", "min"), ("val_accuracy", "max")])
def test_a_trainer_on_a_plateau(rows, metric, mode):
    """Its rates are what the recorded values say, also when a fit goes on; a fit alone or in parts is the same."""
    schedule = bp.ReduceOnPlateau(1.0, 0.5, patience=0, metric=metric, mode=mode, min_delta=0.01)
    whole, parts, by_hand = (small_trainer(optimizer=bp.SGD(schedule), batch_size=64) for _ in range(3))
    history = whole.fit(*rows, epochs=12, validation=rows)
    np.testing.assert_array_equal(history["learning_rate"], scales(schedule, history[metric])[:-1])
    assert len(set(history["learning_rate"])) > 2
    for rate in history["learning_rate"]:
        by_hand.optimizer = bp.SGD(rate)
        by_hand.fit(*rows, epochs=1)
    assert by_hand.network == whole.network
    for epochs in (1, 4, 7):
        parts.fit(*rows, epochs=epochs, validation=rows)
    assert parts.network == whole.network
    np.testing.assert_array_equal(parts.history["learning_rate"], history["learning_rate"])


def test_a_metric_that_is_not_recorded(rows):
    """Refused before any work."""
    X, y = rows
    trainer = small_trainer(optimizer=bp.Adam(bp.ReduceOnPlateau(1e-3)))
    with pytest.raises(ValueError, match=r"learning_rate: 'val_loss' .* but: loss, seconds; .*validation="):
        trainer.fit(X, y)
    trainer.optimizer = bp.Adam(bp.WarmUp(bp.ReduceOnPlateau(1e-3, metric="val_acuracy", mode="max"), 2))
    with pytest.raises(ValueError, match="'val_acuracy' .* but: loss, seconds, val_loss, val_accuracy;"):
        trainer.fit(X, y, validation=(X, y))
    assert trainer.history.n_epochs == 0 and trainer.network.input_shape is None


def test_divergence_tells_the_schedule(rows):
    trainer = small_trainer(dtype="float32", optimizer=bp.SGD(bp.CosineDecay(1e38, 5)))
    with pytest.raises(bp.DivergenceError, match=r"a smaller learning rate \(it is CosineDecay\(1e\+38, 5.0\)\)"):
        trainer.fit(*rows, epochs=3)
