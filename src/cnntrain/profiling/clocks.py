"""Clocks by which parts of training are timed: of the processor, or of a device's stream."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch


class Clock(Protocol):
    """Marks moments, and tells afterwards how many seconds lay between two of them."""

    def mark(self) -> Any:
        """Return this moment."""

    def seconds(self, first: Any, last: Any) -> float:
        """Return the seconds from one moment to another."""


class ProcessorClock:
    """The time of the process, for devices that work while the process waits."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, first: float, last: float) -> float:
        return last - first


class MpsClock(ProcessorClock):
    """The time of the process at moments when an MPS device has done what it was given."""

    def mark(self) -> float:
        torch.mps.synchronize()
        return super().mark()


class CudaClock:
    """The time of a CUDA stream: a moment is an event, reached when the work before it is done.

    So nothing waits while training is measured, and what the processor does meanwhile takes no time, unless
    the device waits for it.
    """

    def __init__(self, device: torch.device):
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, first: torch.cuda.Event, last: torch.cuda.Event) -> float:
        last.synchronize()
        return float(first.elapsed_time(last)) / 1000


def clock_of(device: torch.device) -> Clock:
    """Return the clock of a device."""
    if device.type == "cuda":
        return CudaClock(device)
    return MpsClock() if device.type == "mps" else ProcessorClock()
