"""Muon: momentum, made orthogonal by Newton-Schulz iterations (O6).

Keller Jordan et al.: Muon, an optimizer for hidden layers in neural networks, 2024. The polynomial and its
three coefficients are theirs: p(s) = a·s + b·s³ + c·s⁵ brings every singular value s in (0, 1] into about
[0.7, 1.2] within five iterations, which is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigError
from .eager import make_step
from .skipping import keep_if_skipped
from .stages import LR_SCALE

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
FILTERS, REST = "filters", "rest"


class Muon(Optimizer):
    """Orthogonalized momentum for filters (weights of four dimensions), another optimizer for the rest.

    w -= lr·max(1, rows/columns)^½·orthogonal(momentum), the matrix being (filters, inputs·F·F). The factor
    keeps the change of a layer's output alike whatever its shape. Raises ConfigError where no weight is
    one of filters.
    """

    def __init__(
        self,
        weights: list[Tensor] | list[dict[str, Any]],
        lr: float,
        momentum: float,
        nesterov: bool,
        iterations: int,
        build_rest: Callable[[list[dict[str, Any]]], Optimizer],
        rest_scale: float,
    ):
        groups = []
        for group in groups_of(weights):
            for kind, scale in ((FILTERS, 1.0), (REST, rest_scale)):
                chosen = [one for one in group["params"] if (one.ndim == 4) == (kind == FILTERS)]
                if chosen:
                    factor = group.get(LR_SCALE, 1.0) * scale
                    groups.append({**group, "params": chosen, "kind": kind, LR_SCALE: factor})
        if not any(group["kind"] == FILTERS for group in groups):
            raise ConfigError(["optim=muon: the network has no convolution to work on; write optim=adamw"])
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov})
        self.iterations = iterations
        others = [group for group in self.param_groups if group["kind"] == REST]
        self.rest = build_rest([{"params": group["params"]} for group in others]) if others else None

    # Where it is not 0, the step is skipped; a tensor, so that the device is not waited for.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update from the gradients."""
        for group in self.param_groups:
            if group["kind"] == FILTERS:
                self._update_filters(group)
        if self.rest is not None:
            mine = [group for group in self.param_groups if group["kind"] == REST]
            for own, theirs in zip(mine, self.rest.param_groups, strict=True):
                theirs["lr"] = own["lr"]
            if self.found_inf is not None:
                self.rest.grad_scale = None  # type: ignore[attr-defined]
                self.rest.found_inf = self.found_inf  # type: ignore[attr-defined]
            make_step(self.rest)

    def _update_filters(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["velocity"] = torch.zeros_like(weight)
            velocity = state["velocity"] * group["momentum"] + weight.grad
            change = weight.grad.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
            matrix = change.flatten(1)
            factor = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            update = orthogonalized(matrix, self.iterations).view_as(weight)
            new = weight - group["lr"] * factor * update
            weight.copy_(keep_if_skipped(self.found_inf, new, weight))
            state["velocity"].copy_(keep_if_skipped(self.found_inf, velocity, state["velocity"]))

    def state_dict(self) -> dict[str, Any]:
        """Return the velocities, and the state of the other optimizer."""
        rest = None if self.rest is None else self.rest.state_dict()
        return {"filters": super().state_dict(), "rest": rest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        super().load_state_dict(state["filters"])
        if self.rest is not None:
            self.rest.load_state_dict(state["rest"])


def groups_of(weights: list[Tensor] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return weights as torch's parameter groups, a single one where they are plain tensors."""
    if weights and isinstance(weights[0], Tensor):
        return [{"params": list(weights)}]
    return [entry for entry in weights if isinstance(entry, dict)]


def orthogonalized(matrix: Tensor, iterations: int) -> Tensor:
    """Return nearly U·Vᵀ of the singular value decomposition U·S·Vᵀ of a matrix (rows, columns)."""
    # In bfloat16 on CUDA, where it is twice as fast and precise enough; iterations correct each other.
    dtype = torch.bfloat16 if matrix.is_cuda else torch.float32
    found = matrix.to(dtype)
    found = found / (found.norm() + 1e-7)
    is_tall = matrix.shape[0] > matrix.shape[1]
    if is_tall:
        found = found.T
    a, b, c = COEFFICIENTS
    for _ in range(iterations):
        square = found @ found.T
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        found = torch.addmm(found, polynomial, found, beta=a)
    return (found.T if is_tall else found).to(matrix.dtype)
