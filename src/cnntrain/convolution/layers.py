"""Convolutions of a network that are computed by Winograd's algorithm where it is faster."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .winograd import convolve

# Fewer channels, or tiles of 4x4 pixels in a batch, gain nothing (docs/profiling.md).
LEAST_CHANNELS, LEAST_TILES = 24, 64


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that takes Winograd's algorithm for batches of which it is faster."""

    def forward(self, input: Tensor) -> Tensor:
        if not self._is_faster(input):
            return super().forward(input)
        images = input.contiguous(memory_format=torch.channels_last)
        return convolve(images, self.weight, self.bias, _padding(self))

    def _is_faster(self, images: Tensor) -> bool:
        """Return whether the algorithm applies to a batch, and is faster for its size."""
        if images.dim() != 4 or images.dtype != torch.float32 or images.device.type != "cpu":
            return False
        if self.weight.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return False
        rows, columns = (-(-(side + 2 * _padding(self) - 2) // 4) for side in images.shape[2:])
        return rows * columns * len(images) >= LEAST_TILES and max(images.shape[2:]) > 1


def use_winograd(network: nn.Module) -> None:
    """Let the 3x3 convolutions of a network with enough channels take Winograd's algorithm."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _fits(module):
            module.__class__ = WinogradConv2d


def _fits(layer: nn.Conv2d) -> bool:
    """Return whether a layer is a convolution that the kernels compute, with enough channels to gain."""
    is_plain = layer.kernel_size == (3, 3) and layer.groups == 1 and layer.padding_mode == "zeros"
    is_dense = layer.stride == (1, 1) and layer.dilation == (1, 1)
    channels = (layer.in_channels, layer.out_channels)
    has_channels = min(channels) >= LEAST_CHANNELS and all(number % 8 == 0 for number in channels)
    return is_plain and is_dense and has_channels and _padding(layer) in (0, 1, 2)


def _padding(layer: nn.Conv2d) -> int:
    """Return the padding of a 3x3 convolution, -1 where it is not the same on all sides."""
    if isinstance(layer.padding, str):
        return 1 if layer.padding == "same" else 0
    first, second = layer.padding
    return first if first == second else -1
