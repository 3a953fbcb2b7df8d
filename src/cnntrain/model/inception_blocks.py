"""What all Inception networks are built from: plans of convolutions, poolings and branches side by side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ConvUnit, scaled
from .sizes import Window


class Conv(NamedTuple):
    """A convolution of a plan; `padding` None keeps the map's size at stride 1."""

    filters: int
    kernel_size: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | None = None


# A plan's step: a convolution, branches by name, or a layer that keeps the channels, such as pooling.
Step: TypeAlias = "Conv | Mapping[str, Sequence[Step]] | Callable[[], nn.Module]"

MAX: Callable[[], nn.Module] = partial(nn.MaxPool2d, 3, 1, 1)
AVERAGE: Callable[[], nn.Module] = partial(nn.AvgPool2d, 3, 1, 1)
# Rounded up: a map of even side is halved without padding.
HALVE: Callable[[], nn.Module] = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)


class Branches(nn.ModuleDict):
    """Several ways from one map, side by side: (N, C, H, W) → (N, the sum of their channels, H', W')."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.values()], 1)


@dataclass(frozen=True)
class Builder:
    """Makes layers from a plan; what all convolutions of a network share stands here."""

    width: float = 1.0
    normalization: str = "batch"
    eps: float = 1e-3

    def conv(self, step: Conv, in_channels: int) -> ConvUnit:
        """Return the convolution with its norm and ReLU, its filters times `width`."""
        return ConvUnit(
            in_channels,
            scaled(step.filters, self.width),
            step.kernel_size,
            step.stride,
            step.padding,
            normalization=self.normalization,
            eps=self.eps,
        )

    def layer(self, step: Step, in_channels: int) -> tuple[nn.Module, int]:
        """Return the layer of one step, and its channels."""
        if isinstance(step, Conv):
            return self.conv(step, in_channels), scaled(step.filters, self.width)
        if not isinstance(step, Mapping):
            return step(), in_channels
        branches: dict[str, nn.Module] = {}
        sum_ = 0
        for name, path in step.items():
            channels = in_channels
            parts = []
            for part in path:
                made, channels = self.layer(part, channels)
                parts.append(made)
            branches[name] = nn.Sequential(*parts)
            sum_ += channels
        return Branches(branches), sum_

    def features(self, plan: Mapping[str, Step], in_channels: int) -> tuple[nn.Sequential, dict[str, int]]:
        """Return the layers of a plan one after another, and the channels after each by its name."""
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels: dict[str, int] = {}
        for name, step in plan.items():
            parts[name], in_channels = self.layer(step, in_channels)
            channels[name] = in_channels
        return nn.Sequential(parts), channels


class AuxiliaryPool(nn.Module):
    """Average pooling of 5x5 with stride 3 to a map of `side`: (N, C, H, W) → (N, C, side, side).

    The papers' maps come out with exactly that side, 14 → 4 (v1) and 17 → 5 (v3). Maps of another size
    are averaged over as many even parts, so that the layers after it fit images of any size.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        window = Window(5, 3)
        if all(window.output(size) == self.side for size in maps.shape[2:]):
            return F.avg_pool2d(maps, window.kernel_size, window.stride)
        return F.adaptive_avg_pool2d(maps, self.side)
