"""The number of updates of a run, whose last epoch may be a part of one."""

from __future__ import annotations

import math


def total_steps(steps_per_epoch: int, epochs: float) -> int:
    """Return the updates in so many epochs, rounded up where the last one is a part of an epoch."""
    return math.ceil(round(steps_per_epoch * epochs, 6))
