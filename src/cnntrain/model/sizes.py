"""The arithmetic of maps (L1): how large one comes out of a window, and what a chain of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """What slides over a map along one side: a filter or a pooling window."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Pixels from the first to the last that one position sees: d·(F - 1) + 1."""
        return self.dilation * (self.kernel_size - 1) + 1

    def output(self, size: int) -> int:
        """Return floor((W - F + 2P)/S) + 1; below 1 where the window does not fit."""
        return (size + 2 * self.padding - self.reach) // self.stride + 1


def min_input(windows: Sequence[Window]) -> int:
    """Return the least side that leaves at least one pixel after all the windows."""
    size = 1
    for window in reversed(windows):
        size = max(1, (size - 1) * window.stride + window.reach - 2 * window.padding)
    return size


def output_size(windows: Sequence[Window], size: int) -> int:
    """Return the side of the map that comes out of all the windows."""
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
    """Return what slides over the map in each of a convnet's blocks: its convolutions, then its pooling."""
    zeros = dilation * (kernel_size - 1) // 2 if padding == "same" else 0
    plain = Window(kernel_size, 1, zeros, dilation)
    last = Window(kernel_size, 2, zeros, dilation) if pooling == "stride" else plain
    block = [plain] * (convs_per_block - 1) + [last]
    if pooling not in ("stride", "none"):
        block.append(Window(pooling_size, 2))
    return [block] * blocks
