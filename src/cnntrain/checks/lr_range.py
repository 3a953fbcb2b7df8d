"""The learning-rate range test (Smith 2017): a short training with an exponentially rising learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ..data.batches import Batches
from ..errors import Diverged
from ..optim.optimizer_stages import OptimizerStages
from ..schedule.schedules import Schedule
from ..training.nonfinite import NonFinite
from ..training.training_step import TrainingStep

# The loss is smoothed by an exponential average; the test ends when it is this multiple of its minimum.
SMOOTHING, STOP_FACTOR = 0.9, 4.0
# The suggestion is this fraction of the rate with the lowest loss, from which on training is unstable.
SAFETY = 0.1
# Of the difference between the first losses and the lowest smoothed one, which is the lowest of many.
STANDARD_ERRORS = 4.0


@dataclass(frozen=True)
class RangeTest:
    """The losses of the steps of a range test; smoothed: their exponential average, corrected for its start.

    diverged: whether the loss rose far above its minimum, or was not finite, within the range.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool

    @property
    def _first_steps(self) -> int:
        """The number of steps at so small rates that the loss has not fallen yet."""
        return max(5, len(self.losses) // 10)

    @property
    def lr_of_minimum(self) -> float:
        """The learning rate at the lowest smoothed loss, the first steps left out, which have hardly any."""
        start = self._first_steps
        later = self.smoothed[start:] or self.smoothed
        return self.lrs[start + later.index(min(later)) if len(self.smoothed) > start else 0]

    @property
    def suggestion(self) -> float | None:
        """A learning rate below the one with the lowest loss, to one digit; None if the loss never fell.

        It has fallen if it is below the mean of the first steps by more than the noise of both.
        """
        start = self._first_steps
        if len(self.losses) <= start:
            return None
        first, lowest = statistics.fmean(self.losses[:start]), min(self.smoothed[start:])
        deviation = statistics.stdev(self.losses[: max(start, len(self.losses) // 4)])
        noise = deviation * math.sqrt(1 / start + (1 - SMOOTHING) / (1 + SMOOTHING))
        if not lowest < min(0.98 * first, first - STANDARD_ERRORS * noise):
            return None
        return float(f"{SAFETY * self.lr_of_minimum:.1g}")


def lr_range_test(
    step: TrainingStep, batches: Batches, smallest: float, largest: float, steps: int
) -> RangeTest:
    """Train with a learning rate from `smallest` to `largest`; changes the step's network and optimizer.

    The losses are those of the data before each update. Raises Diverged if the first is not finite.
    """
    ratio = largest / smallest
    rate: Callable[[int], float] = lambda number: smallest * ratio ** (number / (steps - 1))  # noqa: E731
    stages = step.update.optimizers.stages[:1]
    step.update.optimizers = OptimizerStages(stages, Schedule(lambda number: rate(number) / stages[0].lr, 0))
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for number, (images, labels) in zip(range(steps), _endless(batches), strict=False):
        try:
            result = step.run(number, images, labels, recording=False)
            step.update.skipped.check()
        except NonFinite as error:
            if not losses:
                raise Diverged(
                    f"the first loss is {error.loss:g}, before any update; job=check looks for the reason"
                ) from error
            return RangeTest(lrs, losses, smoothed, True)
        loss = result.update.data_loss.item()
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        lrs.append(rate(number))
        losses.append(loss)
        smoothed.append(average / (1 - SMOOTHING ** (number + 1)))
        if smoothed[-1] > STOP_FACTOR * min(smoothed):
            return RangeTest(lrs, losses, smoothed, True)
    return RangeTest(lrs, losses, smoothed, False)


def _endless(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch, 0, len(batches))
        epoch += 1
