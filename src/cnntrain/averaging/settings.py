"""Settings of running averages of the weights (group `averaging`), kept beside them (E4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from .average import Average

BATCH_NORM = (
    "training batches from which the average's batch-norm statistics are found anew before it is measured; "
    "0: those of the weights themselves"
)


@dataclass
class Averaging(Option):
    """What every average has. It is measured on the validation split beside the weights themselves;
    the better of the two at the best epoch is the run's network."""

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: int) -> Average | None:
        """Return the average of these weights over a run, None where there is none."""
        raise NotImplementedError


@dataclass
class NoAverage(Averaging):
    """The weights of the last step alone."""

    name: str = fixed("none")

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: int) -> Average | None:
        return None


@dataclass
class Ema(Averaging):
    """Exponential moving average: w̄ = decay·w̄ + (1 - decay)·w after each step (E4)."""

    name: str = fixed("ema")
    decay: float = setting(
        0.999,
        "share of the average kept at each step; in the first steps t at most (1 + t)/(10 + t), so that the "
        "random start is soon forgotten",
        ge=0,
        lt=1,
    )
    batch_norm_batches: int = setting(50, BATCH_NORM, ge=0)

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: int) -> Average:
        from .average import Exponential

        return Exponential(weights, self.batch_norm_batches, self.decay)


@dataclass
class Swa(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of the last epochs (Izmailov et al.
    2018; E4). It gains most where the rate stays high: schedule=constant, or step."""

    name: str = fixed("swa")
    start: float = setting(0.75, "share of the run after which weights are averaged", ge=0, lt=1)
    batch_norm_batches: int = setting(50, BATCH_NORM, ge=0)

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: int) -> Average:
        from .average import Mean

        return Mean(
            weights, self.batch_norm_batches, steps_per_epoch, int(self.start * epochs * steps_per_epoch)
        )
