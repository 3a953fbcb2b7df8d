"""Penalties on the weights, decoupled decay, max norm: with gradients in closed form.

A penalty's gradient is known without backpropagation, so it is added to the gradients of the data loss
after the backward pass: the same numbers as differentiating the total loss, at a fraction of the cost.
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
from ..model.layers import LocallyConnected2d, TableConvolution
from ..optim.stages import Stage


@dataclass(frozen=True)
class Strengths:
    """How strongly a layer's weights are regularized (R1–R4).

    The penalty is ½·l2·w² + l1·|w| + elastic_l2·w² + elastic_l1·|w|. weight_decay None is the optimizer's
    own; max_norm None is no bound.
    """

    l2: float = 0.0
    l1: float = 0.0
    elastic_l2: float = 0.0
    elastic_l1: float = 0.0
    weight_decay: float | None = None
    max_norm: float | None = None


@dataclass(frozen=True)
class _WeightGroup:
    """Weights with the same penalty l1·|w| + ½·l2·w² and decay; weight_decay None is the optimizer's own."""

    weights: list[Tensor]
    l1: float
    l2: float
    weight_decay: float | None


@dataclass(frozen=True)
class _MaxNormLayer:
    """A layer whose units' incoming weights are kept within a norm."""

    layer: nn.Module
    max_norm: float


class WeightRegularization:
    """The penalties on a network's weights, their decay and max norm (R1–R4, R6, R7, C6).

    layers: pattern of layer names → values in place of those of `strengths`; later patterns take
    precedence. Biases and normalization layers (all one-dimensional tensors) are left out unless `biases`;
    max norm never acts on them. Raises ConfigError where a pattern names no layer.
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
        """Return the penalty as it now is; 0.0 where there is none."""
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
            gradients = [weight.grad for weight in group.weights if weight.grad is not None]
            assert len(gradients) == len(group.weights)
            if group.l2:
                torch._foreach_add_(gradients, group.weights, alpha=group.l2)
            if group.l1:
                torch._foreach_add_(gradients, torch._foreach_sign(group.weights), alpha=group.l1)

    @torch.no_grad()
    def decay(self, stage: Stage, finite: Tensor | None = None) -> None:
        """Shrink each weight by lr·weight_decay, before the update; not where the step is skipped.

        The learning rate is that of the weight's group in the optimizer.
        """
        decays = [stage.weight_decay if g.weight_decay is None else g.weight_decay for g in self._groups]
        for group, weight_decay in zip(self._groups, decays, strict=True):
            if weight_decay == 0.0:
                continue
            chosen = {id(weight) for weight in group.weights}
            for optimized in stage.optimizer.param_groups:
                weights = [weight for weight in optimized["params"] if id(weight) in chosen]
                decay = optimized["lr"] * weight_decay
                if weights:
                    torch._foreach_mul_(weights, 1 - decay if finite is None else 1 - decay * finite)

    @torch.no_grad()
    def project(self) -> None:
        """Shorten each unit's incoming weights to the largest norm they may have (R4)."""
        for entry in self._max_norm_layers:
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
    """Return the weights of more than one dimension: neither biases nor those of normalization layers."""
    return {name: weight for name, weight in weights.items() if weight.ndim > 1}


def _weight_groups(
    strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], weights: dict[str, nn.Parameter]
) -> list[_WeightGroup]:
    """Return the weights, those that are regularized equally in one group."""
    found: dict[tuple[float, float, float | None], list[Tensor]] = {}
    for name, weight in weights.items():
        own = _of_layer(strengths, layers, name)
        key = (own.l1 + own.elastic_l1, own.l2 + 2 * own.elastic_l2, own.weight_decay)
        found.setdefault(key, []).append(weight)
    return [_WeightGroup(weights, *key) for key, weights in found.items()]


def _max_norm_layers(
    strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], network: nn.Module, names: Iterable[str]
) -> Iterator[_MaxNormLayer]:
    modules = dict(network.named_modules())
    for name in names:
        max_norm = _of_layer(strengths, layers, f"{name}.weight").max_norm
        # A tensor of the network itself, such as a class token, belongs to no layer with units.
        layer = modules.get(name)
        weight = getattr(layer, "weight", None)
        if max_norm is not None and layer is not None and isinstance(weight, Tensor) and weight.ndim > 1:
            yield _MaxNormLayer(layer, max_norm)


def _of_layer(strengths: Strengths, layers: Mapping[str, Mapping[str, Any]], tensor: str) -> Strengths:
    """Return the strengths for a tensor, with the values of the patterns that name its layer."""
    layer = next(iter(layers_of([tensor])))
    for pattern, own in layers.items():
        if is_named(layer, [pattern]):
            numbers: dict[str, Any] = {
                key: None if value is None else float(value) for key, value in own.items()
            }
            strengths = dataclasses.replace(strengths, **numbers)
    return strengths
