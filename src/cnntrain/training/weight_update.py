"""One update of the weights: learning rate, penalties, clipping, decay, optimizer step, projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import DataError
from ..instruments.instrument import UPDATE, Instruments
from ..optim.optimizer_stages import LR_SCALE, OptimizerStages, Stage
from ..regularization.penalties import WeightRegularization
from ..runs.checkpoint_schema import check_structure
from ..runs.optimizer_state import check_optimizer, weights_with_state
from ..without_compiler import make_step
from .nonfinite import NonFinite, SkippedUpdates


@dataclass
class UpdateResult:
    """Losses and gradient norm of an update, still on the device; grad_norm: before clipping."""

    loss: Tensor
    data_loss: Tensor
    regularization_loss: Tensor | float
    grad_norm: Tensor


class Update:
    """Applies gradients to weights.

    `scaler` is enabled for fp16 only, where skipped updates are expected, and counted.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizers: OptimizerStages,
        regularization: WeightRegularization,
        max_grad_norm: float | None,
        device: torch.device,
        fp16: bool,
        instruments: Instruments | None = None,
    ):
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizers = optimizers
        self.regularization = regularization
        self.max_grad_norm = max_grad_norm
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)
        self.instruments = instruments or Instruments()
        self._fp16 = fp16
        self.skipped = SkippedUpdates(device, fp16)

    def parameter_count(self) -> int:
        """Return the number of trained parameters, those that are frozen at some steps included."""
        return sum(weight.numel() for weight in self.weights)

    def apply(self, step: int, backward: Callable[[], Tensor], recording: bool) -> UpdateResult:
        """Update the weights, or skip the update if loss or gradient is not finite.

        `backward` accumulates the gradients of the data loss at the current weights and returns that loss;
        it is called once, or at every point that a line search evaluates. The result's gradient norm is that
        before clipping. Raises NonFinite at once where synchronizing costs nothing; elsewhere
        `skipped.check` raises it.
        """
        stage = self.optimizers.stage(step)
        self._set_groups(stage, step)
        data_loss = backward()
        with self.instruments.around_part(UPDATE):
            return self._apply(stage, step, data_loss, backward, recording)

    def _apply(
        self,
        stage: Stage,
        step: int,
        data_loss: Tensor,
        backward: Callable[[], Tensor],
        recording: bool,
    ) -> UpdateResult:
        """Update the weights by the gradients of the data loss."""
        result = self._with_penalty(stage.optimizer, data_loss)
        finite = self.skipped.finite(step, result.loss, result.grad_norm)
        with self.instruments.around_update(step, recording):
            if stage.line_search:
                if not finite:
                    raise NonFinite(step, result.loss.item(), result.grad_norm.item())
                self._search(stage, result.loss, backward)
            else:
                if self.max_grad_norm is not None and not self._is_short(result.grad_norm):
                    torch.nn.utils.clip_grads_with_norm_(
                        self.weights, self.max_grad_norm, result.grad_norm, foreach=True
                    )
                self._step(stage, finite)
            self.regularization.project()
        stage.optimizer.zero_grad(set_to_none=True)
        return result

    def _is_short(self, norm: Tensor) -> bool:
        """Return whether clipping, which reads and writes each gradient, would multiply by 1.

        The factor is clip_grads_with_norm_'s. On a device it is not known without waiting.
        """
        assert self.max_grad_norm is not None
        return not self.skipped.on_device and bool(self.max_grad_norm / (norm + 1e-6) >= 1)

    def _set_groups(self, stage: Stage, step: int) -> None:
        """Set the learning rate and momentum of this step in the optimizer."""
        lr = self.optimizers.lr(step)
        for group in stage.optimizer.param_groups:
            group["lr"] = lr * group.get(LR_SCALE, 1.0)
            if stage.momentum is not None:
                group["momentum"] = stage.momentum(step)
                if "next_momentum" in group:
                    group["next_momentum"] = stage.momentum(step + 1)

    def _with_penalty(self, optimizer: Optimizer, data_loss: Tensor) -> UpdateResult:
        """Add the penalty to the loss and to the gradients."""
        if self._fp16:
            self.scaler.unscale_(optimizer)
        penalty = self.regularization.loss()
        self.regularization.add_gradients()
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        return UpdateResult(data_loss + penalty, data_loss, penalty, norm)

    def _search(self, stage: Stage, loss: Tensor, backward: Callable[[], Tensor]) -> None:
        """Run a line search; its first evaluation uses the loss and gradients computed already."""
        first_loss = [loss]

        def evaluate() -> Tensor:
            if first_loss:
                value = first_loss.pop()
            else:
                stage.optimizer.zero_grad(set_to_none=True)
                with torch.enable_grad():
                    data_loss = backward()
                value = self._with_penalty(stage.optimizer, data_loss).loss
            # torch's L-BFGS flattens gradients with view(-1), which fails in channels-last order.
            for weight in self.weights:
                weight.grad = None if weight.grad is None else weight.grad.contiguous()
            return value

        make_step(stage.optimizer, evaluate)

    def _step(self, stage: Stage, finite: Tensor) -> None:
        optimizer = stage.optimizer
        if self._fp16:
            self.regularization.decay(stage, finite)
            self.scaler.step(optimizer)
            self.scaler.update()
        elif self.skipped.on_device:
            self.regularization.decay(stage, finite)
            if optimizer.defaults.get("fused") or hasattr(type(optimizer), "found_inf"):
                # GradScaler makes fused optimizers skip through these attributes; ours read found_inf too.
                optimizer.grad_scale = None  # type: ignore[attr-defined]
                optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
                make_step(optimizer)
            elif finite:
                make_step(optimizer)
        else:
            self.regularization.decay(stage)
            make_step(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return everything the next update depends on besides the weights."""
        optimizers = [stage.optimizer.state_dict() for stage in self.optimizers.stages]
        return {
            "optimizers": optimizers,
            "weights_with_state": [weights_with_state(state) for state in optimizers],
            "schedule": self.optimizers.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped.counts.cpu(),
        }

    def check_state(self, state: dict[str, Any], source: str, updates: int) -> None:
        """Raise DataError naming the first part of a stored state that does not fit this update.

        updates: the number of those that the state follows.
        """
        stages, optimizers = self.optimizers.stages, state["optimizers"]
        if len(optimizers) != len(stages):
            raise DataError(f"{source}: update.optimizers must be a list of {len(stages)}")
        numbers = state.get("weights_with_state") or [None] * len(stages)
        if len(numbers) != len(stages):
            raise DataError(f"{source}: update.weights_with_state must be a list of {len(stages)}")
        for number, (stage, stored) in enumerate(zip(stages, optimizers, strict=True)):
            key = f"update.optimizers[{number}]"
            started = updates > stage.from_step and not self._fp16  # which may have skipped all of them
            check_optimizer(stored, stage.optimizer, key, source, started, numbers[number], stage.any_state)
        own = self.optimizers.schedule.state_dict()
        check_structure(state["schedule"], own, "update.schedule", source)
        check_structure(state["skipped"], self.skipped.counts, "update.skipped", source)
        check_structure(state["scaler"], self.scaler.state_dict(), "update.scaler", source)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        for stage, stored in zip(self.optimizers.stages, state["optimizers"], strict=True):
            stage.optimizer.load_state_dict(stored)
        self.optimizers.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.skipped.counts = state["skipped"].to(self.skipped.counts.device)
