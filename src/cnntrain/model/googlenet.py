"""GoogLeNet, also called Inception v1 (N7).

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going deeper with
convolutions, CVPR 2015.

Objects differ in size, so a block applies filters of several sizes to the same feature map in parallel
and concatenates the results along the channels. 1x1 convolutions reduce the channels first, to limit the
cost of the large filters:

    1x1 ─────────────────┐
    1x1 → 3x3 ───────────┤
    1x1 → 5x5 ───────────┼─→ all their channels, on a map of the same size
    max 3x3 → 1x1 ───────┘

For images of 224x224, with pooling between the stages; every convolution has biases and ReLU:

    conv1     7x7, stride 2, 64        112x112   pooling → 56x56, response norm
    conv2     1x1, 64, then 3x3, 192     56x56   response norm, pooling → 28x28
    3a, 3b    256, 480 channels          28x28
    4a – 4e   512, 512, 512, 528, 832    14x14   auxiliary heads read 4a and 4d
    5a, 5b    832, 1024                    7x7
    output    average of the map, 1024 → classes

There is no hidden fully connected layer at the end, so the 22 layers have 7.0 million weights, a twentieth
of VGG-16's, and take 1.6 billion multiply-adds (the paper's budget was 1.5). Batch norm and shortcuts were
not yet known, and the authors expected the gradient in the lower half to be too small: hence the two
auxiliary heads on intermediate feature maps, which are removed after training.

torchvision's GoogLeNet has batch norm in place of biases and response norm, and 3x3 convolutions in place
of the paper's 5x5, an error that its pretrained weights depend on. The small form, for images like
CIFAR's, omits conv1's stride and the pooling after it: the blocks have maps of 16x16, 8x8 and 4x4.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import AuxiliaryClassifier
from .inception_blocks import HALVE, MAX, AuxiliaryPool, Builder, Conv, LayerSpec
from .shared_layers import average_head, scaled

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
    """GoogLeNet: (N, in_channels, height, width) → (N, classes), in training also auxiliary scores.

    `variant` is "paper" or "torchvision"; parameters are in torchvision's order. `dropout` None means the
    paper's: 0.4 before the output, 0.7 in the auxiliary heads.
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


def plan(variant: str, form: str) -> dict[str, LayerSpec]:
    """Return the layer specifications of GoogLeNet's features by name."""
    paper, imagenet = variant == "paper", form == "imagenet"
    specs: dict[str, LayerSpec] = {"conv1": Conv(64, 7, 2) if imagenet else Conv(64, 3)}
    if imagenet:
        specs["pool1"] = HALVE
    if paper:
        specs["norm1"] = shared_layers.response_norm
    specs |= {"conv2_reduce": Conv(64), "conv2": Conv(192, 3)}
    if paper:
        specs["norm2"] = shared_layers.response_norm
    specs["pool2"] = HALVE
    for name, (single, (reduce3, three), (reduce5, five), projection) in BLOCKS.items():
        if name == "4a":
            specs["pool3"] = HALVE
        if name == "5a":
            specs["pool4"] = HALVE if paper else partial(nn.MaxPool2d, 2, 2, ceil_mode=True)
        specs[f"inception{name}"] = {
            "1x1": (Conv(single),),
            "3x3": (Conv(reduce3), Conv(three, 3)),
            "5x5": (Conv(reduce5), Conv(five, 5 if paper else 3)),
            "pool": (MAX, Conv(projection)),
        }
    return specs


def auxiliary_head(build: Builder, channels: int, classes: int, variant: str, rate: float) -> nn.Sequential:
    """Return an auxiliary head: 4x4 averages → 128 filters of 1x1 → 1024 hidden units → scores."""
    filters, hidden = scaled(128, build.width), scaled(1024, build.width)
    return nn.Sequential(
        OrderedDict(
            pool=AuxiliaryPool(4) if variant == "paper" else nn.AdaptiveAvgPool2d(4),
            conv=build.conv(Conv(128), channels),
            flatten=nn.Flatten(),
            hidden=nn.Linear(filters * 4 * 4, hidden),
            activation=shared_layers.activation("relu"),
            dropout=shared_layers.dropout(rate),
            output=nn.Linear(hidden, classes),
        )
    )
