"""The optimizers of a run, one after the other (O11), and their learning rates and momenta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer

from ..schedule.schedules import Schedule

# The key of an optimizer's parameter group for the factor on its learning rate.
LR_SCALE = "lr_scale"


@dataclass(frozen=True)
class Stage:
    """An optimizer and the step from which it acts, with its learning rate and its own decoupled decay.

    line_search: its step evaluates loss and gradient several times. momentum: that of each step of the
    run, where it changes (O3).
    """

    from_step: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    line_search: bool = False
    momentum: Callable[[int], float] | None = None


@dataclass(frozen=True)
class OptimizerStages:
    """The optimizers of a run, and which of them makes each update, with which learning rate and momentum."""

    stages: list[Stage]
    schedule: Schedule

    def stage(self, step: int) -> Stage:
        """Return the optimizer of the update that follows `step` updates."""
        return [stage for stage in self.stages if stage.from_step <= step][-1]

    def lr(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` updates."""
        return self.stage(step).lr * self.schedule.factor(step)

    def momentum(self, step: int) -> float | None:
        """Return the momentum of the update that follows `step` updates, None where there is none."""
        stage = self.stage(step)
        if stage.momentum is not None:
            return stage.momentum(step)
        group = stage.optimizer.param_groups[0]
        found = group["betas"][0] if "betas" in group else group.get("momentum")
        return None if found is None else float(found)
