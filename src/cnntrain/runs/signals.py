"""Handling of Ctrl-C and SIGTERM: after the first, the current step is completed and the state saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted, interrupted_by

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Stores the first stop signal, which the loop checks after each step; a second one stops immediately."""

    def __init__(self) -> None:
        self.received: Interrupted | None = None
        self.number = 0

    @contextmanager
    def caught(self) -> Iterator[StopSignals]:
        """Catch signals inside the context; restores the previous handlers on exit."""
        before = {number: signal.signal(number, self._on_signal) for number in STOPPING}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise interrupted_by(number, "stopped immediately; the last checkpoint is intact")
        self.number = number
        self.received = interrupted_by(number, "stopped after saving")


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Raise Interrupted on SIGTERM outside the training loop, so that locks are released."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise interrupted_by(number, "stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
