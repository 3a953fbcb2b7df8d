"""ResNet-20, 32, 44, 56 and 110 for 32x32 images (N12).

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2.

A plain network of 56 layers fits its training set worse than one of 20, although it could copy it and
do nothing in the rest. So let each pair of layers learn what to add to its input: y = relu(x + F(x)).
Doing nothing is then F = 0, and the gradient reaches every layer through the sum.

One convolution, three stages of n blocks on maps of 32x32, 16x16 and 8x8 with 16, 32 and 64 filters,
global average pooling, one linear layer: 6n + 2 layers with weights. The paper's shortcut is A.
"""

from __future__ import annotations

from torch import Tensor, nn

from . import initialization
from .layers import ZeroPadShortcut, convolution, dropout, projection

FILTERS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F = 3x3 conv → norm → relu → 3x3 conv → norm.

    (N, in_channels, H, W) → (N, channels, H/stride, W/stride), rounded up. Shortcut "A" pads new channels
    with zeros, "B" projects where shapes differ, "C" projects everywhere.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str):
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        same_shape = stride == 1 and in_channels == channels
        self.shortcut: nn.Module
        if shortcut == "C" or (shortcut == "B" and not same_shape):
            self.shortcut = projection(in_channels, channels, stride)
        elif same_shape:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = ZeroPadShortcut(in_channels, channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        change = self.relu(self.norm1(self.conv1(maps)))
        change = self.norm2(self.conv2(change))
        sum_: Tensor = self.relu(change + self.shortcut(maps))
        return sum_


class CifarResNet(nn.Module):
    """A residual network of depth 6n + 2: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self, depth: int, in_channels: int, classes: int, shortcut: str = "A", dropout_rate: float = 0.0
    ):
        super().__init__()
        self.stem = nn.Sequential(
            convolution(in_channels, FILTERS[0], 3), nn.BatchNorm2d(FILTERS[0]), nn.ReLU(inplace=True)
        )
        blocks_per_stage = (depth - 2) // 6
        stages: list[nn.Module] = []
        channels = FILTERS[0]
        for filters in FILTERS:
            blocks: list[nn.Module] = []
            for number in range(blocks_per_stage):
                stride = 2 if number == 0 and filters != FILTERS[0] else 1
                blocks.append(ResidualBlock(channels, filters, stride, shortcut))
                channels = filters
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = dropout(dropout_rate)
        self.output = nn.Linear(channels, classes)
        initialization.own(self)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stages(self.stem(images))
        scores: Tensor = self.output(self.dropout(maps.mean((2, 3))))
        return scores
