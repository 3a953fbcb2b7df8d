"""Rules on the optimization: does the loss fall, and do learning rate, clipping and momentum let it?"""

from __future__ import annotations

import statistics
from itertools import pairwise

from ..data.batch_size import batches_per_epoch
from ..settings.fields import default_of, settings_of
from .finding import POOR_RESULT, SICK_UNITS, Finding
from .run_record import Rule, RunRecord, finite

# Update : weight ratios of about 1e-3 are sound (CS231n, lecture notes 3); a hundredth of it is too little.
SMALLEST_RATIO, LARGEST_RATIO, SOUND_RATIO = 1e-4, 0.1, 3e-3
# A network that has covered this part of the way from chance to no error has learned.
LEARNED, FAIRLY_LEARNED, WELL_LEARNED = 0.1, 0.8, 0.9
# A training loss of this many times that of guessing has risen.
ROSE = 1.15
# The training loss fell by less than this part of its first value: it did not fall.
NO_FALL = 0.15
# Fewer updates teach nothing.
FEW_UPDATES = 60
# In fewer updates a network need not have learned what it can.
ENOUGH_UPDATES = 150
# Gradients this many times longer than max_grad_norm have only a direction left.
CLIPPED = 20.0


def diverged(run: RunRecord) -> Finding | None:
    """The run ended because the loss was not finite, or had grown a hundredfold."""
    if run.status != "diverged":
        return None
    rate = rate_of(run)
    if not run.steps:
        return Finding(
            "initial loss not finite",
            "The loss or gradient of the initial network is not finite, before any update: its inputs, its "
            "initial weights or its loss are too large, or not finite; job=check says which.",
            {},
            1.0,
            {},
            explains=POOR_RESULT,
        )
    return Finding(
        "diverged",
        "Training diverged: the loss became infinite or grew a hundredfold, as the updates were too large.",
        {"lr": rate, "first_loss": run.first_loss, "last_losses": finite(run.steps, "train/loss")[-3:]},
        1.0,
        {} if rate is None else {"optim.lr": _sound_rate(run, rounded(rate / 10))},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "learning rate too high",
            "gradients clipped",
            "labels cannot be learned",
            "some labels wrong",
        ),
    )


def learning_rate_too_high(run: RunRecord) -> Finding | None:
    """The weights are changed by a tenth of their size in an update, and the loss does not settle."""
    rate, ratios = rate_of(run), run.update_ratios
    if rate is None or not ratios or not run.train_losses:
        return None
    largest = max(ratios)
    start = run.evidence.get("initial_loss") or run.first_loss
    if start is None or run.learned >= WELL_LEARNED:
        return None
    losses = run.train_losses
    rose = largest > LARGEST_RATIO and max(losses) > ROSE * start
    never_fell = largest > LARGEST_RATIO / 3 and run.learned < LEARNED and losses[0] > 1.02 * start
    # "Stuck at a bad loss after a fast fall" (CS231n, lecture notes 3).
    collapsed = min(losses) < 0.9 * start < losses[-1] and losses[-1] > ROSE * min(losses)
    if not (rose or never_fell or collapsed):
        return None
    return Finding(
        "learning rate too high",
        f"The learning rate is too high: the loss rises to {losses[-1]:.3g}, as at the start ({start:.3g}), "
        f"after it had fallen to {min(losses):.3g}."
        if collapsed
        else f"The learning rate is too high: an update changes a layer's weights by up to {largest:.0%} of "
        "their size, where about a thousandth is usual, and the loss does not settle.",
        {"lr": rate, "largest_update_ratio": largest, "train_data_losses": run.train_losses[-3:]},
        0.95,
        {"optim.lr": _sound_rate(run, rounded(rate * max(1e-3, min(0.1, 3 * SOUND_RATIO / largest))))},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "gradients clipped",
            "augmentation too strong",
            "some labels wrong",
            "labels cannot be learned",
        ),
    )


def learning_rate_too_low(run: RunRecord) -> Finding | None:
    """The weights hardly change, and the loss still falls slowly at the end."""
    rate, ratios = rate_of(run), run.update_ratios
    if rate is None or not ratios or run.learned >= WELL_LEARNED or not run.train_losses:
        return None
    largest, highest = max(ratios), max(finite(run.steps, "lr"), default=0.0)
    if highest < rate / 2 and run.status != "finished":
        return None  # stopped in the warm-up
    if highest < rate / 2 and highest > 0:
        largest *= rate / highest  # of a short run whose updates at the rate itself were not recorded
    if largest > SMALLEST_RATIO:
        return None
    return Finding(
        "learning rate too low",
        f"The learning rate is too low: updates changed the weights of half of the layers by {largest:.1g} "
        "of their size at most, where about a thousandth is usual.",
        {"lr": rate, "largest_update_ratio": largest, "train_data_losses": run.train_losses[-3:]},
        0.9,
        {"optim.lr": _sound_rate(run, rounded(rate * SOUND_RATIO / max(largest, 1e-9)))},
        explains=POOR_RESULT,
    )


