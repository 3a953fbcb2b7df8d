"""Settings of running averages of the weights (group `averaging`; E4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from .average import Average

BATCH_NORM_HELP = (
    "training batches from which batch-norm statistics are recomputed for the average before its evaluation; "
    "0: use those of the current weights"
)


@dataclass
class Averaging(Option):
    """Method common to all averages.

    The average is evaluated on the validation split in addition to the current weights; the better of the
    two at the best epoch becomes the run's network.
    """

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: float) -> Average | None:
        """Return the running average of these weights during a run, or None."""
        raise NotImplementedError


@dataclass
class NoAverage(Averaging):
    """No averaging: the weights of the last step."""

    name: str = fixed("none")

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: float) -> Average | None:
        return None


@dataclass
class Ema(Averaging):
    """Exponential moving average: w̄ = decay·w̄ + (1 - decay)·w after each step (E4)."""

    name: str = fixed("ema")
    decay: float = setting(
        0.999,
        "decay of the average per step; at step t at most (1 + t)/(10 + t), so that the random initial "
        "weights soon become negligible",
        ge=0,
        lt=1,
    )
    batch_norm_batches: int = setting(50, BATCH_NORM_HELP, ge=0)

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: float) -> Average:
        from .average import Exponential

        return Exponential(weights, self.batch_norm_batches, self.decay)


@dataclass
class Swa(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of the last epochs (Izmailov et al.
    2018; E4). It helps most if the learning rate stays high, as with schedule=constant or step."""

    name: str = fixed("swa")
    start: float = setting(0.75, "fraction of the run after which weights are averaged", ge=0, lt=1)
    batch_norm_batches: int = setting(50, BATCH_NORM_HELP, ge=0)

    def build(self, weights: Iterable[Tensor], steps_per_epoch: int, epochs: float) -> Average:
        from .average import Mean

        return Mean(
            weights, self.batch_norm_batches, steps_per_epoch, int(self.start * epochs * steps_per_epoch)
        )
