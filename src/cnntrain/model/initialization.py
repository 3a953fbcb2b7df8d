"""Where weights start: the networks' own way, and those of group `initialization`.

Every function sets convolutions and linear layers in place, from torch's global generator, and leaves
normalization layers as they are. A unit's fan-in n is the number of weights that feed it; with weights
of variance g/n, a layer multiplies the mean square of its input by the gain g. ReLU keeps half of it, so
g = 2 carries a signal through any number of ReLU layers, and g = 1 halves it at each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .layers import LocallyConnected2d, TableConvolution

RECTIFIERS = ("relu", "leaky_relu", "elu", "maxout")
LAST_STD = 0.01
NO_LINK = -1
Layer = nn.Conv2d | nn.Linear | LocallyConnected2d | TableConvolution


def _gain_of_elu() -> float:
    """Return 1/E[elu(z)²], z from N(0, 1): E = 1 + e²·Φ(-2) - 2·√e·Φ(-1)."""

    def below(z: float) -> float:
        return math.erfc(-z / math.sqrt(2)) / 2

    return 1 / (1 + math.exp(2) * below(-2) - 2 * math.exp(0.5) * below(-1))


# The gain before each activation. It is 1/E[f(z)²] with z from N(0, 1), so that inputs of a layer that come
# through f give it outputs of mean square 1 again; He et al. 2015 for relu and leaky_relu. For tanh and
# sigmoid it is the convention of torch.nn.init.calculate_gain, squared: 25/9 holds tanh a little above
# (2.54 would be 1/E), and no gain below 16 keeps what differs between inputs through sigmoid, whose slope is
# at most 1/4 (Glorot and Bengio 2010 found it unfit for deep networks for this reason).
GAINS = {
    "linear": 1.0,
    "relu": 2.0,
    "leaky_relu": 2 / (1 + 0.01**2),
    "elu": _gain_of_elu(),  # 1.5505
    "maxout": 1.0,  # E[max²] + E[min²] = 2 for two pieces, and by symmetry each is 1
    "tanh": (5 / 3) ** 2,
    "scaled_tanh": 1.33257,  # by numerical integration
    "sigmoid": 1.0,
}


def own(network: nn.Module, activation: str = "relu") -> None:
    """Set weights as our networks start: He before rectifiers, Glorot before tanh and sigmoid, biases 0.

    The last linear layer starts at N(0, 0.01²), as in VGG and ResNet: the first scores are near 0
    whatever precedes them, so the first loss is log(classes) and the first steps cannot blow up.
    """
    if activation in RECTIFIERS:
        variance_scaling(network, 2.0)
    else:
        variance_scaling(network, 1.0, fan="average")
    *_, last = _layers(network)
    nn.init.normal_(last.weight, std=LAST_STD)


def zeros(network: nn.Module) -> None:
    """Set all weights and biases to 0."""
    _fill(network, lambda layer: nn.init.zeros_(layer.weight), 0.0)


def gaussian(network: nn.Module, std: float, bias: float) -> None:
    """Draw weights from N(0, std²); biases are constant."""
    _fill(network, lambda layer: nn.init.normal_(layer.weight, std=std), bias)


def uniform(network: nn.Module, scale: float, bias: float) -> None:
    """Draw weights from U[-scale, scale]; biases are constant."""
    _fill(network, lambda layer: nn.init.uniform_(layer.weight, -scale, scale), bias)


def variance_scaling(
    network: nn.Module, gain: float, fan: str = "in", distribution: str = "gaussian", bias: float = 0.0
) -> None:
    """Draw weights of variance gain/n; biases are constant.

    n is the fan-in, which keeps the mean square of signals, the fan-out ("out"), which keeps that of
    gradients, or the mean of both ("average"). The distribution is "gaussian" or "uniform".
    """

    def draw(layer: Layer) -> None:
        fans = {"in": fan_in(layer), "out": fan_out(layer)}
        units = sum(fans.values()) / 2 if fan == "average" else fans[fan]
        std = (gain / units) ** 0.5
        if distribution == "gaussian":
            nn.init.normal_(layer.weight, std=std)
        else:
            limit = 3**0.5 * std
            nn.init.uniform_(layer.weight, -limit, limit)

    _fill(network, draw, bias)


def uniform_by_fan_in(network: nn.Module, scale: float) -> None:
    """Draw weights from U[-scale/n, scale/n], n being the fan-in; biases are 0."""

    def draw(layer: Layer) -> None:
        nn.init.uniform_(layer.weight, -scale / fan_in(layer), scale / fan_in(layer))

    _fill(network, draw, 0.0)


def sparse(
    network: nn.Module, connections: int, direction: str, std: float | None, gain: float, bias: float
) -> None:
    """Set weights to 0 but for `connections` of each unit, at random places, from N(0, std²) (I4).

    With direction "in" a unit is one of a layer's outputs (Martens 2010), with "out" one of its inputs
    (torch.nn.init.sparse_). A unit with fewer weights keeps all. std None: the variance is gain/n, n being
    the mean number of non-zero weights that feed an output. Biases are constant.
    """

    @torch.no_grad()
    def draw(layer: Layer) -> None:
        links = _links(layer, direction)
        order = torch.rand(links.shape).masked_fill_(links == NO_LINK, -1.0)
        kept = links.gather(1, order.topk(min(connections, links.shape[1]), dim=1).indices)
        kept = kept[kept != NO_LINK]
        feeding = fan_in(layer) * len(kept) / layer.weight.numel()
        deviation = (gain / feeding) ** 0.5 if std is None else std
        layer.weight.zero_()
        layer.weight.view(-1)[kept] = deviation * torch.randn(len(kept))

    _fill(network, draw, bias)


def fan_in(layer: Layer) -> float:
    """Return how many weights feed one unit of a layer; the mean where units differ."""
    if isinstance(layer, LocallyConnected2d):
        return layer.weight.shape[2]
    if isinstance(layer, TableConvolution):
        return layer.weight.numel() / len(layer.bias)
    return layer.weight[0].numel()


def fan_out(layer: Layer) -> float:
    """Return how many weights one input feeds, away from the borders and at stride 1; the mean over maps."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, LocallyConnected2d):
        return layer.weight.shape[1] * layer.window["kernel_size"] ** 2
    return layer.weight.numel() / layer.in_channels


