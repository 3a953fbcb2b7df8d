"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

# In place where the backward pass needs the output alone, which saves a copy of every map.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
}

POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2),
}


def activation(name: str) -> nn.Module:
    """Return the nonlinearity called `name` (L5)."""
    return ACTIVATIONS[name]()


def pooling(kind: str) -> nn.Module:
    """Return 2x2 pooling with stride 2 of a kind: (N, C, H, W) → (N, C, H/2, W/2), rounded down (L4)."""
    return POOLINGS[kind]()


def dropout(rate: float) -> nn.Module:
    """Return inverted dropout of a share of the units, or nothing at rate 0 (L7).

    It is a module in both cases, so that the names of a network's weights do not depend on the rate.
    """
    return nn.Dropout(rate) if rate > 0 else nn.Identity()


def hidden_layers(inputs: int, sizes: list[int], activation_name: str, rate: float) -> nn.Sequential:
    """Return [FC → act → dropout]·K: (N, inputs) → (N, sizes[-1])."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(inputs, size), activation(activation_name), dropout(rate)]
        inputs = size
    return nn.Sequential(*layers)


def convolution(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias whose padding keeps the map's size, for use before a norm (L1)."""
    return nn.Conv2d(in_channels, channels, kernel_size, stride, kernel_size // 2, bias=False)


class ZeroPadShortcut(nn.Module):
    """Shortcut A of He et al. 2016: every `stride`-th pixel, and zeros for the channels that are new.

    It has no weights: (N, in_channels, H, W) → (N, channels, H/stride, W/stride), rounded up.
    """

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.new_channels = channels - in_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        kept = maps[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, 0, self.new_channels))


def projection(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Return shortcut B of He et al. 2016: a 1x1 convolution to the new shape, and batch norm."""
    return nn.Sequential(convolution(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))
