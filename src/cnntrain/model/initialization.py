"""Where weights start: the networks' own way, and those of group `initialization`.

Every function sets convolutions and linear layers in place, from torch's global generator, and leaves
normalization layers as they are. A unit's fan-in n is the number of weights that feed it; with weights
of variance g/n, a layer multiplies the mean square of its input by g. ReLU keeps half of it, so g = 2
carries a signal through any number of ReLU layers, and g = 1 halves it at each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from .layers import LocallyConnected2d, TableConvolution

RECTIFIERS = ("relu", "leaky_relu", "elu", "maxout")
LAST_STD = 0.01
Layer = nn.Conv2d | nn.Linear | LocallyConnected2d | TableConvolution


def own(network: nn.Module, activation: str = "relu") -> None:
    """Set weights as our networks start: He before rectifiers, Glorot before tanh and sigmoid, biases 0.

    The last linear layer starts at N(0, 0.01²), as in VGG and ResNet: the first scores are near 0
    whatever precedes them, so the first loss is log(classes) and the first steps cannot blow up.
    """
    layers = list(_layers(network))
    for layer in layers:
        if activation in RECTIFIERS:
            nn.init.normal_(layer.weight, std=(2 / fan_in(layer)) ** 0.5)
        elif isinstance(layer, LocallyConnected2d | TableConvolution):
            nn.init.normal_(layer.weight, std=fan_in(layer) ** -0.5)
        else:
            nn.init.xavier_normal_(layer.weight)
        _set_bias(layer, 0.0)
    nn.init.normal_(layers[-1].weight, std=LAST_STD)


def zeros(network: nn.Module) -> None:
    """Set all weights and biases to 0."""
    _fill(network, nn.init.zeros_, 0.0)


def gaussian(network: nn.Module, std: float, bias: float) -> None:
    """Draw weights from N(0, std²); biases are constant."""
    _fill(network, lambda weight: nn.init.normal_(weight, std=std), bias)


def uniform(network: nn.Module, scale: float, bias: float) -> None:
    """Draw weights from U[-scale, scale]; biases are constant."""
    _fill(network, lambda weight: nn.init.uniform_(weight, -scale, scale), bias)


def by_fan_in(network: nn.Module, gain: float, bias: float) -> None:
    """Draw weights from N(0, gain/n), n being the fan-in; biases are constant."""
    for layer in _layers(network):
        nn.init.normal_(layer.weight, std=(gain / fan_in(layer)) ** 0.5)
        _set_bias(layer, bias)


def uniform_by_fan_in(network: nn.Module, scale: float) -> None:
    """Draw weights from U[-scale/n, scale/n], n being the fan-in; biases are 0."""
    for layer in _layers(network):
        nn.init.uniform_(layer.weight, -scale / fan_in(layer), scale / fan_in(layer))
        _set_bias(layer, 0.0)


def fan_in(layer: Layer) -> float:
    """Return how many weights feed one unit of a layer; the mean where units differ."""
    if isinstance(layer, LocallyConnected2d):
        return layer.weight.shape[2]
    if isinstance(layer, TableConvolution):
        return layer.weight.numel() / len(layer.bias)
    return layer.weight[0].numel()


def _fill(network: nn.Module, draw: Callable[[Tensor], Tensor], bias: float) -> None:
    for layer in _layers(network):
        draw(layer.weight)
        _set_bias(layer, bias)


def _layers(network: nn.Module) -> Iterator[Layer]:
    return (module for module in network.modules() if isinstance(module, Layer))


def _set_bias(layer: Layer, bias: float) -> None:
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)
