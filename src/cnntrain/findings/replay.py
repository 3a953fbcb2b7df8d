"""Whether a remedy gains anything: short trainings with and without it, over a few seeds (W6)."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..assemble.run import Parts, build_parts
from ..averaging.settings import NoAverage
from ..config.resolve_batch_size import with_batch_size
from ..data.batch_size import batches_per_epoch
from ..data.splits import Splits
from ..model.fine_tuning import training_mode
from ..settings.config_tree import Config
from ..training.evaluate_split import evaluate_split
from ..training.nonfinite import NonFinite

# Findings whose remedy takes a whole run, or is not measured by the validation error.
NOT_REPLAYED = (
    *("stopped too early", "underfitting", "overfitting", "noisy first filters", "imbalance"),
    *("class never predicted", "some labels wrong", "waiting for data", "memory nearly full"),
)
# A smaller batch makes more updates of the same images, up to so many.
MAX_UPDATES = 500
# A smaller gain is of no use, whatever the noise; in units of the error without the remedy.
LEAST_GAIN = 0.05
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Replay:
    """Validation errors of short trainings, one for each seed, without and with a remedy.

    Infinity where one diverged. updates: of each training without it. metric: that of which they are errors.
    """

    metric: str
    updates: int
    without: list[float]
    with_remedy: list[float]

    @property
    def gains(self) -> bool:
        """Whether the error falls by more than LEAST_GAIN of it and than the noise of seeds."""
        if not all(map(math.isfinite, self.with_remedy)):
            return False
        if not all(map(math.isfinite, self.without)):
            return True
        gains = [before - after for before, after in zip(self.without, self.with_remedy, strict=True)]
        noise = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        least = LEAST_GAIN * statistics.fmean(self.without)
        return statistics.fmean(gains) > max(least, STANDARD_ERRORS * noise)

    @property
    def harms(self) -> bool:
        """Whether the error rises with the remedy, as `gains` has it the other way round."""
        return Replay(self.metric, self.updates, self.with_remedy, self.without).gains


def replay(config: Config, remedy: Config, updates: int, seeds: int, seconds: float) -> Replay | None:
    """Train a configuration and a changed one for some updates, from the initial weights, for each seed.

    Each is a run of its own length: its schedule is compressed into `updates`. Both of a seed have the same
    splits. After `seconds`, no seed is begun. None where there are no validation images, or an optimizer that
    changes within the run.
    """
    if "switch" in (config.optim.name, remedy.optim.name):
        return None
    started = time.perf_counter()
    without, with_remedy = list[float](), list[float]()
    metric = ""
    for seed in range(config.seed, config.seed + seeds):
        splits = config.data.load(seed)
        if not len(splits.val):
            return None
        config, remedy = (with_batch_size(one, len(splits.train)) for one in (config, remedy))
        images = min(updates * _images_per_update(config), _images_in_run(config, len(splits.train)))
        for one, errors in ((config, without), (remedy, with_remedy)):
            steps = min(MAX_UPDATES, max(1, images // _images_per_update(one)))
            metric, error = _error_after(replace(one, seed=seed), splits, steps)
            errors.append(error)
        if len(without) > 1 and time.perf_counter() - started > seconds:
            break
    return Replay(metric, images // _images_per_update(config), without, with_remedy)


def compressed(config: Config, updates: int, steps_per_epoch: int) -> Config:
    """Return a configuration whose whole run, schedule included, has about `updates` updates."""
    if updates < steps_per_epoch:
        epochs, steps = 1, updates
    else:
        epochs, steps = round(updates / steps_per_epoch), config.trainer.max_steps_per_epoch
    part = epochs / config.trainer.epochs
    trainer = replace(
        config.trainer, epochs=epochs, max_steps_per_epoch=steps, compile=False, instruments=False
    )
    names = {field.name for field in fields(config.schedule)}
    changes: dict[str, Any] = {
        name: value * part
        for name in ("warmup_epochs", "every_epochs")
        if name in names and (value := getattr(config.schedule, name)) is not None
    }
    if getattr(config.schedule, "milestones", None) is not None:
        changes["milestones"] = [milestone * part for milestone in config.schedule.milestones]
    if getattr(config.schedule, "per", "step") == "epoch":
        changes["rate"] = config.schedule.rate / part
    return replace(
        config, trainer=trainer, schedule=replace(config.schedule, **changes), averaging=NoAverage()
    )


def _error_after(config: Config, splits: Splits, updates: int) -> tuple[str, float]:
    """Return the metric and its validation error after some updates; infinity if the training diverged."""
    data = config.data
    per_epoch = batches_per_epoch(len(splits.train), _images_per_update(config), data.drop_last)
    config = compressed(config, updates, max(1, per_epoch))
    parts = build_parts(config, None, Path(), "", splits)
    step = parts.step
    metric = config.trainer.selected_by(step.criterion.primary_metric_name)
    try:
        for number, (images, labels) in zip(range(updates), _batches(parts), strict=False):
            step.run(number, images, labels, recording=False)
        step.update.skipped.check()
    except NonFinite:
        return metric, math.inf
    assert parts.val is not None
    evaluation = evaluate_split(step.network, step.preprocess, step.criterion, parts.val, parts.compute)
    error = evaluation.error(metric)
    return metric, error if math.isfinite(error) else math.inf


def _batches(parts: Parts) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after another, the network in training mode."""
    epoch = 0
    while True:
        training_mode(parts.step.network)
        yield from parts.train.epoch(epoch, 0, len(parts.train))
        epoch += 1


def _images_per_update(config: Config) -> int:
    return int(config.data.batch_size * config.trainer.accumulate_steps)


def _images_in_run(config: Config, train_images: int) -> int:
    """Return about the number of images of all updates of a run."""
    steps = batches_per_epoch(train_images, _images_per_update(config), config.data.drop_last)
    steps = min(steps, config.trainer.max_steps_per_epoch or steps)
    return int(steps * config.trainer.epochs * _images_per_update(config))
