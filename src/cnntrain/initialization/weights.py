"""Initial weights: the default of the networks, and the schemes of group `initialization`.

Every function initializes convolutional and linear layers in place, from torch's global generator, and
leaves normalization layers unchanged. A unit's fan-in n is the number of weights that feed it; with weights
of variance g/n, a layer multiplies the mean square of its input by the gain g. ReLU halves it, so g = 2
preserves it through any number of ReLU layers, and g = 1 halves it at each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "maxout")
# Standard deviation of the last layer's weights in the default initialization.
LAST_LAYER_STD = 0.01
# Pads a row of weight indices for a unit with fewer weights than others.
NO_WEIGHT = -1


@runtime_checkable
class InitializedLayer(Protocol):
    """A layer other than nn.Conv2d and nn.Linear; its methods define how its weights are connected."""

    weight: nn.Parameter
    bias: nn.Parameter

    def fan_in(self) -> float:
        """Return the number of weights that feed one output unit; the mean if units differ."""

    def fan_out(self) -> float:
        """Return the number of weights that one input feeds, away from borders; the mean if inputs differ."""

    def weight_indices(self, direction: str) -> Tensor:
        """Return the indices into the flat weight of each unit's weights: (units, largest number of weights).

        Units are outputs ("in") or inputs ("out"). NO_WEIGHT pads the rows of units that have fewer.
        """


Layer = nn.Conv2d | nn.Linear | InitializedLayer


def _elu_gain() -> float:
    """Return 1/E[elu(z)²], z from N(0, 1): E = 1 + e²·Φ(-2) - 2·√e·Φ(-1)."""

    def normal_cdf(z: float) -> float:
        return math.erfc(-z / math.sqrt(2)) / 2

    return 1 / (1 + math.exp(2) * normal_cdf(-2) - 2 * math.exp(0.5) * normal_cdf(-1))


# The gain for each activation f: 1/E[f(z)²] with z from N(0, 1), so that a layer whose inputs are outputs of
# f has outputs of mean square 1 again; He et al. 2015 for relu and leaky_relu. For tanh and sigmoid it is
# the value of torch.nn.init.calculate_gain, squared. For tanh, 25/9 is slightly larger than 1/E[f(z)²] =
# 2.54. For sigmoid, whose slope is at most 1/4, no gain below 16 preserves differences between inputs
# (Glorot and Bengio 2010 found it unsuitable for deep networks for this reason).
GAINS = {
    "linear": 1.0,
    "relu": 2.0,
    "leaky_relu": 2 / (1 + 0.01**2),
    "elu": _elu_gain(),  # 1.5505
    "gelu": 1 / (1 / 3 + 1 / (2 * math.pi * math.sqrt(3))),  # 2.3517
    "silu": 2.81076,  # by numerical integration
    "maxout": 1.0,  # E[max²] + E[min²] = 2 for two pieces, and by symmetry each is 1
    "tanh": (5 / 3) ** 2,
    "scaled_tanh": 1.33257,  # by numerical integration
    "sigmoid": 1.0,
}


def initialize(network: nn.Module, activation: str = "relu") -> None:
    """Set the default initial weights: He for rectifiers, Glorot for tanh and sigmoid, biases 0.

    Rectifiers have their own gain from GAINS. The last linear layer is drawn from N(0, 0.01²), as in VGG and
    ResNet: the initial scores are small, and with batch normalization the initial loss is close to
    log(classes). Without it, correlated inputs grow from layer to layer: VGG-11 begins 1.7 above log(1000).
    """
    if activation in RECTIFIERS:
        variance_scaling(network, GAINS[activation])
    else:
        variance_scaling(network, 1.0, fan="average")
    *_, last = _layers(network)
    if not last.weight.is_meta:
        nn.init.normal_(last.weight, std=LAST_LAYER_STD)


def zeros(network: nn.Module) -> None:
    """Set all weights and biases to 0."""
    _fill(network, lambda layer: nn.init.zeros_(layer.weight), 0.0)


def gaussian(network: nn.Module, std: float, bias: float) -> None:
    """Draw weights from N(0, std²) and set biases to `bias`."""
    _fill(network, lambda layer: nn.init.normal_(layer.weight, std=std), bias)


def uniform(network: nn.Module, scale: float, bias: float) -> None:
    """Draw weights from U[-scale, scale] and set biases to `bias`."""
    _fill(network, lambda layer: nn.init.uniform_(layer.weight, -scale, scale), bias)


def variance_scaling(
    network: nn.Module, gain: float, fan: str = "in", distribution: str = "gaussian", bias: float = 0.0
) -> None:
    """Draw weights of variance gain/n and set biases to `bias`.

    n is the fan-in ("in"), which preserves the mean square of activations, the fan-out ("out"), which
    preserves that of gradients, or the mean of both ("average"). The distribution is "gaussian" or "uniform".
    """

    def draw(layer: Layer) -> None:
        fans = {"in": fan_in(layer), "out": fan_out(layer)}
        n = sum(fans.values()) / 2 if fan == "average" else fans[fan]
        std = (gain / n) ** 0.5
        if distribution == "gaussian":
            nn.init.normal_(layer.weight, std=std)
        else:
            limit = 3**0.5 * std
            nn.init.uniform_(layer.weight, -limit, limit)

    _fill(network, draw, bias)


def uniform_by_fan_in(network: nn.Module, scale: float) -> None:
    """Draw weights from U[-scale/n, scale/n], n being the fan-in, and set biases to 0."""

    def draw(layer: Layer) -> None:
        nn.init.uniform_(layer.weight, -scale / fan_in(layer), scale / fan_in(layer))

    _fill(network, draw, 0.0)


def sparse(
    network: nn.Module, connections: int, direction: str, std: float | None, gain: float, bias: float
) -> None:
    """Draw `connections` weights of each unit, at random positions, from N(0, std²); set others to 0 (I4).

    With direction "in" a unit is one of a layer's outputs (Martens 2010), with "out" one of its inputs
    (torch.nn.init.sparse_). For a unit with fewer weights, all are drawn. std None: the variance is gain/n,
    n being the mean number of non-zero weights that feed an output. Biases are set to `bias`.
    """

    @torch.no_grad()
    def draw(layer: Layer) -> None:
        indices = weight_indices(layer, direction)
        order = torch.rand(indices.shape).masked_fill_(indices == NO_WEIGHT, -1.0)
        drawn = indices.gather(1, order.topk(min(connections, indices.shape[1]), dim=1).indices)
        drawn = drawn[drawn != NO_WEIGHT]
        n = fan_in(layer) * len(drawn) / layer.weight.numel()
        deviation = (gain / n) ** 0.5 if std is None else std
        layer.weight.zero_()
        layer.weight.view(-1)[drawn] = deviation * torch.randn(len(drawn))

    _fill(network, draw, bias)


def fan_in(layer: Layer) -> float:
    """Return the number of weights that feed one unit of a layer; the mean if units differ."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return layer.weight[0].numel()
    return layer.fan_in()


