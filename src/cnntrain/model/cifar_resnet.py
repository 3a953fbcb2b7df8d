"""ResNet-20, 32, 44, 56 and 110 for 32x32 images, and the plain networks they are compared with (N12).

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2.

A plain network of 56 layers has a higher training error than one of 20, although it could represent the
same function with identities in the other layers. Each pair of layers therefore learns a residual:
y = relu(x + F(x)). The identity is then F = 0, and the gradient reaches every layer through the sum.

One convolution, three stages of n blocks on feature maps of 32x32, 16x16 and 8x8 with 16, 32 and 64
filters, global average pooling, one linear layer: 6n + 2 layers with weights. The paper's shortcut is A;
"none" gives the plain network.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .resnet import BasicBlock
from .shared_layers import ConvUnit, average_head, scaled

FILTERS = (16, 32, 64)


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
                blocks.append(BasicBlock(channels, scaled(filters, width), stride, option))
                channels = scaled(filters, width)
            parts[f"stage{stage}"] = nn.Sequential(*blocks)
        self.features = nn.Sequential(parts)
        self.head = average_head(channels, classes, dropout_rate)
        initialize(self)
