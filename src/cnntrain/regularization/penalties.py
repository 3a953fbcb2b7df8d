"""Penalties on the weights with gradients in closed form, decoupled weight decay, and max norm.

A penalty's gradient needs no backpropagation, so it is added to the gradients of the data loss after the
backward pass: the result equals differentiating the total loss, at a fraction of the cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layer_names import is_named, layers_of, pattern_problems
from ..model.shared_layers import LocallyConnected2d, TableConvolution
from ..optim.optimizer_stages import Stage


@dataclass(frozen=True)
class Strengths:
    """Regularization strengths of a layer's weights (R1–R4).

    The penalty is ½·l2·w² + l1·|w| + elastic_l2·w² + elastic_l1·|w|. weight_decay None: the
    optimizer's own value; max_norm None: no bound.
    """

    l2: float = 0.0
    l1: float = 0.0
    elastic_l2: float = 0.0
    elastic_l1: float = 0.0
    weight_decay: float | None = None
    max_norm: float | None = None


@dataclass(frozen=True)
class _WeightGroup:
    """Weights with the same penalty l1·|w| + ½·l2·w² and decay; weight_decay None: the optimizer's own."""

    weights: list[Tensor]
    l1: float
    l2: float
    weight_decay: float | None


@dataclass(frozen=True)
class _MaxNormLayer:
    """A layer with an upper bound on the norm of each unit's incoming weights."""

    layer: nn.Module
    max_norm: float


class WeightRegularization:
    """The penalties on a network's weights, their decay and max norm (R1–R4, R6, R7, C6).

    layers: mapping from layer-name patterns to values that replace those of `strengths`; later patterns
    take precedence. Biases and normalization layers (all one-dimensional tensors) are excluded unless
    `biases`; max norm never applies to them. Weights that are frozen for some epochs keep their values.
    Raises ConfigError if a pattern matches no layer.
    """

    def __init__(
        self,
        network: nn.Module,
        strengths: Strengths,
        layers: Mapping[str, Mapping[str, Any]] | None = None,
        biases: bool = False,
    ):
        layers = layers or {}
        trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        names = layers_of(trained)
        problems = pattern_problems("regularization.layers", layers, names)
        if problems:
            raise ConfigError(problems)
        self._groups = _weight_groups(strengths, layers, trained if biases else _matrices(trained))
        self._penalized = [group for group in self._groups if group.l1 or group.l2]
        self._max_norm_layers = list(_max_norm_layers(strengths, layers, network, names))

    @torch.no_grad()
    def loss(self) -> Tensor | float:
        """Return the penalty for the current weights; 0.0 if there is none."""
        total: Tensor | float = 0.0
        for group in self._penalized:
            if group.l2:
                squares = torch.stack(torch._foreach_norm(group.weights)).square()
                total = total + 0.5 * group.l2 * squares.sum()
            if group.l1:
                total = total + group.l1 * torch.stack(torch._foreach_norm(group.weights, 1)).sum()
        return total

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the penalty's gradient, l2·w + l1·sign(w), to the gradients of the weights."""
        for group in self._penalized:
            gradients, weights = [], [weight for weight in group.weights if weight.requires_grad]
            if not weights:
                continue
            for weight in weights:
                if weight.grad is None:  # the data loss does not depend on it
                    weight.grad = torch.zeros_like(weight)
                gradients.append(weight.grad)
            if group.l2:
                torch._foreach_add_(gradients, weights, alpha=group.l2)
            if group.l1:
                torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=group.l1)

    @torch.no_grad()
    def decay(self, stage: Stage, finite: Tensor | None = None) -> None:
        """Multiply each weight by 1 - lr·weight_decay before the update, unless the step is skipped.

        lr: that of the weight's group in the optimizer. finite: a flag on the device, false if the step is
        skipped.
        """
        decays = [stage.weight_decay if g.weight_decay is None else g.weight_decay for g in self._groups]
        for group, weight_decay in zip(self._groups, decays, strict=True):
            if weight_decay == 0.0:
                continue
            chosen = {id(weight) for weight in group.weights if weight.requires_grad}
            for param_group in stage.optimizer.param_groups:
                weights = [weight for weight in param_group["params"] if id(weight) in chosen]
                decay = param_group["lr"] * weight_decay
                if weights:
                    torch._foreach_mul_(weights, 1 - decay if finite is None else 1 - decay * finite)

    @torch.no_grad()
    def project(self) -> None:
        """Scale each unit's incoming weights down to the norm max_norm where it is exceeded (R4)."""
        for entry in self._max_norm_layers:
            if not _weight(entry.layer).requires_grad:
                continue
            factors = entry.max_norm / unit_norms(entry.layer).clamp(min=entry.max_norm)
            if isinstance(entry.layer, TableConvolution):
                factors = factors[entry.layer.rows]
            weight = _weight(entry.layer)
            weight.mul_(factors.reshape(*factors.shape, *[1] * (weight.ndim - factors.ndim)))


def unit_norms(layer: nn.Module) -> Tensor:
    """Return the norm of the weights that feed each unit: (units,), or (positions, units) if unshared."""
    if isinstance(layer, LocallyConnected2d | TableConvolution):
        return layer.unit_norms()
    weight = _weight(layer)
    norms: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)))
    return norms


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def _matrices(weights: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Return the weights with more than one dimension; excludes biases and normalization layers."""
    return {name: weight for name, weight in weights.items() if weight.ndim > 1}


def _weight_groups(
    strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], weights: dict[str, nn.Parameter]
) -> list[_WeightGroup]:
    """Return the weights, grouped by equal penalty and decay."""
    groups: dict[tuple[float, float, float | None], list[Tensor]] = {}
    for name, weight in weights.items():
        chosen = _layer_strengths(strengths, layers, name)
        key = (chosen.l1 + chosen.elastic_l1, chosen.l2 + 2 * chosen.elastic_l2, chosen.weight_decay)
        groups.setdefault(key, []).append(weight)
    return [_WeightGroup(weights, *key) for key, weights in groups.items()]


def _max_norm_layers(
    strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], network: nn.Module, names: Iterable[str]
) -> Iterator[_MaxNormLayer]:
    modules = dict(network.named_modules())
    for name in names:
        max_norm = _layer_strengths(strengths, layers, f"{name}.weight").max_norm
        # A tensor of the network itself, such as a class token, belongs to no layer with units.
        layer = modules.get(name)
        weight = getattr(layer, "weight", None)
        if max_norm is None or layer is None or not isinstance(weight, Tensor):
            continue
        if weight.ndim > 1 and weight.requires_grad:
            yield _MaxNormLayer(layer, max_norm)


def _layer_strengths(strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], tensor: str) -> Strengths:
    """Return the strengths for a tensor, with the values of the patterns that match its layer."""
    layer = next(iter(layers_of([tensor])))
    for pattern, values in layers.items():
        if is_named(layer, [pattern]):
            numbers: dict[str, Any] = {
                key: None if value is None else float(value) for key, value in values.items()
            }
            strengths = dataclasses.replace(strengths, **numbers)
    return strengths
