"""Muon: momentum, orthogonalized by Newton-Schulz iterations (O6).

Keller Jordan et al.: Muon, an optimizer for hidden layers in neural networks, 2024. With that work's
coefficients, p(s) = a·s + b·s³ + c·s⁵ brings every singular value s in (0, 1] into about [0.7, 1.2] within
five iterations, which is sufficient. Filters of one shape are orthogonalized together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigError
from ..without_compiler import make_step
from .found_inf import keep_if_skipped
from .optimizer_stages import LR_SCALE

FILTERS, REST = "filters", "rest"
# Key in a parameter group: the updates of its filters, counted where weights are normalized every few.
UPDATES = "updates"


@dataclass(frozen=True)
class NewtonSchulz:
    """Iterations of p(s) = a·s + b·s³ + c·s⁵ on the singular values s of a matrix."""

    iterations: int
    a: float
    b: float
    c: float

    def orthogonalized(self, matrices: Tensor) -> Tensor:
        """Return approximately U·Vᵀ, for U·S·Vᵀ of each matrix (…, rows, columns)."""
        # On CUDA, bfloat16 is twice as fast and precise enough: iterations correct earlier rounding errors.
        dtype = torch.bfloat16 if matrices.is_cuda else torch.float32
        result = matrices.reshape(-1, *matrices.shape[-2:]).to(dtype)
        result = result / (torch.linalg.matrix_norm(result, keepdim=True) + 1e-7)
        is_tall = result.shape[1] > result.shape[2]
        if is_tall:
            result = result.mT
        for _ in range(self.iterations):
            square = result @ result.mT
            polynomial = torch.baddbmm(square, square, square, beta=self.b, alpha=self.c)
            result = torch.baddbmm(result, polynomial, result, beta=self.a)
        return (result.mT if is_tall else result).to(matrices.dtype).reshape(matrices.shape)


class Muon(Optimizer):
    """Orthogonalized momentum for filters (four-dimensional weights), another optimizer for all others.

    w -= lr·max(1, rows/columns)^½·orthogonal(momentum), with matrices of shape (filters, inputs·F·F). The
    factor makes the size of the change of a layer's output independent of the shape of its weights.
    normalize_every: the updates after which each layer's weights are scaled to norm √filters, before the next
    update; None for never. Raises ConfigError if no weight is four-dimensional.
    """

    def __init__(
        self,
        weights: list[Tensor] | list[dict[str, Any]],
        lr: float,
        momentum: float,
        nesterov: bool,
        newton_schulz: NewtonSchulz,
        build_rest: Callable[[list[dict[str, Any]]], Optimizer],
        rest_scale: float,
        normalize_every: int | None = None,
    ):
        groups = []
        for group in parameter_groups(weights):
            for kind, scale in ((FILTERS, 1.0), (REST, rest_scale)):
                chosen = [weight for weight in group["params"] if (weight.ndim == 4) == (kind == FILTERS)]
                if chosen:
                    factor = group.get(LR_SCALE, 1.0) * scale
                    groups.append({**group, "params": chosen, "kind": kind, LR_SCALE: factor})
        if not any(group["kind"] == FILTERS for group in groups):
            raise ConfigError(["optim=muon: the network has no convolutional layer; write optim=adamw"])
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov})
        self.newton_schulz = newton_schulz
        self.normalize_every = normalize_every
        if normalize_every is not None:
            for group in self.param_groups:
                group[UPDATES] = 0
        rest_groups = [{"params": g["params"]} for g in self.param_groups if g["kind"] == REST]
        self.rest = build_rest(rest_groups) if rest_groups else None

    # Non-zero: the step is skipped. A tensor, so that reading it needs no synchronization with the device.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Perform one update from the gradients."""
        for group in self.param_groups:
            if group["kind"] == FILTERS:
                self._update_filters(group)
        if self.rest is not None:
            groups = [group for group in self.param_groups if group["kind"] == REST]
            for group, rest_group in zip(groups, self.rest.param_groups, strict=True):
                rest_group["lr"] = group["lr"]
            if self.found_inf is not None:
                self.rest.grad_scale = None  # type: ignore[attr-defined]
                self.rest.found_inf = self.found_inf  # type: ignore[attr-defined]
            make_step(self.rest)

    def _update_filters(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                by_shape.setdefault(weight.shape, []).append(weight)
        normalizing = self.normalize_every is not None and group[UPDATES] % self.normalize_every == 0
        for weights in by_shape.values():
            self._update_alike(weights, group, normalizing)
        if self.normalize_every is not None:
            group[UPDATES] += 1

    def _update_alike(self, weights: list[Tensor], group: dict[str, Any], normalizing: bool) -> None:
        """Update filters of one shape, whose matrices are orthogonalized together."""
        changes, velocities = [], []
        for weight in weights:
            gradient, state = weight.grad, self.state[weight]
            assert gradient is not None
            if not state:
                state["velocity"] = torch.zeros_like(weight)
            velocity = state["velocity"] * group["momentum"] + gradient
            change = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
            velocities.append(velocity)
            changes.append(change.flatten(1))
        factor = max(1.0, changes[0].shape[0] / changes[0].shape[1]) ** 0.5
        updates = self.newton_schulz.orthogonalized(torch.stack(changes))
        for weight, velocity, update in zip(weights, velocities, updates, strict=True):
            old = weight * (len(weight) ** 0.5 / weight.norm().clamp(min=1e-7)) if normalizing else weight
            new = old - group["lr"] * factor * update.view_as(weight)
            weight.copy_(keep_if_skipped(self.found_inf, new, weight))
            state = self.state[weight]
            state["velocity"].copy_(keep_if_skipped(self.found_inf, velocity, state["velocity"]))

    def state_dict(self) -> dict[str, Any]:
        """Return the velocities and the state of the other optimizer."""
        rest = None if self.rest is None else self.rest.state_dict()
        return {"filters": super().state_dict(), "rest": rest}

    def groups_of_parts(self) -> dict[str, list[dict[str, Any]]]:
        """Return the parameter groups behind each part of the state."""
        return {"filters": self.param_groups} | (
            {} if self.rest is None else {"rest": self.rest.param_groups}
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        super().load_state_dict(state["filters"])
        if self.rest is not None:
            self.rest.load_state_dict(state["rest"])


def parameter_groups(weights: list[Tensor] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return weights as torch parameter groups; a list of tensors becomes a single group."""
    if weights and isinstance(weights[0], Tensor):
        return [{"params": list(weights)}]
    return [group for group in weights if isinstance(group, dict)]
