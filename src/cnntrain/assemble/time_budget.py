"""trainer.budget_minutes: with how many epochs a run ends in time, by the time of its first updates."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..config.cross_checks import epochs_problems
from ..data.batches import Batches
from ..data.splits import Splits
from ..errors import ConfigError
from ..model.fine_tuning import training_mode
from ..settings.config_tree import Config
from ..settings.option import Notice
from ..training.evaluate_split import evaluate_split
from ..training.nonfinite import NonFinite
from ..training.training_step import StepOutOfMemory
from .run import Parts, build_parts
from .teacher import load_teacher

# Parts of the budget: what is planned, as later updates may be slower, and what measuring may take.
PLANNED, MEASURED = 0.95, 0.03
# The most of the time that whole epochs may leave unused.
UNUSED = 0.1
# Updates before the measured ones, whose memory is new; and the fewest that are measured.
WARM_UP, LEAST_UPDATES = 3, 5
# Images on which the evaluation is timed, images that the report evaluates, and seconds to draw it.
EVALUATED, REPORTED, DRAWING = 512, 4000, 5.0


@dataclass(frozen=True)
class Durations:
    """Seconds of the parts of a run: an update, the evaluation of an image, and writing the checkpoints."""

    update: float
    image: float
    saving: float


def epochs_within(
    seconds: float, durations: Durations, steps_per_epoch: int, val_images: int, images_at_end: int
) -> tuple[int, int | None]:
    """Return how many epochs take so many seconds, with what follows the last; at least one.

    Where whole epochs would leave more than UNUSED of the time, there is one more, and the second number is
    that of the updates of each; else None. images_at_end: evaluated after the last.
    """
    after_epoch = durations.image * val_images + durations.saving
    left = seconds - durations.image * images_at_end
    fitting = max(0.0, left / (durations.update * steps_per_epoch + after_epoch))
    if int(fitting) >= (1 - UNUSED) * fitting > 0:
        return int(fitting), None
    epochs = int(fitting) + 1
    return epochs, max(1, int((left / epochs - after_epoch) / durations.update))


def within_budget(config: Config, splits: Splits, folder: Path, started: float) -> tuple[Config, str]:
    """Return the configuration with its number of epochs, and a line that says it.

    A copy of the run is timed, of which nothing remains. folder: where checkpoints will be written. started:
    when the run began, by time.perf_counter. Raises ConfigError where settings do not fit so few epochs.
    """
    budget = 60 * config.trainer.budget_minutes
    parts = build_parts(config, None, folder, "", splits)
    if config.regularization.teacher is not None:
        parts.step.teacher, _ = load_teacher(config, splits.names, parts.network_input, parts.compute)
    durations = _measured(parts, folder, MEASURED * budget)
    trainer = config.trainer
    steps_per_epoch = min(len(parts.train), trainer.max_steps_per_epoch or len(parts.train))
    at_end = len(splits.test) if trainer.test else 0
    at_end += min(REPORTED, len(splits.train) + len(splits.val)) if trainer.report else 0
    left = PLANNED * budget - (time.perf_counter() - started) - (DRAWING if trainer.report else 0)
    epochs, steps = epochs_within(left, durations, steps_per_epoch, len(splits.val), at_end)
    changed = replace(trainer, epochs=epochs, max_steps_per_epoch=steps or trainer.max_steps_per_epoch)
    config = replace(config, trainer=changed)
    if problems := [line for line in epochs_problems(config) if not isinstance(line, Notice)]:
        raise ConfigError(problems)
    length = f"{epochs} epoch{'s'[: epochs > 1]} of {steps or steps_per_epoch} updates"
    if trainer.epochs != type(trainer)().epochs:
        length += f", in place of trainer.epochs={trainer.epochs}"
    return config, (
        f"budget    {trainer.budget_minutes:g} min: {length}, at {durations.update:.3g} s each and "
        f"{durations.image * len(splits.val) + durations.saving:.2g} s after an epoch"
    )


def _measured(parts: Parts, folder: Path, seconds: float) -> Durations:
    """Return the durations of a run whose parts are trained for about so many seconds."""
    step, splits = parts.step, parts.splits
    update = seconds_per_update(parts, seconds)
    images = splits.val if len(splits.val) else splits.train
    some = images.subset(torch.arange(min(EVALUATED, len(images))))
    batches = Batches(some, parts.config.data.batch_size, parts.compute.device)
    started = time.perf_counter()
    evaluate_split(step.network, step.preprocess, step.criterion, batches, parts.compute)
    evaluated = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        for state in (step.network.state_dict(), step.update.state_dict(), step.network.state_dict()):
            torch.save(state, file)
        file.flush()
    saved = time.perf_counter()
    return Durations(update, (evaluated - started) / len(some), saved - evaluated)


def seconds_per_update(parts: Parts, seconds: float) -> float:
    """Return the mean duration of the updates that fit into so many seconds, after the first."""
    number, from_start = 0, time.perf_counter()
    for epoch in itertools.count():
        training_mode(parts.step.network)
        for images, labels in parts.train.epoch(epoch, 0, len(parts.train)):
            try:
                parts.step.run(number, images, labels, recording=False)
            except StepOutOfMemory:
                if not parts.step.can_divide(parts.train.batch_size):
                    raise
                parts.step.parts_per_batch *= 2
            except NonFinite:
                pass  # the run itself says that it diverges
            _wait(parts.compute.device)
            number += 1
            if number == WARM_UP:
                from_start = time.perf_counter()
            elif number > WARM_UP:
                measured, passed = number - WARM_UP, time.perf_counter() - from_start
                if measured >= LEAST_UPDATES and passed >= seconds:
                    return passed / measured
    raise AssertionError("unreachable")


def _wait(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
