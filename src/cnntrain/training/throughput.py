"""The throughput of training, in images per second, without validation and saving."""

from __future__ import annotations

import time

from ..runs.run_progress import Progress


class Throughput:
    """Measures images per second between two records and over an epoch.

    The timer runs during training only: `start` it before the first step and after each validation, stop it
    by `epoch_done` before validation.
    """

    def __init__(self) -> None:
        self._record_from = self._epoch_from = time.perf_counter()
        self._record_images = self._epoch_images = 0

    def start(self, progress: Progress) -> None:
        """Start the timer."""
        self._epoch_from = self._record_from = time.perf_counter()
        self._epoch_images = self._record_images = progress.images

    def since_record(self, images: int) -> float:
        """Return the images per second since the last call or `start`; images: the run's number so far."""
        now = time.perf_counter()
        rate = (images - self._record_images) / (now - self._record_from)
        self._record_from, self._record_images = now, images
        return rate

    def epoch_done(self, progress: Progress) -> float:
        """Stop the timer, add its time to the run's training_seconds, and return the images per second."""
        seconds = time.perf_counter() - self._epoch_from
        progress.training_seconds += seconds
        return (progress.images - self._epoch_images) / seconds
