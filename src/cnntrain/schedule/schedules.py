"""Learning rates as functions of the step (plateau: of the record too), after a linear warm-up (O7–O10).

And momentum as a function of the step (O3).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any

Shape = Callable[[int], float]


class Schedule:
    """Step → factor on the learning rate: (step + 1)/warmup while warming up, then the shape."""

    def __init__(self, shape: Shape, warmup: int):
        self.shape = shape
        self.warmup = warmup

    def factor(self, step: int) -> float:
        """Return the factor for the update that follows `step` updates."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self.shape(step)

    def after_epoch(self, val_error: float | None) -> None:
        """Take the validation error of an epoch; only a plateau schedule looks at it."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run cannot compute from the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""


class Plateau(Schedule):
    """A constant rate, times `factor` after `patience` epochs without a lower validation error (O8)."""

    def __init__(self, warmup: int, factor: float, patience: int):
        super().__init__(lambda step: self.level, warmup)
        self.step_factor = factor
        self.patience = patience
        self.level = 1.0
        self.best = math.inf
        self.waited = 0

    def after_epoch(self, val_error: float | None) -> None:
        assert val_error is not None, "checked in the configuration: plateau needs a validation split"
        if val_error < self.best:
            self.best, self.waited = val_error, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.level *= self.step_factor
            self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        return {"level": self.level, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.level, self.best, self.waited = state["level"], state["best"], state["waited"]


def constant() -> Shape:
    """Return 1 at every step."""
    return lambda step: 1.0


def milestones(falls: list[int], factor: float) -> Shape:
    """Return factor^(number of `falls` at or before the step)."""
    return lambda step: factor ** bisect.bisect_right(falls, step)


def every(steps: int, factor: float) -> Shape:
    """Return factor^floor(step / steps)."""
    return lambda step: factor ** (step // steps)


def exponential(rate: float, warmup: int) -> Shape:
    """Return e^(-rate·t), t the steps since the warm-up."""
    return lambda step: math.exp(-rate * (step - warmup))


def inverse(rate: float, warmup: int) -> Shape:
    """Return 1/(1 + rate·t), t the steps since the warm-up."""
    return lambda step: 1 / (1 + rate * (step - warmup))


def cosine(steps: int, warmup: int, final: float) -> Shape:
    """Return half a cosine from 1 after the warm-up to `final` at the end of `steps`."""
    length = max(1, steps - warmup)

    def factor(step: int) -> float:
        progress = min(1.0, (step - warmup) / length)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def triangle(steps: int, warmup: int, peak: float, initial: float, final: float) -> Shape:
    """Return a line from `initial` up to 1 at the share `peak` of the run, then down to `final`."""
    length = max(1, steps - warmup)

    def factor(step: int) -> float:
        progress = min(1.0, (step - warmup) / length)
        if progress < peak:
            return initial + (1 - initial) * progress / peak
        return 1 + (final - 1) * (progress - peak) / (1 - peak)

    return factor


def rising(start: float, end: float, steps: int) -> Shape:
    """Return a straight line from `start` at the first step to `end` at the last of `steps`, then `end`."""
    return lambda step: start + (end - start) * min(1.0, step / max(1, steps - 1))
