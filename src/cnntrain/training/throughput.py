"""The throughput of training, in images per second, without validation and saving; the wait for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..instruments.instrument import DATA, AroundPart, not_followed
from ..runs.metrics_file import Row
from ..runs.run_progress import Progress

T = TypeVar("T")


class Throughput:
    """Measures images per second between two records and over an epoch.

    The timer runs during training only: `start` it before the first step and after each validation, stop it
    by `epoch_done` before validation.
    """

    def __init__(self) -> None:
        self._record_from = self._epoch_from = time.perf_counter()
        self._record_images = self._epoch_images = 0
        self._waited = 0.0

    def start(self, progress: Progress) -> None:
        """Start the timer."""
        self._epoch_from = self._record_from = time.perf_counter()
        self._epoch_images = self._record_images = progress.images
        self._waited = 0.0

    def waiting_for(self, batches: Iterable[T], around_part: AroundPart = not_followed) -> Iterator[T]:
        """Yield the batches; the time until each is there is that of waiting for data."""
        iterator = iter(batches)
        while True:
            started = time.perf_counter()
            with around_part(DATA):
                batch = next(iterator, None)
            if batch is None:
                return
            self._waited += time.perf_counter() - started
            yield batch

    def since_record(self, images: int) -> float:
        """Return the images per second since the last call or `start`; images: the run's number so far."""
        now = time.perf_counter()
        rate = (images - self._record_images) / (now - self._record_from)
        self._record_from, self._record_images = now, images
        return rate

    def epoch_done(self, progress: Progress) -> Row:
        """Stop the timer, add its time to the run's training_seconds, and return the epoch's rates.

        images_per_second, and data_wait: the fraction of the time in which training waited for its batches.
        """
        seconds = time.perf_counter() - self._epoch_from
        progress.training_seconds += seconds
        rate = (progress.images - self._epoch_images) / seconds
        return {"images_per_second": rate, "data_wait": self._waited / seconds}
