"""One update of the weights: finite? clip, decay, learning rate of this step, optimizer.

A non-finite loss or gradient skips the update without asking the device for an answer: on a CUDA device
fused optimizers and decay are told by a tensor. Elsewhere the answer costs nothing and is asked for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..instruments.update_ratio import UpdateRatio
from ..regularization import Regularization
from .schedules import Schedule

# fp16 halves its scale at each skipped update; this many in a row mean that no scale helps.
MOST_SKIPPED_IN_A_ROW = 25
# What multiplies the learning rate for one of the optimizer's groups of weights, where it has several.
LR_SCALE = "lr_scale"


class NonFinite(Exception):
    """A loss or gradient was not finite; `step` counts the updates before it."""

    def __init__(self, step: int, loss: float, grad_norm: float):
        super().__init__(step, loss, grad_norm)
        self.step = step
        self.loss = loss
        self.grad_norm = grad_norm


class Update:
    """Carries gradients into weights.

    `scaler` is there for fp16 only: its skipped steps are normal, and are counted.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        regularization: Regularization,
        schedule: Schedule,
        lr: float,
        max_grad_norm: float | None,
        device: torch.device,
        fp16: bool,
    ):
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer = optimizer
        self.regularization = regularization
        self.schedule = schedule
        self.base_lr = lr
        self.max_grad_norm = max_grad_norm
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)
        self.instrument = UpdateRatio(network)
        self._fp16 = fp16
        # Where waiting for an answer would stall the device, it keeps the count of skipped updates itself:
        # in a row, in all, and the first one's step, loss and gradient norm.
        self._counts_on_device = device.type == "cuda" or fp16
        self._skipped = torch.zeros(5, device=device)

    def lr(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` updates."""
        return self.base_lr * self.schedule.factor(step)

    def apply(self, step: int, loss: Tensor, recording: bool) -> Tensor:
        """Update the weights by their gradients, or skip; return the gradient norm before clipping.

        Raises NonFinite at once where asking the device costs nothing; elsewhere `check` raises it.
        """
        if self._fp16:
            self.scaler.unscale_(self.optimizer)
        self.regularization.add_gradients()
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        finite = torch.isfinite(norm + loss)
        if self._counts_on_device:
            finite = self._count(step, finite, loss, norm)
        elif not finite:
            raise NonFinite(step, loss.item(), norm.item())
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.weights, self.max_grad_norm, norm, foreach=True)
        lr = self.lr(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get(LR_SCALE, 1.0)
        with self.instrument.around_update(recording):
            self._step(lr, finite)
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _step(self, lr: float, finite: Tensor) -> None:
        if self._fp16:
            self.regularization.decay(lr, finite)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif self._counts_on_device:
            self.regularization.decay(lr, finite)
            if self.optimizer.defaults.get("fused"):
                # The attributes by which a GradScaler tells a fused optimizer to skip.
                self.optimizer.grad_scale = None  # type: ignore[attr-defined]
                self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
                self.optimizer.step()
            elif finite:
                self.optimizer.step()
        else:
            self.regularization.decay(lr)
            self.optimizer.step()

    def _count(self, step: int, finite: Tensor, loss: Tensor, norm: Tensor) -> Tensor:
        """Count on the device; return whether this update is to be made.

        But for fp16, no update follows a skipped one: the weights stay as they were until `check` is asked.
        """
        in_a_row, total = self._skipped[0], self._skipped[1]
        if not self._fp16:
            finite = finite & (total == 0)
        bad = (~finite).float()
        now = torch.stack([torch.full_like(in_a_row, step), loss.float(), norm.float()])
        details = torch.where(bad * (in_a_row == 0) > 0, now, self._skipped[2:])
        self._skipped = torch.cat([torch.stack([(in_a_row + 1) * bad, total + bad]), details])
        return finite

    def check(self) -> None:
        """Raise NonFinite if an update was skipped (fp16: too many in a row); waits for the device."""
        if not self._counts_on_device:
            return
        in_a_row, total, step, loss, norm = self._skipped.tolist()
        if in_a_row >= MOST_SKIPPED_IN_A_ROW or (total and not self._fp16):
            raise NonFinite(int(step), loss, norm)

    @property
    def total_skipped(self) -> int:
        """The number of updates skipped so far; waits for the device."""
        return int(self._skipped[1])

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on besides the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self._skipped.cpu(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self._skipped = state["skipped"].to(self._skipped.device)
