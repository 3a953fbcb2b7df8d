"""Nesterov's momentum where the momentum itself changes from step to step (O2, O3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .skipping import keep_if_skipped


class ChangingNesterov(Optimizer):
    """v' = μ·v + g; w -= lr·(g + μ'·v'), μ' being the next step's momentum.

    So w is always where the next velocity's momentum leads: the gradient is looked up ahead, whatever the
    momentum does. With one μ it is torch's SGD(nesterov=True). Each step reads "momentum" and
    "next_momentum" from the groups.
    """

    def __init__(self, weights: list[Tensor] | list[dict[str, Any]], lr: float, momentum: float):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "next_momentum": momentum})

    # Where it is not 0, the step is skipped; a tensor, so that the device is not waited for.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update from the gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["velocity"] = torch.zeros_like(weight)
            velocities = [self.state[weight]["velocity"] for weight in weights]
            moved = torch._foreach_mul(velocities, group["momentum"])
            torch._foreach_add_(moved, gradients)
            changed = torch._foreach_add(weights, gradients, alpha=-group["lr"])
            torch._foreach_add_(changed, moved, alpha=-group["lr"] * group["next_momentum"])
            for old, new in zip([*weights, *velocities], [*changed, *moved], strict=True):
                old.copy_(keep_if_skipped(self.found_inf, new, old))
