"""ResNet-20, 32, 44, 56 and 110 for 32x32 images, and the plain networks they are compared with (N12).

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2.

A plain network of 56 layers fits its training set worse than one of 20, although it could copy it and
do nothing in the rest. So let each pair of layers learn what to add to its input: y = relu(x + F(x)).
Doing nothing is then F = 0, and the gradient reaches every layer through the sum.

One convolution, three stages of n blocks on maps of 32x32, 16x16 and 8x8 with 16, 32 and 64 filters,
global average pooling, one linear layer: 6n + 2 layers with weights. The paper's shortcut is A, and
"none" gives the plain network.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from . import initialization
from .classifier import Classifier
from .layers import ConvUnit, average_head, convolution, scaled, shortcut

FILTERS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F = 3x3 conv → norm → relu → 3x3 conv → norm.

    (N, in_channels, H, W) → (N, channels, H/stride, W/stride), rounded up. Shortcut "A" pads new channels
    with zeros, "B" projects where shapes differ, "C" projects everywhere; "none" leaves relu(F(x)).
    """

    def __init__(self, in_channels: int, channels: int, stride: int, option: str):
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut(option, in_channels, channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        change = self.relu(self.norm1(self.conv1(maps)))
        change = self.norm2(self.conv2(change))
        if self.shortcut is not None:
            change = change + self.shortcut(maps)
        activated: Tensor = self.relu(change)
        return activated


class CifarResNet(Classifier):
    """A residual network of depth 6n + 2: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        option: str = "A",
        width: float = 1.0,
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        blocks_per_stage = (depth - 2) // 6
        channels = scaled(FILTERS[0], width)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["stem"] = ConvUnit(in_channels, channels, 3, normalization="batch")
        for stage, filters in enumerate(FILTERS, 1):
            blocks: list[nn.Module] = []
            for number in range(blocks_per_stage):
                stride = 2 if number == 0 and stage > 1 else 1
                blocks.append(ResidualBlock(channels, scaled(filters, width), stride, option))
                channels = scaled(filters, width)
            parts[f"stage{stage}"] = nn.Sequential(*blocks)
        self.features = nn.Sequential(parts)
        self.head = average_head(channels, classes, dropout_rate)
        initialization.own(self)
