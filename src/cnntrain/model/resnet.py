"""ResNet-18, 34, 50, 101 and 152 (N11).

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.1.

Each block computes a residual of its input, y = relu(x + F(x)). Where the shape changes, x is adapted:
shortcut A takes every second position and adds channels of zeros, B projects by a 1x1 convolution, C does
so in every block. From 50 layers on, F is a bottleneck: 1x1 to a quarter of the channels, 3x3, 1x1 back,
so that a block of three layers costs about as much as one of two. As in torchvision, the 3x3 convolution of
a bottleneck has the stride; in the paper the first 1x1 has it, which skips three of four positions.

The stem of the imagenet form is a 7x7 convolution of stride 2 and pooling, which reduce the side to a
quarter. The small form, for images like CIFAR's, has a 3x3 convolution in their place.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .shared_layers import ConvUnit, average_head, convolution, scaled, shortcut

# Filters of the 3x3 convolutions in the four stages.
FILTERS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F = 3x3 conv → norm → relu → 3x3 conv → norm.

    (N, in_channels, H, W) → (N, width, H/stride, W/stride), rounded up; option "none" gives relu(F(x)).
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, option: str):
        super().__init__()
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = nn.Identity()
        self.shortcut = shortcut(option, in_channels, width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        output = self.relu(self.norm1(self.conv1(maps)))
        output = self.norm2(self.conv2(output))
        if self.shortcut is not None:
            output = self.drop_path(output) + self.shortcut(maps)
        activated: Tensor = self.relu(output)
        return activated


class Bottleneck(nn.Module):
    """relu(x + F(x)) with 1x1, 3x3, 1x1: (N, in_channels, H, W) → (N, 4·width, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, option: str):
        super().__init__()
        channels = width * self.expansion
        self.conv1 = convolution(in_channels, width, 1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, channels, 1)
        self.norm3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = nn.Identity()
        self.shortcut = shortcut(option, in_channels, channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        output = self.relu(self.norm1(self.conv1(maps)))
        output = self.relu(self.norm2(self.conv2(output)))
        output = self.norm3(self.conv3(output))
        if self.shortcut is not None:
            output = self.drop_path(output) + self.shortcut(maps)
        activated: Tensor = self.relu(output)
        return activated


Block = type[BasicBlock] | type[Bottleneck]

# The block class, and the number of blocks in each of the four stages.
STAGES: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(Classifier):
    """A ResNet: (N, in_channels, height, width) → (N, classes).

    With shortcut B, parameters are in torchvision's order.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        option: str = "B",
        form: str = "imagenet",
        width: float = 1.0,
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        block, blocks = STAGES[depth]
        channels = scaled(FILTERS[0], width)
        kernel_size, stride = (7, 2) if form == "imagenet" else (3, 1)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["stem"] = ConvUnit(in_channels, channels, kernel_size, stride, normalization="batch")
        parts["pool"] = nn.MaxPool2d(3, 2, 1) if form == "imagenet" else nn.Identity()
        for stage, filters in enumerate(FILTERS, 1):
            stage_blocks: list[nn.Module] = []
            for number in range(blocks[stage - 1]):
                stride = 2 if number == 0 and stage > 1 else 1
                stage_blocks.append(block(channels, scaled(filters, width), stride, option))
                channels = scaled(filters, width) * block.expansion
            parts[f"stage{stage}"] = nn.Sequential(*stage_blocks)
        self.features = nn.Sequential(parts)
        self.head = average_head(channels, classes, dropout_rate)
        initialize(self)
