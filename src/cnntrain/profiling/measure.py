"""Times steps of training as the loop makes them, and what follows an epoch."""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor

from ..augmentation.transforms import Augment, BatchKey, Transform
from ..data.batches import Batch
from ..instruments.instrument import DATA, not_followed
from ..model.fine_tuning import training_mode
from ..training.nonfinite import NonFinite
from ..training.trainer import Trainer
from ..training.training_step import StepOutOfMemory
from .clocks import Clock
from .layer_hooks import LayerHooks, LayerTraffic
from .stopwatch import Stopwatch

AUGMENTATION, FIRST_BATCH, RECORDS = "augmentation", "first batch", "records"
# Between steps, and before the first.
OUTSIDE = "outside"
# Steps whose parts are timed, and steps timed as a whole: without the hooks of layers, and recorded ones.
DIVIDED, PLAIN, RECORDED = "divided step", "plain step", "recorded step"
# The kinds of successive steps, so that slow phases of the machine affect all of them.
KINDS = (DIVIDED, PLAIN, DIVIDED, PLAIN, DIVIDED, PLAIN, DIVIDED, RECORDED)
# Steps before the measured ones, whose memory is new.
WARM_UP = 3


@dataclass(frozen=True)
class Measured:
    """What was measured.

    seconds: of each part, which add up to the time from the first batch to the end of the epoch; DIVIDED is
    what is in no part of the steps whose parts are timed, and (FORWARD, name) and (BACKWARD, name) are
    layers. steps: how many of each kind were made. evaluated: images. traffic: of layers by name.
    """

    seconds: dict[Hashable, float]
    steps: dict[str, int]
    evaluated: int
    traffic: dict[str, LayerTraffic]

    def seconds_per_step(self) -> float:
        """Return the seconds of a step that is not recorded."""
        return self.seconds[PLAIN] / self.steps[PLAIN]


def measure(trainer: Trainer, seconds: float, clock: Clock, by_layer: bool = True) -> Measured:
    """Train for about so many seconds, one round of KINDS at least, and end an epoch.

    The trainer is used up: its network is trained, and its records and checkpoints are written. by_layer:
    whether the network's layers are timed one by one.
    """
    watch = Stopwatch(clock, OUTSIDE)
    hooks, loop = LayerHooks(trainer.network, watch), _Loop(trainer, watch)
    with watch.around_undivided(FIRST_BATCH):
        loop.begin()
    with watch.around_undivided(OUTSIDE):
        for _ in range(WARM_UP):
            loop.step(recording=False)
    steps = dict.fromkeys(KINDS, 0)
    end = time.perf_counter() + seconds
    for kind in itertools.cycle(KINDS):
        if kind is DIVIDED:
            loop.divided_step(hooks.registered() if by_layer else nullcontext())
        else:
            with watch.around_undivided(kind):
                loop.step(recording=kind is RECORDED)
        steps[kind] += 1
        if kind is KINDS[-1] and time.perf_counter() >= end:
            break
    trainer.step.update.instruments.around_part = watch.around_undivided
    with redirect_stdout(io.StringIO()), watch.around(RECORDS):
        trainer.finish_epoch()
    evaluated = 0 if trainer.val_batches is None else len(trainer.val_batches.images)
    return Measured(watch.seconds(), steps, evaluated, hooks.traffic)


class _Loop:
    """Steps of training one after the other, in as many epochs as it takes."""

    def __init__(self, trainer: Trainer, watch: Stopwatch):
        self.trainer = trainer
        self.watch = watch
        self._batches: Iterator[Batch] = iter(())
        augment = trainer.train_batches.augment
        if augment is not None:
            timed = [_TimedTransform(transform, watch) for transform in augment.transforms]
            trainer.train_batches.augment = Augment(timed)

    def begin(self) -> None:
        """Get the first batch."""
        batches = self._epochs()
        self._batches = itertools.chain([next(batches)], batches)

    def divided_step(self, hooks: AbstractContextManager[None]) -> None:
        """Make a step whose parts are timed, with hooks that time its layers."""
        instruments = self.trainer.step.update.instruments
        instruments.around_part = self.watch.around
        with hooks, self.watch.around(DIVIDED):
            self.step(recording=False)
        instruments.around_part = not_followed

    def step(self, recording: bool) -> None:
        """Make a step as the loop of training does."""
        trainer = self.trainer
        progress, in_all = trainer.progress, trainer.settings.total_steps(trainer.steps_per_epoch)
        with self.watch.around(DATA):
            images, labels = next(self._batches)
        try:
            result = trainer.step.run(progress.step % in_all, images, labels, recording)
        except NonFinite:
            return  # the run itself says that it diverges
        except StepOutOfMemory:
            if not trainer.step.can_divide(trainer.train_batches.batch_size):
                raise
            trainer.step.parts_per_batch *= 2
            return
        trainer.means.add(result)
        progress.after_step(result.images)
        if recording:
            trainer.record(result)

    def _epochs(self) -> Iterator[Batch]:
        for epoch in itertools.count():
            self.trainer.step.head_warm_up.begin_epoch(math.ceil(self.trainer.settings.epochs))
            training_mode(self.trainer.network)
            yield from self.trainer.train_batches.epoch(epoch, 0, self.trainer.steps_per_epoch)


@dataclass(frozen=True)
class _TimedTransform:
    """A random transform of images that is timed."""

    transform: Transform
    watch: Stopwatch

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        with self.watch.around(AUGMENTATION):
            return self.transform(images, rng, key)
