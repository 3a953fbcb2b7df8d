"""ResNet-18, 34, 50, 101 and 152 (N11).

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.1.

Each block adds to its input, y = relu(x + F(x)), and a 1x1 convolution fits the input where the shape
changes (shortcut B). From 50 layers on, F is a bottleneck: 1x1 down to a quarter of the channels, 3x3
there, 1x1 up again, which makes a block of three layers as cheap as one of two. As in torchvision, the
3x3 convolution of a bottleneck has the stride, where the paper gives it to the first 1x1 and so skips
three of four positions.

The imagenet form begins with a 7x7 convolution of stride 2 and pooling, which quarter the side before
the first block. The small form, for images like CIFAR's, has one 3x3 convolution in their place.
"""

from __future__ import annotations

from torch import Tensor, nn

from . import initialization
from .layers import convolution, dropout, projection


class BasicBlock(nn.Module):
    """relu(x + F(x)) with two 3x3 convolutions: (N, in_channels, H, W) → (N, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _fitting(in_channels, width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        change = self.relu(self.bn1(self.conv1(maps)))
        change = self.bn2(self.conv2(change))
        sum_: Tensor = self.relu(change + self.downsample(maps))
        return sum_


class Bottleneck(nn.Module):
    """relu(x + F(x)) with 1x1, 3x3, 1x1: (N, in_channels, H, W) → (N, 4·width, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        channels = width * self.expansion
        self.conv1 = convolution(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _fitting(in_channels, channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        change = self.relu(self.bn1(self.conv1(maps)))
        change = self.relu(self.bn2(self.conv2(change)))
        change = self.bn3(self.conv3(change))
        sum_: Tensor = self.relu(change + self.downsample(maps))
        return sum_


def _fitting(in_channels: int, channels: int, stride: int) -> nn.Module:
    """Return the identity, or a projection where the block changes the shape."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return projection(in_channels, channels, stride)


Block = type[BasicBlock] | type[Bottleneck]

# The block, and how many of it each of the four stages has.
STAGES: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """(N, in_channels, height, width) → (N, classes); weights have torchvision's names and order."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        form: str = "imagenet",
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        block, blocks = STAGES[depth]
        kernel_size, stride = (7, 2) if form == "imagenet" else (3, 1)
        self.conv1 = convolution(in_channels, 64, kernel_size, stride)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if form == "imagenet" else nn.Identity()
        self.layer1 = _stage(block, 64, 64, blocks[0], stride=1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, blocks[1], stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, blocks[2], stride=2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, blocks[3], stride=2)
        self.dropout = dropout(dropout_rate)
        self.fc = nn.Linear(512 * block.expansion, classes)
        initialization.own(self)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        scores: Tensor = self.fc(self.dropout(maps.mean((2, 3))))
        return scores


def _stage(block: Block, in_channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Return a stage: its first block changes the shape, the others keep it."""
    rest = (block(width * block.expansion, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(in_channels, width, stride), *rest)
