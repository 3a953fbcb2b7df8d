"""Rules on the course of a run: was the learning rate high for long enough, and did the last epochs gain?"""

from __future__ import annotations

import statistics

from .finding import POOR_RESULT, SICK_UNITS, Finding
from .optimization import (
    FAIRLY_LEARNED,
    FEW_UPDATES,
    LEARNED,
    WELL_LEARNED,
    rate_of,
    rounded,
)
from .run_record import Rule, RunRecord, finite

# A loss that falls by this part in the last fifth of the run has not settled.
STILL_FALLING = 0.08
# Step schedules lower the rate tenfold at half of the run or later (He et al. 2016): before this part of it
# is early, and a rate above a twentieth in no more than MOST of it is short. What a network that has learned
# nearly all still lacks is noise.
EARLY, MOST, NEARLY_ALL_LEARNED = 0.15, 0.35, 0.97
# The rate is a hundredth of its largest for the last quarter in He et al. 2016, for the last two fifths where
# it falls tenfold at 30, 60 and 90 of 100 epochs; a longer tail than half of the run is none of a schedule.
LONG_TAIL = 0.5
# A validation error that falls by less than this part of it has not fallen.
LEAST_GAIN = 0.05
# The later part of a run; losses of its halves that differ by less are equal; of few epochs it is not said.
LATER, FLAT, LEAST_EPOCHS = 0.6, 0.03, 10
# Ten times the usual update : weight ratio (CS231n, lecture notes 3).
LARGE_RATIO = 1e-2
# What a rate that is too low brings about.
TOO_LITTLE = ("learning rate too low", "epochs without gain")


def warmup_too_long(run: RunRecord) -> Finding | None:
    """The learning rate reached its value late, or not at all."""
    rates, epochs = finite(run.steps, "lr"), run.config.trainer.epochs
    warmup = run.config.schedule.warmup_epochs or 0.0
    if len(rates) < 3 or not warmup or run.learned >= WELL_LEARNED or run.status != "finished":
        return None
    configured = rate_of(run)
    if warmup <= epochs / 2 and (configured is None or max(rates) >= 0.5 * configured):
        return None
    return Finding(
        "warm-up too long",
        f"The warm-up is too long: {warmup:g} of {epochs} epochs; the learning rate was "
        f"{statistics.median(rates):.2g} in the middle of the run.",
        {"largest_lr": max(rates), "configured_lr": configured},
        0.85,
        {"schedule.warmup_epochs": rounded(max(1, epochs / 10))},
        explains=(*POOR_RESULT, *TOO_LITTLE, "schedule lowers the rate too early"),
    )


def schedule_too_short(run: RunRecord) -> Finding | None:
    """The learning rate was near its largest for a small part of the run only."""
    rates = finite(run.steps, "lr")
    if len(rates) < 3 or run.learned >= NEARLY_ALL_LEARNED or run.status != "finished":
        return None
    high = sum(rate > 0.05 * max(rates) for rate in rates) / len(rates)
    tenth, hundredth = tail(run, 0.1), tail(run, 0.01)
    if run.learned < WELL_LEARNED and high <= MOST:
        sentence = (
            f"The learning rate was above a twentieth of its largest value in only {high:.0%} of the run."
        )
    elif tenth >= 1 - EARLY and (run.learned < WELL_LEARNED or still_falls(run)):
        sentence = (
            f"The learning rate was below a tenth of its largest in the last {tenth:.0%} of the run, "
            "at whose end the loss still fell."
        )
    elif hundredth > LONG_TAIL and (gain := gain_in(run, hundredth)) is not None and gain >= LEAST_GAIN:
        sentence = (
            f"The learning rate was below a hundredth of its largest in the last {hundredth:.0%} of the run, "
            f"in which the validation loss still fell, slowly, by {gain:.0%}."
        )
    else:
        return None
    return Finding(
        "schedule lowers the rate too early",
        sentence,
        {"largest_lr": max(rates), "part_of_the_run": high, "below_a_tenth": tenth},
        0.85 if run.learned < WELL_LEARNED else 0.6,
        {"schedule": "cosine"},
        explains=(*POOR_RESULT, *TOO_LITTLE),
    )


def epochs_without_gain(run: RunRecord) -> Finding | None:
    """The learning rate was next to nothing for most of the run, and nothing was gained in it."""
    share = tail(run, 0.01)
    gain = gain_in(run, share) if share > LONG_TAIL else None
    if gain is None or gain >= LEAST_GAIN or run.status != "finished":
        return None
    epochs = len(run.epochs)
    return Finding(
        "epochs without gain",
        f"The last {round(share * epochs)} of {epochs} epochs changed nothing: the learning rate was below a "
        f"hundredth of its largest value, and the validation loss fell by {max(0.0, gain):.0%}.",
        {"part_of_the_run": share, "fall_of_val_loss": gain},
        0.4,
        {"schedule": "cosine"},
    )


