"""Sizes of feature maps (L1): outputs of filters and pooling windows, and the smallest inputs they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A filter or pooling window along one spatial dimension."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def effective_size(self) -> int:
        """The effective kernel size with dilation, d·(F - 1) + 1."""
        return self.dilation * (self.kernel_size - 1) + 1

    def output(self, size: int) -> int:
        """Return the output size floor((W - F + 2P)/S) + 1; below 1 if the window does not fit."""
        return (size + 2 * self.padding - self.effective_size) // self.stride + 1


def min_input(windows: Sequence[Window]) -> int:
    """Return the smallest input side whose output after all windows is at least one pixel."""
    size = 1
    for window in reversed(windows):
        size = max(1, (size - 1) * window.stride + window.effective_size - 2 * window.padding)
    return size


def output_size(windows: Sequence[Window], size: int) -> int:
    """Return the side of the output map after all windows."""
    for window in windows:
        size = window.output(size)
    return size


def convnet_windows(
    blocks: int,
    convs_per_block: int,
    kernel_size: int,
    padding: str,
    dilation: int,
    pooling: str,
    pooling_size: int,
) -> list[list[Window]]:
    """Return the windows of each of a convnet's blocks: its convolutions, then its pooling."""
    zero_padding = dilation * (kernel_size - 1) // 2 if padding == "same" else 0
    regular = Window(kernel_size, 1, zero_padding, dilation)
    last = Window(kernel_size, 2, zero_padding, dilation) if pooling == "stride" else regular
    block = [regular] * (convs_per_block - 1) + [last]
    if pooling not in ("stride", "none"):
        block.append(Window(pooling_size, 2))
    return [block] * blocks