def _links(layer: Layer, direction: str) -> Tensor:
    """Return the weights of each unit: (units, most weights of one), their places in the flat weight.

    NO_LINK fills the rows of units that have fewer.
    """
    places = torch.arange(layer.weight.numel()).view(layer.weight.shape)
    if isinstance(layer, TableConvolution):
        maps = layer.rows if direction == "in" else layer.columns
        return _gathered(maps[:, None, None].expand(places.shape))
    if isinstance(layer, LocallyConnected2d):
        return places.flatten(0, 1) if direction == "in" else _gathered(_inputs(layer))
    if direction == "in":
        return places.flatten(1)
    if isinstance(layer, nn.Linear):
        return places.T
    # An input map feeds the filters of its own group alone.
    return torch.unflatten(places, 0, (layer.groups, -1)).transpose(1, 2).flatten(2).flatten(0, 1)


def _inputs(layer: LocallyConnected2d) -> Tensor:
    """Return a number of the input that each weight reads, padding included, in the shape of the weight."""
    side, stride, dilation = (layer.window[name] for name in ("kernel_size", "stride", "dilation"))
    height, width = layer.out_size
    padded = (height * stride + side * dilation, width * stride + side * dilation)
    channels = layer.weight.shape[2] // side**2
    numbers = torch.arange(channels * padded[0] * padded[1]).view(channels, *padded)
    rows = stride * torch.arange(height)[:, None] + dilation * torch.arange(side)
    columns = stride * torch.arange(width)[:, None] + dilation * torch.arange(side)
    # (channels, height, F, width, F) → (height·width, 1, channels·F·F)
    read = numbers[:, rows][..., columns].permute(1, 3, 0, 2, 4).flatten(2).flatten(0, 1)
    return read[:, None].expand(layer.weight.shape)


def _gathered(units: Tensor) -> Tensor:
    """Return the places of each number in a tensor: (different numbers, most places of one)."""
    counts = units.flatten().bincount()
    places = torch.tensor_split(units.flatten().argsort(), counts.cumsum(0)[:-1])
    return pad_sequence([unit for unit in places if len(unit)], batch_first=True, padding_value=NO_LINK)


def _fill(network: nn.Module, draw: Callable[[Layer], object], bias: float) -> None:
    for layer in _layers(network):
        draw(layer)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)


def _layers(network: nn.Module) -> Iterator[Layer]:
    return (module for module in network.modules() if isinstance(module, Layer))