def stuck(run: RunRecord) -> Finding | None:
    """The loss fell fast and then stayed where it was, at a rate that did not fall (CS231n, notes 3)."""
    rates, losses, ratios = finite(run.steps, "lr"), run.train_losses, run.update_ratios
    start = run.evidence.get("initial_loss") or run.first_loss
    if not rates or not ratios or not start or not LEARNED <= run.learned < WELL_LEARNED:
        return None
    updates = statistics.median(ratios[len(ratios) // 2 :])
    high = rates[-1] >= max(rates) / 2 and updates > LARGE_RATIO
    if not high or not is_flat(losses) or run.is_too_small or min(losses) > 0.9 * start:
        return None
    rate = rate_of(run)
    lower = {} if rate is None else {"optim.lr": rounded(rate / 5)}
    return Finding(
        "stuck after a fast fall",
        f"The training loss fell from {start:.3g} to {statistics.median(losses[-3:]):.3g} early, and "
        f"stayed there, with updates of {updates:.1%} of the weights, where about 0.1% is usual: the "
        "learning rate is too high to go on, and does not fall.",
        {"lr": rate, "update_ratio": updates, "train_data_losses": losses},
        0.75,
        {"schedule": "cosine"} if run.config.schedule.name == "constant" else lower,
        explains=(*POOR_RESULT, *SICK_UNITS),
    )


def plateau_early(run: RunRecord) -> Finding | None:
    """Neither training nor validation loss fell in the later part of the run, with much left to learn."""
    if not LEARNED <= run.learned < WELL_LEARNED or not is_flat(run.train_losses) or run.status != "finished":
        return None
    gain = gain_in(run, LATER)
    if gain is None or gain >= LEAST_GAIN:
        return None
    epochs = len(run.epochs)
    return Finding(
        "plateau early",
        f"Nothing was gained in the last {round(LATER * epochs)} of {epochs} epochs: the training loss "
        f"stayed at {run.train_losses[-1]:.3g}, with {run.learned:.0%} of what there is to learn. More "
        "epochs do not help.",
        {"train_data_losses": run.train_losses, "fall_of_val_loss": gain},
        0.4,
        {},
        explains=("class never predicted",),
    )


def stopped_too_early(run: RunRecord) -> Finding | None:
    """The training loss still fell fast when the run ended."""
    losses, epochs = run.train_losses, run.config.trainer.epochs
    if not losses or run.status != "finished" or run.learned >= FAIRLY_LEARNED:
        return None
    if len(losses) == 1:
        return _one_epoch(run)
    back = max(1, len(losses) // 5)
    fall, updates = 1 - losses[-1] / max(losses[-1 - back], 1e-9), run.epochs[-1]["step"]
    val = run.val_losses
    needed = STILL_FALLING if len(losses) > 3 else STILL_FALLING / 4  # in two epochs nothing settles
    gained = len(val) != len(losses) or val[-1] < (1 - needed / 3) * val[-1 - back]
    if (fall < needed or not gained) and updates >= FEW_UPDATES:
        return None
    sentence = f"by {fall:.0%} in the last {back} of {len(losses)} epochs."
    return Finding(
        "stopped too early",
        f"Training ended while the loss still fell: {sentence}"
        if fall >= needed
        else f"Training ended after {updates} updates, before it had begun.",
        {"train_data_losses": losses[-1 - back :], "epochs": epochs},
        0.65 if updates < FEW_UPDATES else 0.55,
        {"trainer.epochs": 10 * epochs if updates < FEW_UPDATES else 3 * epochs},
        explains=(
            "underfitting",
            "class never predicted",
            *(("not learning",) if updates < FEW_UPDATES else ()),
        ),
    )


def _one_epoch(run: RunRecord) -> Finding | None:
    """A run of one epoch whose loss fell from its first recorded step on, or that has not learned."""
    losses, epochs = finite(run.steps, "train/data_loss"), run.config.trainer.epochs
    if epochs > 1 or not losses:
        return None
    fell = len(losses) > 1 and losses[-1] <= (1 - STILL_FALLING) * losses[0]
    if not fell and (run.learned > LEARNED or not run.of_classes):
        return None
    return Finding(
        "stopped too early",
        f"Training ended after one epoch, in which the loss fell from {losses[0]:.3g} to {losses[-1]:.3g}."
        if fell
        else f"Training ended after one epoch of {run.epochs[-1]['step']} updates, before it had begun.",
        {"train_data_losses": losses, "epochs": epochs},
        0.55,
        {"trainer.epochs": 10},
        explains=("underfitting", "class never predicted"),
    )


RULES: tuple[Rule, ...] = (
    warmup_too_long,
    schedule_too_short,
    epochs_without_gain,
    stuck,
    plateau_early,
    stopped_too_early,
)


def tail(run: RunRecord, factor: float) -> float:
    """Return in which last part of the run the rate was at most about `factor` of its largest value."""
    rows = [row for row in run.steps if row.get("lr") is not None]
    largest = max((row["lr"] for row in rows), default=0.0)
    above = [number for number, row in enumerate(rows) if row["lr"] > 1.01 * factor * largest]
    if not rows or not largest or above[-1] + 1 >= len(rows):
        return 0.0
    return float(1 - rows[above[-1] + 1]["epoch"] / rows[-1]["epoch"])


def gain_in(run: RunRecord, share: float) -> float | None:
    """Return by which part the smallest validation loss fell in the last `share` of the epochs."""
    losses = run.val_losses
    later = round(share * len(losses))
    if not 0 < later < len(losses) or len(losses) != len(run.epochs):
        return None
    before = min(losses[:-later])
    return 1 - min(losses[-later:]) / before if before > 0 else None


def still_falls(run: RunRecord) -> bool:
    """Return whether the training loss fell by STILL_FALLING in the last fifth of at least five epochs."""
    losses = run.train_losses
    return len(losses) >= 5 and losses[-1] <= (1 - STILL_FALLING) * losses[-1 - len(losses) // 5]


def is_flat(losses: list[float]) -> bool:
    """Return whether both halves of the later epochs have about the same mean loss."""
    later = losses[-round(LATER * len(losses)) :]
    half = len(later) // 2
    if len(losses) < LEAST_EPOCHS or not half:
        return False
    return statistics.fmean(later[-half:]) > (1 - FLAT) * statistics.fmean(later[:half])
