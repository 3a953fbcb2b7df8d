"""Settings of the learning-rate schedules (group `schedule`): each a factor on `optim.lr` by the step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..settings.fields import fixed, setting
from ..settings.option import Notice, Option

if TYPE_CHECKING:
    from .schedules import Plateau as PlateauFactor
    from .schedules import Schedule as ScheduleFactor


UNIT = "unit in which t and the rate count"


@dataclass
class Schedule(Option):
    """What every schedule has: a linear warm-up before it."""

    # Whether the learning rate depends on the validation error.
    needs_validation: ClassVar[bool] = False

    warmup_epochs: float | None = setting(
        None, "epochs in which the rate rises linearly from 0 to optim.lr; null: a tenth of the run", ge=0
    )

    def epochs_problems(self, epochs: int) -> Iterator[str]:
        """Yield a line for each setting that does not fit a run of `epochs`; a `Notice` is no problem."""
        if self.warmup_epochs is not None and self.warmup_epochs >= epochs:
            longer = "longer than" if self.warmup_epochs > epochs else "as long as"
            yield f"schedule.warmup_epochs={self.warmup_epochs:g}: {longer} the run (trainer.epochs={epochs})"

    def warmup_steps(self, steps_per_epoch: int, epochs: int) -> int:
        """Return the number of updates that warm up."""
        warmup_epochs = epochs / 10 if self.warmup_epochs is None else self.warmup_epochs
        return round(warmup_epochs * steps_per_epoch)

    def build(self, steps_per_epoch: int, epochs: int) -> ScheduleFactor:
        """Return the function step → factor on the learning rate, step counted from 0."""
        from . import schedules

        warmup = self.warmup_steps(steps_per_epoch, epochs)
        shape = self.shape(steps_per_epoch, steps_per_epoch * epochs, warmup)
        return schedules.Schedule(shape, warmup)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        """Return the factor by the step for a run of `steps` of which `warmup` warm up."""
        raise NotImplementedError


@dataclass
class Constant(Schedule):
    """The same learning rate throughout (O10)."""

    name: str = fixed("constant")

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.constant()


@dataclass
class Step(Schedule):
    """Multiply by a factor at milestones, or every so many epochs (O7)."""

    name: str = fixed("step")
    factor: float = setting(0.1, "what the rate is multiplied by at each milestone", gt=0, lt=1)
    milestones: list[float] | None = setting(
        None, "epochs after which the rate falls, rising; null: every `every_epochs`", gt=0
    )
    every_epochs: float | None = setting(
        None, "epochs between two falls; null with milestones null: after ½ and ¾ of the run", gt=0
    )

    def problems(self) -> Iterator[str]:
        if self.milestones is None:
            return
        if any(one >= other for one, other in itertools.pairwise(self.milestones)):
            rising = ",".join(f"{entry:g}" for entry in sorted(set(self.milestones)))
            yield f"{self._written()}: must rise; write [{rising}]"
        if self.every_epochs is not None:
            given = f"schedule.every_epochs={self.every_epochs:g} is given too"
            yield f"{self._written()}: {given}; keep one of the two"

    def epochs_problems(self, epochs: int) -> Iterator[str]:
        yield from super().epochs_problems(epochs)
        late = [entry for entry in self.milestones or [] if entry >= epochs]
        if late:
            yield Notice(f"{self._written()}: {late[0]:g} is not before the end (trainer.epochs={epochs})")

    def _written(self) -> str:
        return f"schedule.milestones=[{','.join(f'{entry:g}' for entry in self.milestones or [])}]"

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        if self.milestones is not None:
            falls = [round(epoch * steps_per_epoch) for epoch in self.milestones]
        elif self.every_epochs is not None:
            return schedules.every(max(1, round(self.every_epochs * steps_per_epoch)), self.factor)
        else:
            falls = [steps // 2, 3 * steps // 4]
        return schedules.milestones(falls, self.factor)


@dataclass
class Exponential(Schedule):
    """lr·e^(-rate·t), t in epochs or steps after the warm-up (O9)."""

    name: str = fixed("exponential")
    rate: float = setting(0.1, "decay per unit: after 1/rate units the rate has fallen to 37 %", gt=0)
    per: str = setting("epoch", UNIT, choices=("epoch", "step"))

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.exponential(_per_step(self.rate, self.per, steps_per_epoch), warmup)


@dataclass
class Inverse(Schedule):
    """1/t decay: lr / (1 + rate·t), t in epochs or steps after the warm-up (O9)."""

    name: str = fixed("inverse")
    rate: float = setting(0.2, "decay per unit: after 1/rate units the rate has halved", gt=0)
    per: str = setting("epoch", UNIT, choices=("epoch", "step"))

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.inverse(_per_step(self.rate, self.per, steps_per_epoch), warmup)


@dataclass
class Cosine(Schedule):
    """Half a cosine from the full rate down to `final`·lr at the end (Loshchilov & Hutter 2017; O10)."""

    name: str = fixed("cosine")
    final: float = setting(0.0, "share of the rate left at the end", ge=0, le=1)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.cosine(steps, warmup, self.final)


@dataclass
class OneCycle(Schedule):
    """A triangle: linearly up to the full rate at `peak` of the run, then linearly down (Smith 2018; O10)."""

    name: str = fixed("one_cycle")
    peak: float = setting(0.3, "share of the run after which the rate is highest", gt=0, lt=1)
    initial: float = setting(0.04, "share of the rate at the first step", ge=0, le=1)
    final: float = setting(0.0, "share of the rate left at the end", ge=0, le=1)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.triangle(steps, warmup, self.peak, self.initial, self.final)


@dataclass
class Plateau(Schedule):
    """Multiply by a factor when the validation error has stopped falling (O8)."""

    needs_validation: ClassVar[bool] = True

    name: str = fixed("plateau")
    factor: float = setting(0.5, "what the rate is multiplied by", gt=0, lt=1)
    patience_epochs: int = setting(3, "epochs without a lower validation error before the rate falls", ge=1)

    def build(self, steps_per_epoch: int, epochs: int) -> PlateauFactor:
        """Return the factor by the step, which `after_epoch` lowers by the record of validation errors."""
        from . import schedules

        warmup = self.warmup_steps(steps_per_epoch, epochs)
        return schedules.Plateau(warmup, self.factor, self.patience_epochs)


def _per_step(rate: float, per: str, steps_per_epoch: int) -> float:
    return rate if per == "step" else rate / steps_per_epoch
