"""Where weights start: the networks' own way, and those of group `initialization`.

Every function sets convolutions and linear layers in place, from torch's global generator, and leaves
normalization layers as they are. A unit's fan-in n is the number of weights that feed it; with weights
of variance g/n, a layer multiplies the mean square of its input by g. ReLU keeps half of it, so g = 2
carries a signal through any number of ReLU layers, and g = 1 halves it at each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

RECTIFIERS = ("relu", "leaky_relu", "elu")
LAST_STD = 0.01


def own(network: nn.Module, activation: str = "relu") -> None:
    """Set weights as our networks start: He before rectifiers, Glorot before tanh and sigmoid, biases 0.

    The last linear layer starts at N(0, 0.01²), as in VGG and ResNet: the first scores are near 0
    whatever precedes them, so the first loss is log(classes) and the first steps cannot blow up.
    """
    layers = list(_layers(network))
    for layer in layers:
        if activation in RECTIFIERS:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
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
    _fill(network, lambda weight: nn.init.normal_(weight, std=(gain / weight[0].numel()) ** 0.5), bias)


def _fill(network: nn.Module, draw: Callable[[Tensor], Tensor], bias: float) -> None:
    for layer in _layers(network):
        draw(layer.weight)
        _set_bias(layer, bias)


def _layers(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    return (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))


def _set_bias(layer: nn.Conv2d | nn.Linear, bias: float) -> None:
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)
