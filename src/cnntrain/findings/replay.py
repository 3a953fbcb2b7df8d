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

from ..assemble.parts import evaluation_batches
from ..assemble.run import Parts, build_parts
from ..assemble.trained_run import load_weights
from ..averaging.settings import NoAverage
from ..config.resolve_batch_size import with_batch_size
from ..data.batch_size import batches_per_epoch
from ..data.splits import Splits
from ..model.fine_tuning import training_mode
from ..runs.checkpoint import State
from ..settings.config_tree import GROUPS, Config
from ..training.evaluate_split import evaluate_split
from ..training.nonfinite import NonFinite
from .evidence import sampled

# A smaller batch makes more updates of the same images, up to so many.
MAX_UPDATES = 500
# A smaller gain is of no use, whatever the noise; in units of the error without the remedy.
LEAST_GAIN = 0.05
STANDARD_ERRORS = 2.0
# Of fewer seeds nothing is said. After so many updates the time of all is estimated.
LEAST_SEEDS, TIMED_UPDATES = 2, 5


@dataclass(frozen=True)
class Start:
    """From which weights replays go on: those of a checkpoint of the run, or, without one, initial ones.

    name: in sentences.
    """

    name: str = "the initial weights"
    state: State | None = None


@dataclass(frozen=True)
class Replay:
    """Validation errors of short trainings, one for each seed, without and with a remedy.

    Infinity where one diverged. updates: of each training without it, or, where the remedy is to train on
    (`trains_on`), of each with it. metric: that of which they are errors. start: where all began.
    """

    metric: str
    updates: int
    without: list[float]
    with_remedy: list[float]
    start: str = Start.name
    trains_on: bool = False

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
        return replace(self, without=self.with_remedy, with_remedy=self.without).gains


class TooSlow(Exception):
    """The trainings of a replay do not fit into its time; seconds: about how long they would take."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(seconds)


def replay(
    config: Config, remedy: Config, updates: int, seeds: int, seconds: float, start: Start = Start()
) -> Replay | None:
    """Train a configuration and a changed one for some updates, for each seed.

    Each is a run of its own length, with a new optimizer: its schedule is compressed into `updates`. From a
    checkpoint, all have the run's own splits, since its network knows the training images; from initial
    weights, both of a seed have the same splits. A remedy that only trains longer is compared with the
    checkpoint as it is. After `seconds`, no seed is finished; raises TooSlow where not even two can be. None
    where there are no validation images, or an optimizer that changes within the run.
    """
    if "switch" in (config.optim.name, remedy.optim.name):
        return None
    trains_on = start.state is not None and _trains_on(config, remedy)
    clock = _Clock(seconds, LEAST_SEEDS * (1 if trains_on else 2))
    without, with_remedy = list[float](), list[float]()
    metric = ""
    splits = config.data.load(config.seed)
    for seed in range(config.seed, config.seed + seeds):
        if start.state is None and seed > config.seed:
            splits = config.data.load(seed)
        if not len(splits.val):
            return None
        config, remedy = (with_batch_size(one, len(splits.train)) for one in (config, remedy))
        images = updates * _images_per_update(config)
        if not trains_on:
            images = min(images, _images_in_run(config, len(splits.train)))
        errors: list[float] = []
        try:
            for one in (config, remedy):
                steps = min(MAX_UPDATES, max(1, images // _images_per_update(one)))
                steps = 0 if trains_on and one is config else steps
                metric, error = _error_after(replace(one, seed=seed), splits, steps, start.state, clock)
                errors.append(error)
        except TooSlow:
            if len(without) < LEAST_SEEDS:
                raise
            break
        without.append(errors[0])
        with_remedy.append(errors[1])
    return Replay(metric, images // _images_per_update(config), without, with_remedy, start.name, trains_on)


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


class _Clock:
    """The time of all trainings of a replay, of which at least `trainings` are needed."""

    def __init__(self, seconds: float, trainings: int):
        self.started, self.seconds, self.trainings = time.perf_counter(), seconds, trainings
        self.after_first: float | None = None  # when the first update of all was made, which is slow
        self.needed: float | None = None

    def check(self, done: int, updates: int) -> None:
        """Raise TooSlow if the time is up, or if the first updates tell that it will not be enough.

        done, updates: the updates that this training has made, and all of them.
        """
        now = time.perf_counter()
        if self.after_first is None:
            self.after_first = now
        elif self.needed is None and done > TIMED_UPDATES:
            self.needed = (now - self.after_first) / (done - 1) * updates * self.trainings
            if self.needed > self.seconds:
                raise TooSlow(self.needed)
        if now - self.started > self.seconds:
            raise TooSlow(max(self.needed or 0.0, self.seconds))


def _error_after(
    config: Config, splits: Splits, updates: int, state: State | None, clock: _Clock
) -> tuple[str, float]:
    """Return the metric and its validation error after some updates; infinity if the training diverged.

    Validation images are at most as many as the evidence of a finding is measured on.
    """
    data = config.data
    per_epoch = batches_per_epoch(len(splits.train), _images_per_update(config), data.drop_last)
    config = compressed(config, max(1, updates), max(1, per_epoch))
    parts = build_parts(config, state, Path(), "", splits)
    step = parts.step
    metric = config.trainer.selected_by(step.criterion.primary_metric_name)
    if state is not None:
        load_weights(step.network, state)
    try:
        for number, (images, labels) in zip(range(updates), _batches(parts), strict=False):
            step.run(number, images, labels, recording=False)
            clock.check(number + 1, updates)
        step.update.skipped.check()
    except NonFinite:
        return metric, math.inf
    val = evaluation_batches(splits.val.subset(sampled(splits.val)), config, parts.compute)
    evaluation = evaluate_split(step.network, step.preprocess, step.criterion, val, parts.compute)
    error = evaluation.error(metric)
    return metric, error if math.isfinite(error) else math.inf


def _batches(parts: Parts) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after another, the network in training mode."""
    epoch = 0
    while True:
        training_mode(parts.step.network)
        yield from parts.train.epoch(epoch, 0, len(parts.train))
        epoch += 1


def _trains_on(config: Config, remedy: Config) -> bool:
    """Return whether a remedy is nothing but more epochs."""
    more = replace(config.trainer, epochs=remedy.trainer.epochs)
    others = (group for group in GROUPS if group != "trainer")
    same = all(getattr(config, group) == getattr(remedy, group) for group in others)
    return bool(remedy.trainer.epochs > config.trainer.epochs and more == remedy.trainer and same)


def _images_per_update(config: Config) -> int:
    return int(config.data.batch_size * config.trainer.accumulate_steps)


def _images_in_run(config: Config, train_images: int) -> int:
    """Return about the number of images of all updates of a run."""
    steps = batches_per_epoch(train_images, _images_per_update(config), config.data.drop_last)
    steps = min(steps, config.trainer.max_steps_per_epoch or steps)
    return int(steps * config.trainer.epochs * _images_per_update(config))
