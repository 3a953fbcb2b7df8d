"""Learning rates against torch's schedulers and the closed forms of the notes (O7–O10)."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler

from cnntrain.schedule import schedules, settings

STEPS, EPOCHS = 10, 8


def torch_factors(make: Any, steps: int) -> list[float]:
    """Return the factors by which a torch scheduler, stepped once per update, scales a learning rate of 1."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(optimizer)
        factors = []
        for _ in range(steps):
            factors.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return factors


def ours(option: settings.Schedule, steps: int = STEPS * EPOCHS) -> list[float]:
    """Return the factors of one of our schedules, without a warm-up unless it is set."""
    option.warmup_epochs = option.warmup_epochs or 0
    built = option.build(STEPS, EPOCHS)
    return [built.factor(step) for step in range(steps)]


@pytest.mark.parametrize(
    ("option", "make"),
    [
        (settings.Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (settings.Step(milestones=[3, 5], factor=0.2), lambda o: lr_scheduler.MultiStepLR(o, [30, 50], 0.2)),
        (settings.Step(every_epochs=2, factor=0.5), lambda o: lr_scheduler.StepLR(o, 20, 0.5)),
        (settings.Exponential(rate=0.3), lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.03))),
        (
            settings.Exponential(rate=0.03, per="step"),
            lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.03)),
        ),
        (
            settings.Linear(final=0.1),
            lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=80),
        ),
        (settings.Cosine(final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 80, eta_min=0.1)),
        (
            settings.Constant(warmup_epochs=2),
            lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 20, total_iters=19),
        ),
    ],
    ids=[
        "constant",
        "milestones",
        "every",
        "exponential",
        "exponential in steps",
        "linear",
        "cosine",
        "warmup",
    ],
)
def test_factor_equals_torchs_scheduler(option: settings.Schedule, make: Any) -> None:
    assert ours(option) == pytest.approx(torch_factors(make, STEPS * EPOCHS), abs=1e-9)


def test_one_cycle_equals_torchs_linear_one_cycle() -> None:
    # In torch the cycle ends at the last step, here at the end of the last step.
    option = settings.OneCycle(warmup_epochs=0, peak=0.5, initial=0.1, final=0.0)
    built = option.build(STEPS, EPOCHS)
    make = lambda o: lr_scheduler.OneCycleLR(  # noqa: E731
        o,
        1.0,
        total_steps=81,
        pct_start=41 / 81,
        anneal_strategy="linear",
        div_factor=10,
        final_div_factor=1e9,
        cycle_momentum=False,
    )
    assert [built.factor(step) for step in range(80)] == pytest.approx(torch_factors(make, 80), abs=1e-6)


def test_inverse_schedule_is_a0_over_1_plus_kt() -> None:
    factors = ours(settings.Inverse(rate=0.5))
    for epoch in range(EPOCHS):
        assert factors[epoch * STEPS] == pytest.approx(1 / (1 + 0.5 * epoch))
    by_step = ours(settings.Inverse(rate=0.5, per="step"))
    assert by_step[:4] == pytest.approx([1, 1 / 1.5, 1 / 2, 1 / 2.5])


def test_step_schedule_falls_by_default_at_half_and_three_quarters() -> None:
    factors = ours(settings.Step())
    assert [round(f, 6) for f in (factors[39], factors[40], factors[59], factors[60])] == [1, 0.1, 0.1, 0.01]


@pytest.mark.parametrize(
    "errors",
    [
        [0.5, 0.4, 0.4, 0.41, 0.4, 0.39, 0.39, 0.39, 0.39, 0.2, 0.3, 0.3, 0.3],
        [math.nan, math.nan, 0.5, math.nan, 0.6, 0.5, 0.4, *[math.nan] * 7],
        [math.inf, math.nan, math.inf, math.inf, 0.9, 0.8],
    ],
)
def test_plateau_equals_torchs_reduce_on_plateau(errors: list[float]) -> None:
    built = settings.Plateau(warmup_epochs=0, factor=0.5, patience_epochs=3).build(STEPS, EPOCHS)
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # torch's patience is the number of bad epochs it tolerates, ours the number after which the rate falls.
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0)
    for error in errors:
        built.after_epoch(error)
        theirs.step(error)
        assert built.factor(10**6) == optimizer.param_groups[0]["lr"]


def test_warm_up_ends_where_the_schedule_begins() -> None:
    for option in (settings.Exponential(), settings.Inverse(), settings.Cosine()):
        option.warmup_epochs = 1.5
        factors = ours(option)
        assert factors[:15] == pytest.approx([(step + 1) / 15 for step in range(15)])
        assert factors[15] == pytest.approx(1.0)
        assert factors[16] < 1.0


