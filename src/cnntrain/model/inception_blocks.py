"""Building blocks of the Inception networks: plans of convolutions, poolings and parallel branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feature_map_sizes import Window
from .shared_layers import ConvUnit, scaled


class Conv(NamedTuple):
    """A convolution of a plan; `padding` None keeps the map's size at stride 1."""

    filters: int
    kernel_size: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | None = None


# A layer's specification: a convolution, branches by name, or a layer that keeps the channels (pooling).
LayerSpec: TypeAlias = "Conv | Mapping[str, Sequence[LayerSpec]] | Callable[[], nn.Module]"

MAX: Callable[[], nn.Module] = partial(nn.MaxPool2d, 3, 1, 1)
AVERAGE: Callable[[], nn.Module] = partial(nn.AvgPool2d, 3, 1, 1)
# With sizes rounded up, a map of even side is halved without padding.
HALVE: Callable[[], nn.Module] = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)


class Branches(nn.ModuleDict):
    """Parallel branches, concatenated by channel: (N, C, H, W) → (N, the sum of their channels, H', W')."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.values()], 1)


@dataclass(frozen=True)
class Builder:
    """A builder of layers from a plan, with the options common to all convolutions of a network."""

    width: float = 1.0
    normalization: str = "batch"
    eps: float = 1e-3

    def conv(self, spec: Conv, in_channels: int) -> ConvUnit:
        """Return the convolution with its norm and ReLU, its number of filters multiplied by `width`."""
        return ConvUnit(
            in_channels,
            scaled(spec.filters, self.width),
            spec.kernel_size,
            spec.stride,
            spec.padding,
            normalization=self.normalization,
            eps=self.eps,
        )

    def layer(self, spec: LayerSpec, in_channels: int) -> tuple[nn.Module, int]:
        """Return the layer of one specification, and its output channels."""
        if isinstance(spec, Conv):
            return self.conv(spec, in_channels), scaled(spec.filters, self.width)
        if not isinstance(spec, Mapping):
            return spec(), in_channels
        branches: dict[str, nn.Module] = {}
        total_channels = 0
        for name, path in spec.items():
            channels = in_channels
            parts = []
            for part in path:
                module, channels = self.layer(part, channels)
                parts.append(module)
            branches[name] = nn.Sequential(*parts)
            total_channels += channels
        return Branches(branches), total_channels

    def features(
        self, plan: Mapping[str, LayerSpec], in_channels: int
    ) -> tuple[nn.Sequential, dict[str, int]]:
        """Return the sequence of a plan's layers, and the output channels of each by its name."""
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels: dict[str, int] = {}
        for name, spec in plan.items():
            parts[name], in_channels = self.layer(spec, in_channels)
            channels[name] = in_channels
        return nn.Sequential(parts), channels


class AuxiliaryPool(nn.Module):
    """Average pooling of 5x5 with stride 3 to a map of `side`: (N, C, H, W) → (N, C, side, side).

    The papers' feature maps give exactly that side, 14 → 4 (v1) and 17 → 5 (v3). Maps of another size are
    pooled adaptively to it, so that the following layers fit images of any size.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        window = Window(5, 3)
        if all(window.output(size) == self.side for size in maps.shape[2:]):
            return F.avg_pool2d(maps, window.kernel_size, window.stride)
        return F.adaptive_avg_pool2d(maps, self.side)
