"""The progress of a run, and its timing: checkpoint intervals, time limit, throughput."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..errors import Interrupted
from .settings import Trainer as Settings


@dataclass
class Progress:
    """The progress of a run: everything its next step depends on besides weights, optimizer and schedule.

    best_error: the lowest validation error so far, reached in epoch best_epoch with metrics best_values by
    best_weights: those of the "last_step" or the "average". rows: number of rows in metrics.jsonl.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best_epoch: int = 0
    best_error: float | None = None
    best_values: dict[str, float] = field(default_factory=dict)
    best_weights: str = "last_step"
    stopped_early: bool = False
    rows: int = 0
    wall_seconds: float = 0.0
    training_seconds: float = 0.0
    images: int = 0

    def after_step(self, images: int) -> None:
        """Count one update from `images` images."""
        self.step += 1
        self.step_in_epoch += 1
        self.images += images

    def after_epoch(self) -> None:
        """Count one epoch."""
        self.epoch += 1
        self.step_in_epoch = 0


class Clock:
    """Timing of a run: checkpoint intervals, time limit, throughput."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._started = self._counted = self._saved = self._rate_from = self._training_from = 0.0
        self._rate_images = self._training_images = 0

    def start(self, progress: Progress) -> None:
        """Start timing; times are added to those of earlier processes of the run."""
        self._started = self._counted = self._saved = time.perf_counter()
        self.resume_training(progress)

    def checkpoint_due(self, step: int) -> bool:
        """Return whether a checkpoint within an epoch is due after `step` updates."""
        steps, minutes = self.settings.checkpoint_every_steps, self.settings.checkpoint_every_minutes
        if steps is not None and step % steps == 0:
            return True
        return minutes is not None and time.perf_counter() - self._saved > 60 * minutes

    def saved(self, progress: Progress) -> None:
        """Note the time of a checkpoint, and update the run's wall_seconds."""
        now = time.perf_counter()
        progress.wall_seconds += now - self._counted
        self._counted = self._saved = now

    def time_is_up(self) -> Interrupted | None:
        """Return the exception that stops the run once trainer.max_minutes have passed, None before."""
        minutes = self.settings.max_minutes
        if minutes is None or time.perf_counter() - self._started < 60 * minutes:
            return None
        return Interrupted(f"stopped after trainer.max_minutes={minutes:g}", 0)

    def images_per_second(self, images: int) -> float:
        """Return the training throughput since the last call or the start of the epoch."""
        now = time.perf_counter()
        rate = (images - self._rate_images) / (now - self._rate_from)
        self._rate_from, self._rate_images = now, images
        return rate

    def epoch_done(self, progress: Progress) -> float:
        """Stop the training timer before validation and saving; return the epoch's throughput."""
        seconds = time.perf_counter() - self._training_from
        progress.training_seconds += seconds
        return (progress.images - self._training_images) / seconds

    def resume_training(self, progress: Progress) -> None:
        """Start the training timer."""
        self._training_from = self._rate_from = time.perf_counter()
        self._training_images = self._rate_images = progress.images
