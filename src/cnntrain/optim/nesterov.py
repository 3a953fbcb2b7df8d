"""Nesterov momentum whose coefficient can change from step to step (O2, O3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .found_inf import keep_if_skipped


class ChangingNesterov(Optimizer):
    """Nesterov momentum with a coefficient μ per step: v' = μ·v + g; w -= lr·(g + μ'·v').

    μ' is the momentum of the next step, so w is always the look-ahead point at which the next step evaluates
    the gradient, for any sequence of μ. With a constant μ it equals torch's SGD(nesterov=True). Each step
    reads "momentum" and "next_momentum" from the parameter groups.
    """

    def __init__(self, weights: list[Tensor] | list[dict[str, Any]], lr: float, momentum: float):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "next_momentum": momentum})

    # Non-zero: the step is skipped. A tensor, so that reading it needs no synchronization with the device.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Perform one update from the gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["velocity"] = torch.zeros_like(weight)
            velocities = [self.state[weight]["velocity"] for weight in weights]
            new_velocities = torch._foreach_mul(velocities, group["momentum"])
            torch._foreach_add_(new_velocities, gradients)
            new_weights = torch._foreach_add(weights, gradients, alpha=-group["lr"])
            torch._foreach_add_(new_weights, new_velocities, alpha=-group["lr"] * group["next_momentum"])
            for old, new in zip([*weights, *velocities], [*new_weights, *new_velocities], strict=True):
                old.copy_(keep_if_skipped(self.found_inf, new, old))
