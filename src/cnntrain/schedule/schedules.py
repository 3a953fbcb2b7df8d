"""Learning rate as a function of the step, after a linear warm-up (O7–O10), and momentum likewise (O3).

The plateau schedule also depends on the validation error of each epoch.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any

Shape = Callable[[int], float]


class Schedule:
    """The factor on the learning rate at each step: (step + 1)/warmup during warm-up, then shape(step)."""

    def __init__(self, shape: Shape, warmup: int):
        self.shape = shape
        self.warmup = warmup

    def factor(self, step: int) -> float:
        """Return the factor for the update that follows `step` updates."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self.shape(step)

    def after_epoch(self, val_error: float | None) -> None:
        """Process the validation error of an epoch; only the plateau schedule uses it."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that cannot be computed from the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""


class Plateau(Schedule):
    """A rate multiplied by `factor` after each `patience` epochs without a lower validation error (O8)."""

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
    """Return the constant factor 1 as a function of the step."""
    return lambda step: 1.0


def milestones(steps: list[int], factor: float) -> Shape:
    """Return factor^(number of entries of `steps` at or before the step) as a function of the step."""
    return lambda step: factor ** bisect.bisect_right(steps, step)


def every(steps: int, factor: float) -> Shape:
    """Return factor^floor(step / steps) as a function of the step."""
    return lambda step: factor ** (step // steps)


def exponential(rate: float, warmup: int) -> Shape:
    """Return e^(-rate·t), t being the number of steps since the warm-up."""
    return lambda step: math.exp(-rate * (step - warmup))


def inverse(rate: float, warmup: int) -> Shape:
    """Return 1/(1 + rate·t), t being the number of steps since the warm-up."""
    return lambda step: 1 / (1 + rate * (step - warmup))


def cosine(steps: int, warmup: int, final: float) -> Shape:
    """Return half a cosine period, from 1 at the end of the warm-up to `final` after `steps` steps."""
    length = max(1, steps - warmup)

    def factor(step: int) -> float:
        progress = min(1.0, (step - warmup) / length)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def linear(steps: int, warmup: int, final: float) -> Shape:
    """Return a linear fall from 1 at the end of the warm-up to `final` after `steps` steps."""
    length = max(1, steps - warmup)
    return lambda step: 1 + (final - 1) * min(1.0, (step - warmup) / length)


def triangle(steps: int, warmup: int, peak: float, initial: float, final: float) -> Shape:
    """Return a linear rise from `initial` to 1, then a linear fall to `final`.

    The maximum is at the fraction `peak` of the steps after the warm-up.
    """
    length = max(1, steps - warmup)

    def factor(step: int) -> float:
        progress = min(1.0, (step - warmup) / length)
        if progress < peak:
            return initial + (1 - initial) * progress / peak
        return 1 + (final - 1) * (progress - peak) / (1 - peak)

    return factor


def rising(start: float, end: float, steps: int) -> Shape:
    """Return a linear change from `start` at the first step to `end` at the last of `steps`, then `end`."""
    return lambda step: start + (end - start) * min(1.0, step / max(1, steps - 1))
