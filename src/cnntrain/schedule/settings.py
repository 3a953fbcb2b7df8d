"""Settings of the learning-rate schedules (group `schedule`): factors on `optim.lr` per step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import fixed, setting
from ..settings.option import Notice, Option
from ..settings.run_length import total_steps

if TYPE_CHECKING:
    from ..user_code import UserFunction
    from .schedules import Plateau as PlateauFactor
    from .schedules import Schedule as ScheduleFactor


PER_HELP = "unit of t and of the rate"


@dataclass
class Schedule(Option):
    """Settings and methods common to all schedules, including a linear warm-up."""

    # Whether the learning rate depends on the validation error.
    needs_validation: ClassVar[bool] = False

    warmup_epochs: float | None = setting(
        None,
        "epochs of linear increase of the learning rate from 0 to optim.lr; null: 1/10 of the run",
        ge=0,
    )

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        """Yield an error, or a `Notice`, for each setting that does not fit a run of `epochs`."""
        if self.warmup_epochs is not None and self.warmup_epochs >= epochs:
            longer = "longer than" if self.warmup_epochs > epochs else "as long as"
            yield f"schedule.warmup_epochs={self.warmup_epochs:g}: {longer} the run (trainer.epochs={epochs})"

    def warmup_steps(self, steps_per_epoch: int, epochs: float) -> int:
        """Return the number of warm-up steps."""
        return round(self._warmup_epochs(epochs) * steps_per_epoch)

    def _warmup_epochs(self, epochs: float) -> float:
        return epochs / 10 if self.warmup_epochs is None else self.warmup_epochs

    def build(self, steps_per_epoch: int, epochs: float) -> ScheduleFactor:
        """Return the schedule, step → factor on the learning rate, with steps counted from 0."""
        from . import schedules

        warmup = self.warmup_steps(steps_per_epoch, epochs)
        shape = self.shape(steps_per_epoch, total_steps(steps_per_epoch, epochs), warmup)
        return schedules.Schedule(shape, warmup)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        """Return step → factor for a run of `steps`, of which the first `warmup` are warm-up steps."""
        raise NotImplementedError


@dataclass
class Constant(Schedule):
    """A constant learning rate (O10)."""

    name: str = fixed("constant")

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.constant()


@dataclass
class Step(Schedule):
    """Multiply the learning rate by a factor at milestones, or at regular intervals (O7)."""

    name: str = fixed("step")
    factor: float = setting(0.1, "factor on the learning rate at each milestone", gt=0, lt=1)
    milestones: list[float] | None = setting(
        None, "epochs after which the learning rate is reduced, ascending; null: every `every_epochs`", gt=0
    )
    every_epochs: float | None = setting(
        None, "epochs between reductions; null, with milestones null too: after ½ and ¾ of the run", gt=0
    )

    def problems(self) -> Iterator[str]:
        if self.milestones is None:
            return
        if any(first >= second for first, second in itertools.pairwise(self.milestones)):
            ascending = ",".join(f"{entry:g}" for entry in sorted(set(self.milestones)))
            yield f"{self._override()}: must be ascending; write [{ascending}]"
        if self.every_epochs is not None:
            other = f"schedule.every_epochs={self.every_epochs:g} is set too"
            yield f"{self._override()}: {other}; keep one of the two"

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        yield from super().epochs_problems(epochs)
        late = [entry for entry in self.milestones or [] if entry >= epochs]
        if late:
            yield Notice(f"{self._override()}: {late[0]:g} is not before the end (trainer.epochs={epochs})")
        first = self.every_epochs if self.milestones is None else min(self.milestones, default=None)
        warmup = self._warmup_epochs(epochs)
        if first is not None and first <= warmup:
            given = self._override() if self.milestones else f"schedule.every_epochs={first:g}"
            yield Notice(
                f"{given}: the rate is reduced after {first:g} epochs, which is not after the warm-up of "
                f"{warmup:g}, so that hardly any epoch has optim.lr itself; write a later one, or "
                "schedule.warmup_epochs=0"
            )

    def _override(self) -> str:
        """Return the milestones as an override of the command line."""
        return f"schedule.milestones=[{','.join(f'{entry:g}' for entry in self.milestones or [])}]"

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        if self.milestones is not None:
            reductions = [round(epoch * steps_per_epoch) for epoch in self.milestones]
        elif self.every_epochs is not None:
            return schedules.every(max(1, round(self.every_epochs * steps_per_epoch)), self.factor)
        else:
            reductions = [steps // 2, 3 * steps // 4]
        return schedules.milestones(reductions, self.factor)


@dataclass
class Exponential(Schedule):
    """Exponential decay: lr·e^(-rate·t), with t in epochs or steps after the warm-up (O9)."""

    name: str = fixed("exponential")
    rate: float = setting(0.1, "decay rate: after 1/rate units the learning rate has fallen to 37 %", gt=0)
    per: str = setting("epoch", PER_HELP, choices=("epoch", "step"))

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.exponential(_per_step(self.rate, self.per, steps_per_epoch), warmup)


@dataclass
class Inverse(Schedule):
    """1/t decay: lr / (1 + rate·t), with t in epochs or steps after the warm-up (O9)."""

    name: str = fixed("inverse")
    rate: float = setting(0.2, "decay rate: after 1/rate units the learning rate has halved", gt=0)
    per: str = setting("epoch", PER_HELP, choices=("epoch", "step"))

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.inverse(_per_step(self.rate, self.per, steps_per_epoch), warmup)


@dataclass
class Cosine(Schedule):
    """Half a cosine from lr after the warm-up to `final`·lr at the end (Loshchilov & Hutter 2017; O10)."""

    name: str = fixed("cosine")
    final: float = setting(0.0, "final learning rate as a fraction of optim.lr", ge=0, le=1)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.cosine(steps, warmup, self.final)


@dataclass
class Linear(Schedule):
    """A linear decrease from lr after the warm-up to `final`·lr at the end (O10)."""

    name: str = fixed("linear")
    final: float = setting(0.0, "final learning rate as a fraction of optim.lr", ge=0, le=1)

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.linear(steps, warmup, self.final)


@dataclass
class OneCycle(Schedule):
    """One cycle: linear increase to lr at the fraction `peak` of the run, then linear decrease (Smith 2018;
    O10)."""

    name: str = fixed("one_cycle")
    peak: float = setting(0.3, "fraction of the run after which the learning rate is highest", gt=0, lt=1)
    initial: float = setting(0.04, "initial learning rate as a fraction of optim.lr", ge=0, le=1)
    final: float = setting(0.0, "final learning rate as a fraction of optim.lr", ge=0, le=1)

    def problems(self) -> Iterator[str]:
        if self.warmup_epochs:
            yield (
                f"schedule.warmup_epochs={self.warmup_epochs:g}: one_cycle begins with a rise of its own, "
                "from schedule.initial to schedule.peak; leave it out"
            )

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from . import schedules

        return schedules.triangle(steps, warmup, self.peak, self.initial, self.final)


@dataclass
class Plateau(Schedule):
    """Multiply the learning rate by a factor when the validation metric no longer improves (O8)."""

    needs_validation: ClassVar[bool] = True

    name: str = fixed("plateau")
    factor: float = setting(0.5, "factor on the learning rate", gt=0, lt=1)
    patience_epochs: int = setting(3, "epochs without a better validation metric before a reduction", ge=1)

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        yield from super().epochs_problems(epochs)
        if self.patience_epochs >= epochs - 1:
            patience = f"schedule.patience_epochs={self.patience_epochs}"
            yield Notice(f"{patience}: no reduction comes before the end (trainer.epochs={epochs})")

    def build(self, steps_per_epoch: int, epochs: float) -> PlateauFactor:
        """Return the schedule, whose `after_epoch` lowers the factor depending on the validation errors."""
        from . import schedules

        warmup = self.warmup_steps(steps_per_epoch, epochs)
        return schedules.Plateau(warmup, self.factor, self.patience_epochs)


@dataclass
class Custom(Schedule):
    """A schedule of your own: the factor on optim.lr that function(step, total_steps, **arguments) returns.

    Steps are counted from 0 after the warm-up, and total_steps are those after it.
    """

    name: str = fixed("custom")
    function: str = setting("", "package.module:function, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments besides step and total_steps")

    def problems(self) -> Iterator[str]:
        yield from self._user_function().problems()

    def shape(self, steps_per_epoch: int, steps: int, warmup: int) -> Callable[[int], float]:
        from .custom_schedule import custom_shape

        return custom_shape(self._user_function(), steps, warmup)

    def _user_function(self) -> UserFunction:
        from ..user_code import UserFunction

        return UserFunction("schedule.function", self.function, self.arguments, ("step", "total_steps"))


def _per_step(rate: float, per: str, steps_per_epoch: int) -> float:
    return rate if per == "step" else rate / steps_per_epoch
