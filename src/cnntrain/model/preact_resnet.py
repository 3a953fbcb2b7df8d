"""Pre-activation residual networks, for ImageNet and for 32x32 images (N13).

He, Zhang, Ren, Sun: Identity mappings in deep residual networks, ECCV 2016.

In a ResNet a relu follows each sum, so the output of a block is clipped at 0 before the next block. Here
norm and relu come first, norm → relu → convolution, and the path from sum to sum is an identity:
x_L = x_l + F(x_l) + … + F(x_{L-1}), and the gradient of the last sum reaches every block unchanged. This
makes 164 and even 1001 layers trainable. Where a block changes the shape, its shortcut is a 1x1
convolution without a norm, applied to the input after norm and relu. A final norm and relu follow the last
block.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .shared_layers import average_head, convolution, scaled


class PreactBasicBlock(nn.Module):
    """x + F(x), F = (norm → relu → 3x3 conv) twice: (N, in_channels, H, W) → (N, width, H/stride, …)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.fit = _shortcut_convolution(in_channels, width, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        activated = self.relu(self.norm1(maps))
        shortcut = maps if self.fit is None else self.fit(activated)
        residual = self.conv1(activated)
        output: Tensor = shortcut + self.drop_path(self.conv2(self.relu(self.norm2(residual))))
        return output


class PreactBottleneck(nn.Module):
    """x + F(x) with 1x1, 3x3, 1x1, each after norm and relu: (N, in_channels, …) → (N, 4·width, …)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        channels = width * self.expansion
        self.fit = _shortcut_convolution(in_channels, channels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        activated = self.relu(self.norm1(maps))
        shortcut = maps if self.fit is None else self.fit(activated)
        residual = self.conv1(activated)
        residual = self.conv2(self.relu(self.norm2(residual)))
        output: Tensor = shortcut + self.drop_path(self.conv3(self.relu(self.norm3(residual))))
        return output


def _shortcut_convolution(in_channels: int, channels: int, stride: int) -> nn.Module | None:
    """Return the 1x1 convolution of a shortcut if the shape changes, otherwise None."""
    same_shape = stride == 1 and in_channels == channels
    return None if same_shape else convolution(in_channels, channels, 1, stride)


Block = type[PreactBasicBlock] | type[PreactBottleneck]

FILTERS = (64, 128, 256, 512)
STAGES: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (PreactBasicBlock, (2, 2, 2, 2)),
    34: (PreactBasicBlock, (3, 4, 6, 3)),
    50: (PreactBottleneck, (3, 4, 6, 3)),
    101: (PreactBottleneck, (3, 4, 23, 3)),
    152: (PreactBottleneck, (3, 8, 36, 3)),
    200: (PreactBottleneck, (3, 24, 36, 3)),
}
CIFAR_FILTERS = (16, 32, 64)


class PreactResNet(Classifier):
    """The networks of ImageNet's sizes: (N, in_channels, height, width) → (N, classes).

    The stem of form "imagenet" is 7x7 at stride 2 and pooling, that of "small" 3x3. At 50 layers,
    parameters are in the order of timm's resnetv2_50.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        form: str = "imagenet",
        width: float = 1.0,
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        block, blocks = STAGES[depth]
        channels = scaled(FILTERS[0], width)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if form == "imagenet":
            parts["stem"] = convolution(in_channels, channels, 7, 2)
            parts["pool"] = nn.MaxPool2d(3, 2, 1)
        else:
            parts["stem"] = convolution(in_channels, channels, 3)
        channels = _add_stages(
            parts, block, channels, [scaled(filters, width) for filters in FILTERS], blocks
        )
        self.features = nn.Sequential(parts)
        self.head = average_head(channels, classes, dropout_rate)
        initialize(self)


class CifarPreactResNet(Classifier):
    """The networks for 32x32 images, of depth 6n + 2 or 9n + 2: (N, in_channels, H, W) → (N, classes)."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        bottleneck: bool = False,
        width: float = 1.0,
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        block: Block = PreactBottleneck if bottleneck else PreactBasicBlock
        blocks = (depth - 2) // (9 if bottleneck else 6)
        channels = scaled(CIFAR_FILTERS[0], width)
        parts: OrderedDict[str, nn.Module] = OrderedDict(stem=convolution(in_channels, channels, 3))
        filters = [scaled(count, width) for count in CIFAR_FILTERS]
        channels = _add_stages(parts, block, channels, filters, [blocks] * 3)
        self.features = nn.Sequential(parts)
        self.head = average_head(channels, classes, dropout_rate)
        initialize(self)


def _add_stages(
    parts: OrderedDict[str, nn.Module],
    block: Block,
    in_channels: int,
    filters: Sequence[int],
    blocks: Sequence[int],
) -> int:
    """Add the stages and the final norm and relu to `parts`; return the output channels."""
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True), 1):
        stage_blocks: list[nn.Module] = []
        for number in range(count):
            stride = 2 if number == 0 and stage > 1 else 1
            stage_blocks.append(block(in_channels, width, stride))
            in_channels = width * block.expansion
        parts[f"stage{stage}"] = nn.Sequential(*stage_blocks)
    parts["norm"] = nn.BatchNorm2d(in_channels)
    parts["relu"] = nn.ReLU(inplace=True)
    return in_channels
