"""When a checkpoint is written within an epoch, and when the time limit of a run has passed."""

from __future__ import annotations

import time

from ..errors import Interrupted
from ..runs.run_progress import Progress
from .settings import Trainer as Settings


class CheckpointTimer:
    """Timing of a run's checkpoints (trainer.checkpoint_every_…) and of its end (trainer.max_minutes)."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._started = self._counted = self._saved = time.perf_counter()

    def start(self) -> None:
        """Start timing; times are added to those of earlier processes of the run."""
        self._started = self._counted = self._saved = time.perf_counter()

    def due(self, step: int) -> bool:
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