def fan_out(layer: Layer) -> float:
    """Return the number of weights one input feeds, away from borders, at stride 1; mean over channels."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() / layer.in_channels
    return layer.fan_out()


def weight_indices(layer: Layer, direction: str) -> Tensor:
    """Return the indices into the flat weight of each unit's weights: (units, largest number of weights).

    Units are outputs ("in") or inputs ("out"). NO_WEIGHT pads the rows of units that have fewer.
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return layer.weight_indices(direction)
    indices = torch.arange(layer.weight.numel()).view(layer.weight.shape)
    if direction == "in":
        return indices.flatten(1)
    if isinstance(layer, nn.Linear):
        return indices.T
    # An input channel feeds only the filters of its own group.
    return torch.unflatten(indices, 0, (layer.groups, -1)).transpose(1, 2).flatten(2).flatten(0, 1)


def group_indices(units: Tensor) -> Tensor:
    """Return the indices at which each value occurs in a tensor: (distinct values, largest count).

    units: the number of the unit of each weight. NO_WEIGHT pads the rows of values that occur less often.
    """
    counts = units.flatten().bincount()
    indices = torch.tensor_split(units.flatten().argsort(), counts.cumsum(0)[:-1])
    return pad_sequence([unit for unit in indices if len(unit)], batch_first=True, padding_value=NO_WEIGHT)


def _fill(network: nn.Module, draw: Callable[[Layer], object], bias: float) -> None:
    for layer in _layers(network):
        if layer.weight.is_meta:  # without values, for which torch would import its compiler
            continue
        draw(layer)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)


def _layers(network: nn.Module) -> Iterator[Layer]:
    return (module for module in network.modules() if isinstance(module, Layer))