def gradients_clipped(run: RunRecord) -> Finding | None:
    """Almost all gradients are far longer than max_grad_norm, so that clipping decides the step."""
    limit, norms = run.config.trainer.max_grad_norm, finite(run.steps, "grad_norm")
    if limit is None or not norms or run.learned >= WELL_LEARNED:
        return None
    times = statistics.median(norms) / limit
    if times < CLIPPED or run.config.optim.name not in ("sgd", "nesterov"):
        return None
    return Finding(
        "gradients clipped",
        f"Gradients are clipped to almost nothing: half of them are over {times:.0f} times longer than "
        f"trainer.max_grad_norm={limit:g}, so every update has the same small length.",
        {"max_grad_norm": limit, "median_grad_norm": statistics.median(norms)},
        0.85,
        {"trainer.max_grad_norm": max(2.0, rounded(statistics.median(norms)))},
        explains=(*POOR_RESULT, "learning rate too low"),
    )


def momentum_too_high(run: RunRecord) -> Finding | None:
    """Momentum multiplies the rate by 1 / (1 - momentum), together too much."""
    rate, momentum = rate_of(run), getattr(run.config.optim, "momentum", None)
    if rate is None or momentum is None or momentum < 0.98 or run.learned >= WELL_LEARNED:
        return None
    return Finding(
        "momentum too high",
        f"Momentum {momentum:g} adds up {1 / (1 - momentum):.0f} gradients, so that updates go on long after "
        "the gradient has turned; with this learning rate that is too much.",
        {"momentum": momentum, "lr": rate, "lr_of_a_constant_gradient": rate / (1 - momentum)},
        0.8,
        {"optim.momentum": 0.9},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "learning rate too high",
            "some labels wrong",
            "labels cannot be learned",
            "augmentation too strong",
        ),
    )


def not_learning(run: RunRecord) -> Finding | None:
    """The training loss does not fall, and accuracy stays at chance."""
    if not run.of_classes or len(run.train_losses) < 2 or run.learned > LEARNED:
        return None
    start = run.evidence.get("initial_loss") or run.first_loss
    if start is None or min(run.train_losses) < (1 - NO_FALL) * start:
        return None
    return Finding(
        "not learning",
        f"The network does not learn: after {len(run.train_losses)} epochs the training loss is "
        f"{run.train_losses[-1]:.3g}, that of guessing is {start:.3g}.",
        {
            "train_data_losses": run.train_losses[-3:],
            "guessing": start,
            "accuracy": run.train_accuracies[-1:],
        },
        0.6,
        {},
        explains=("class never predicted", "underfitting", "plateau early"),
    )


def oscillating(run: RunRecord) -> Finding | None:
    """The training loss goes up and down by much more than it falls."""
    losses = run.train_losses
    if len(losses) < 5 or run.learned >= WELL_LEARNED:
        return None
    later = losses[len(losses) // 5 :]
    rises = sum(max(0.0, after - before) for before, after in pairwise(later))
    fall = max(later) - min(later)
    if rises < 1.5 * fall or fall < 0.1 * statistics.median(later):
        return None
    rate = rate_of(run)
    return Finding(
        "oscillating",
        "The training loss goes up and down from epoch to epoch instead of falling.",
        {"train_data_losses": losses, "sum_of_rises": rises},
        0.6,
        {} if rate is None else {"optim.lr": rounded(rate / 5)},
        explains=("underfitting", "stopped too early", "class never predicted", "plateau early"),
    )


def too_few_updates(run: RunRecord) -> Finding | None:
    """A batch is so large a part of the images that an epoch has few updates."""
    images = run.evidence.get("train_images")
    if images is None or run.learned >= FAIRLY_LEARNED or not run.epochs or run.status == "diverged":
        return None
    batch = run.batch_size * run.config.trainer.accumulate_steps
    steps = batches_per_epoch(images, batch, run.config.data.drop_last)
    updates = run.epochs[-1]["step"]
    if steps >= 8 or updates >= ENOUGH_UPDATES or run.config.optim.line_search:
        return None
    smaller = max(8, 2 ** max(0, (images // 20).bit_length() - 1))
    if smaller > batch // 2:
        return None  # there are too few images, whatever the batch
    return Finding(
        "batch too large",
        f"There were only {updates} updates: a batch of {batch} leaves {steps} in an epoch of {images} "
        "images.",
        {"batch_size": batch, "updates": updates, "train_images": images},
        0.75,
        {"data.batch_size": smaller},
        explains=(*POOR_RESULT, "learning rate too low"),
    )


RULES: tuple[Rule, ...] = (
    diverged,
    learning_rate_too_high,
    learning_rate_too_low,
    gradients_clipped,
    momentum_too_high,
    not_learning,
    oscillating,
    too_few_updates,
)


def rate_of(run: RunRecord) -> float | None:
    rate: float | None = getattr(run.config.optim, "lr", None)
    return rate


def _sound_rate(run: RunRecord, suggested: float) -> float:
    """Return the optimizer's default rate if the suggested one is on its way, else the suggested one."""
    rate, default = rate_of(run), default_of(settings_of(type(run.config.optim))["lr"])
    assert rate is not None
    if default is None:  # of several optimizers, each with a default of its own
        return suggested
    default = float(default)
    return default if not 0.5 < rate / default < 2 else suggested


def rounded(value: float) -> float:
    """Return a number with one significant digit, as it is written in a command."""
    return float(f"{value:.1g}")
