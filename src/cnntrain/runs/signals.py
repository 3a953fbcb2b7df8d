"""Ctrl-C and SIGTERM: the first one lets the current step end and the state be saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted, interrupted_by

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Remembers the first signal to stop, for the loop to see after each step; a second one ends at once."""

    def __init__(self) -> None:
        self.received: Interrupted | None = None

    @contextmanager
    def caught(self) -> Iterator[StopSignals]:
        """Catch signals inside; what was set before comes back after."""
        before = {number: signal.signal(number, self._note) for number in STOPPING}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise interrupted_by(number, "stopped at once; the last checkpoint stands")
        self.received = interrupted_by(number, "stopped after saving")


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Turn SIGTERM outside the loop into Interrupted, so that locks are released on the way out."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise interrupted_by(number, "stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
