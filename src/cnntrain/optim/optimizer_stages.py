"""The sequence of optimizers of a run (O11), with their learning rates and momenta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer

from ..schedule.schedules import Schedule

# Key in an optimizer's parameter group: the factor on its learning rate.
LR_SCALE = "lr_scale"


@dataclass(frozen=True)
class Stage:
    """An optimizer, the step from which it is used, its learning rate and its decoupled weight decay.

    line_search: whether one step evaluates loss and gradient several times. momentum: the momentum as a
    function of the step, None if it is constant (O3). any_state: whether the state of a weight may be of any
    names and shapes, as of optimizers that are not known here.
    """

    from_step: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    line_search: bool = False
    momentum: Callable[[int], float] | None = None
    any_state: bool = False


@dataclass(frozen=True)
class OptimizerStages:
    """The optimizers of a run; selects optimizer, learning rate and momentum of each update."""

    stages: list[Stage]
    schedule: Schedule

    def stage(self, step: int) -> Stage:
        """Return the stage of the update that follows `step` updates."""
        return [stage for stage in self.stages if stage.from_step <= step][-1]

    def lr(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` updates."""
        return self.stage(step).lr * self.schedule.factor(step)

    def momentum(self, step: int) -> float | None:
        """Return the momentum of the update that follows `step` updates, None if the optimizer has none."""
        stage = self.stage(step)
        if stage.momentum is not None:
            return stage.momentum(step)
        group = stage.optimizer.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group.get("momentum")
        return None if momentum is None else float(momentum)
