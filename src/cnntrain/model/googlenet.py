"""GoogLeNet, also called Inception v1 (N7).

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going deeper with
convolutions, CVPR 2015.

What is in an image may be small or large, so a block looks at the same map through filters of several
sizes at once and lays the results behind one another along the channels. Convolutions of 1x1 first bring
the channels down, or the large filters would cost too much:

    1x1 ─────────────────┐
    1x1 → 3x3 ───────────┤
    1x1 → 5x5 ───────────┼─→ all their channels, on a map of the same size
    max 3x3 → 1x1 ───────┘

For images of 224x224, with a pooling between the stages; every convolution has biases and ReLU:

    conv1     7x7, stride 2, 64        112x112   pooling → 56x56, response norm
    conv2     1x1, 64, then 3x3, 192     56x56   response norm, pooling → 28x28
    3a, 3b    256, 480 channels          28x28
    4a – 4e   512, 512, 512, 528, 832    14x14   auxiliary heads read 4a and 4d
    5a, 5b    832, 1024                    7x7
    output    average of the map, 1024 → classes

There is no hidden fully connected layer at the end. So 22 layers have 7.0 million weights, a twentieth of
VGG-16's, and take 1.6 billion multiply-adds (the paper's budget was 1.5). The authors feared that gradient
would hardly reach the lower half, before batch norm and shortcuts were known: hence the two more heads in
the middle, which are thrown away after training.

torchvision's GoogLeNet has batch norm in place of biases and response norm, and convolutions of 3x3 where
the paper's are of 5x5, a mistake which its trained weights keep. The small form, for images like CIFAR's,
leaves out conv1's stride and the pooling after it: the blocks see 16x16, 8x8 and 4x4.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from ..initialization.weights import initialize
from . import layers
from .classifier import AuxiliaryClassifier
from .inception_blocks import HALVE, MAX, AuxiliaryPool, Builder, Conv, Step
from .layers import average_head, scaled

# Filters of each block: 1x1; 3x3 after its 1x1; 5x5 after its 1x1; 1x1 after pooling.
BLOCKS = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
AUXILIARY_AFTER = ("inception4a", "inception4d")


class GoogLeNet(AuxiliaryClassifier):
    """(N, in_channels, height, width) → (N, classes), while training with the scores of both other heads.

    `variant` is "paper" or "torchvision", whose weights have the same order as these. `dropout` None is
    the paper's: 0.4 before the output, 0.7 in the auxiliary heads.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        variant: str = "paper",
        auxiliary: bool = True,
        auxiliary_weight: float = 0.3,
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float | None = None,
    ):
        super().__init__()
        self.auxiliary_weight = auxiliary_weight
        build = Builder(width, "none" if variant == "paper" else "batch")
        self.features, channels = build.features(plan(variant, form), in_channels)
        self.auxiliary = nn.ModuleDict()
        for name in AUXILIARY_AFTER if auxiliary else ():
            rate = 0.7 if dropout is None else dropout
            self.auxiliary[name] = auxiliary_head(build, channels[name], classes, variant, rate)
        self.head = average_head(channels["inception5b"], classes, 0.4 if dropout is None else dropout)
        initialize(self)


def plan(variant: str, form: str) -> dict[str, Step]:
    """Return what GoogLeNet's features consist of."""
    paper, imagenet = variant == "paper", form == "imagenet"
    steps: dict[str, Step] = {"conv1": Conv(64, 7, 2) if imagenet else Conv(64, 3)}
    if imagenet:
        steps["pool1"] = HALVE
    if paper:
        steps["norm1"] = layers.response_norm
    steps |= {"conv2_reduce": Conv(64), "conv2": Conv(192, 3)}
    if paper:
        steps["norm2"] = layers.response_norm
    steps["pool2"] = HALVE
    for name, (single, (reduce3, three), (reduce5, five), projection) in BLOCKS.items():
        if name == "4a":
            steps["pool3"] = HALVE
        if name == "5a":
            steps["pool4"] = HALVE if paper else partial(nn.MaxPool2d, 2, 2, ceil_mode=True)
        steps[f"inception{name}"] = {
            "1x1": (Conv(single),),
            "3x3": (Conv(reduce3), Conv(three, 3)),
            "5x5": (Conv(reduce5), Conv(five, 5 if paper else 3)),
            "pool": (MAX, Conv(projection)),
        }
    return steps


def auxiliary_head(build: Builder, channels: int, classes: int, variant: str, rate: float) -> nn.Sequential:
    """Return an auxiliary head: 4x4 averages → 128 filters of 1x1 → 1024 hidden units → scores."""
    filters, hidden = scaled(128, build.width), scaled(1024, build.width)
    return nn.Sequential(
        OrderedDict(
            pool=AuxiliaryPool(4) if variant == "paper" else nn.AdaptiveAvgPool2d(4),
            conv=build.conv(Conv(128), channels),
            flatten=nn.Flatten(),
            hidden=nn.Linear(filters * 4 * 4, hidden),
            activation=layers.activation("relu"),
            dropout=layers.dropout(rate),
            output=nn.Linear(hidden, classes),
        )
    )
