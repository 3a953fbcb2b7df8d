"""Stop signals: in training, the current step is completed and saved; elsewhere they are exceptions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted, interrupted_by

# SIGHUP comes from a closed terminal; SIGUSR1, SIGUSR2 and SIGXCPU from schedulers before a time limit.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class StopSignals:
    """Stores the first stop signal, which the loop checks after each step; a second one stops immediately."""

    def __init__(self) -> None:
        self.received: Interrupted | None = None
        self.number = 0

    @contextmanager
    def caught(self) -> Iterator[StopSignals]:
        """Catch signals inside the context; restores the previous handlers on exit."""
        with _handled_by(self._on_signal):
            yield self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise interrupted_by(number, "stopped immediately; the last checkpoint is intact")
        self.receive(number)

    def receive(self, number: int) -> None:
        """Store a stop signal, that of this process or of one with which it trains together."""
        self.number = number
        self.received = interrupted_by(number, "stopped after saving")


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise Interrupted on a stop signal inside the context, so that locks are released."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise interrupted_by(number, "stopped")

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler: object) -> Iterator[None]:
    # A signal that is ignored stays so: nohup ignores SIGHUP, shells SIGINT of jobs in the background.
    handled = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