def test_warm_up_is_a_tenth_of_the_run_by_default() -> None:
    built = settings.Cosine().build(STEPS, 20)
    assert [built.factor(step) for step in range(20)] == pytest.approx(
        [(step + 1) / 20 for step in range(20)]
    )
    assert built.factor(20) == 1.0


@pytest.mark.parametrize(
    "option",
    [
        settings.Constant(),
        settings.Exponential(rate=0.2),
        settings.Exponential(rate=0.02, per="step"),
        settings.Inverse(rate=0.5),
        settings.Linear(final=0.2),
        settings.Cosine(final=0.2),
        settings.OneCycle(peak=0.25, initial=0.1, final=0.02),
    ],
    ids=lambda option: option.name,
)
def test_a_warm_up_delays_a_schedule_of_the_remaining_epochs(option: settings.Schedule) -> None:
    delayed = replace(option, warmup_epochs=3).build(STEPS, EPOCHS)
    remaining = replace(option, warmup_epochs=0).build(STEPS, EPOCHS - 3)
    found = [delayed.factor(30 + step) for step in range(100)]
    assert found == pytest.approx([remaining.factor(step) for step in range(100)])


@pytest.mark.parametrize(
    ("warmup", "steps_per_epoch", "epochs"), [(0, 10, 3), (2, 4, 3), (2, 1, 3), (0, 1, 1)]
)
@pytest.mark.parametrize(("peak", "initial", "final"), [(0.3, 0.04, 0.0), (0.5, 0.2, 0.5), (0.75, 1.0, 0.1)])
def test_one_cycle_interpolates_between_start_peak_and_end(
    warmup: int, steps_per_epoch: int, epochs: int, peak: float, initial: float, final: float
) -> None:
    option = settings.OneCycle(warmup_epochs=warmup, peak=peak, initial=initial, final=final)
    built = option.build(steps_per_epoch, epochs)
    start, end = warmup * steps_per_epoch, epochs * steps_per_epoch
    corners = [start, start + peak * (end - start), end]
    for step in range(start, end + 20):
        assert built.factor(step) == pytest.approx(np.interp(step, corners, [initial, 1, final]))


@pytest.mark.parametrize(
    ("warmup", "steps_per_epoch", "epochs"), [(0, 10, 3), (2, 4, 3), (2, 1, 3), (0, 1, 1)]
)
def test_cosine_ends_at_its_final_factor_and_stays_there(
    warmup: int, steps_per_epoch: int, epochs: int
) -> None:
    built = settings.Cosine(warmup_epochs=warmup, final=0.2).build(steps_per_epoch, epochs)
    end = epochs * steps_per_epoch
    assert [built.factor(step) for step in (end, end + 1, 2 * end, 3 * end)] == pytest.approx([0.2] * 4)


@pytest.mark.parametrize("steps", [2, 3, 20])
def test_a_rising_momentum_is_linear_and_then_constant(steps: int) -> None:
    found = [schedules.rising(0.5, 0.9, steps)(step) for step in range(3 * steps)]
    assert found == pytest.approx([*np.linspace(0.5, 0.9, steps), *[0.9] * (2 * steps)])


@pytest.mark.parametrize("option", [settings.Cosine(), settings.OneCycle()], ids=lambda option: option.name)
def test_a_run_of_nothing_but_warm_up_has_a_factor_at_its_end(option: settings.Schedule) -> None:
    built = replace(option, warmup_epochs=EPOCHS).build(STEPS, EPOCHS)
    assert 0 <= built.factor(STEPS * EPOCHS) <= 1


@pytest.mark.parametrize(
    ("option", "noticed"),
    [
        (settings.Step(milestones=[2.0, 6.0], warmup_epochs=2.0), True),
        (settings.Step(milestones=[2.5, 6.0], warmup_epochs=2.0), False),
        (settings.Step(milestones=[0.8, 6.0]), True),
        (settings.Step(every_epochs=0.5), True),
        (settings.Step(every_epochs=1.0), False),
        (settings.Step(every_epochs=0.5, warmup_epochs=0.0), False),
        (settings.Step(), False),
    ],
)
def test_a_reduction_within_the_warm_up_is_noticed(option: settings.Step, noticed: bool) -> None:
    """Just where the factor right after the warm-up is not 1."""
    found = [str(line) for line in option.epochs_problems(EPOCHS) if "warm-up" in line]
    built = option.build(STEPS, EPOCHS)
    assert bool(found) == noticed == (built.factor(option.warmup_steps(STEPS, EPOCHS)) < 1)
