"""The progress of a run, and its times: when to save, when to stop, how fast it trains."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..errors import Interrupted
from .settings import Trainer as Settings


@dataclass
class Progress:
    """The progress of a run: all that its next step depends on besides weights, optimizer and schedule.

    best_error: the lowest validation error so far, of epoch best_epoch, whose metrics are best_values and
    whose weights are those of its "last_step" or their "average" (best_weights). rows: of metrics.jsonl.
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
        """Count one update from so many images."""
        self.step += 1
        self.step_in_epoch += 1
        self.images += images

    def after_epoch(self) -> None:
        """Count one epoch."""
        self.epoch += 1
        self.step_in_epoch = 0


class Clock:
    """The times of a run: when to save, when to stop, how fast it trains."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._started = self._counted = self._saved = self._rate_from = self._training_from = 0.0
        self._rate_images = self._training_images = 0

    def start(self, progress: Progress) -> None:
        """Begin to count, on top of what earlier processes of the run have counted."""
        self._started = self._counted = self._saved = time.perf_counter()
        self.resume_training(progress)

    def checkpoint_due(self, step: int) -> bool:
        """Return whether a checkpoint in the middle of an epoch is due after `step` updates."""
        steps, minutes = self.settings.checkpoint_every_steps, self.settings.checkpoint_every_minutes
        if steps is not None and step % steps == 0:
            return True
        return minutes is not None and time.perf_counter() - self._saved > 60 * minutes

    def saved(self, progress: Progress) -> None:
        """Note that a checkpoint is being written, and bring the run's seconds up to date."""
        now = time.perf_counter()
        progress.wall_seconds += now - self._counted
        self._counted = self._saved = now

    def time_is_up(self) -> Interrupted | None:
        """Return the reason to stop once trainer.max_minutes have passed."""
        minutes = self.settings.max_minutes
        if minutes is None or time.perf_counter() - self._started < 60 * minutes:
            return None
        return Interrupted(f"stopped after trainer.max_minutes={minutes:g}", 0)

    def images_per_second(self, images: int) -> float:
        """Return the training throughput since the last call, or since the epoch began."""
        now = time.perf_counter()
        rate = (images - self._rate_images) / (now - self._rate_from)
        self._rate_from, self._rate_images = now, images
        return rate

    def epoch_done(self, progress: Progress) -> float:
        """Stop counting training time, as validation and saving follow; return the epoch's throughput."""
        seconds = time.perf_counter() - self._training_from
        progress.training_seconds += seconds
        return (progress.images - self._training_images) / seconds

    def resume_training(self, progress: Progress) -> None:
        """Count training time from now on."""
        self._training_from = self._rate_from = time.perf_counter()
        self._training_images = self._rate_images = progress.images
