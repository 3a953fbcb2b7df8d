"""Inception v3 (N9).

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception architecture for computer vision,
CVPR 2016.

Large filters are factorized further: an nxn filter into 1xn followed by nx1, with the same receptive field
and 2n·C² weights in place of n²·C². The paper finds this effective on feature maps of 12 to 20 pixels,
hence factorized 7x7 on maps of 17x17. On the last maps, of 8x8, 1x3 and 3x1 are in parallel, for more
channels where the map is small. Five kinds of block, for images of 299x299 (torchvision's names):

    stem       3x3/2, 3x3, 3x3, max, 1x1, 3x3, max     32, 32, 64, 80, 192 filters → 35x35
    5b – 5d    A: 1x1, 5x5, 3x3 twice, average         256, 288, 288 channels, 35x35
    6a         B: 3x3, 3x3 twice, max; all stride 2    768, 17x17
    6b – 6e    C: 1x1, 7x7, 7x7 twice, average         768, 17x17; the auxiliary head reads 6e
    7a         D: 3x3, 7x7 and 3x3, max; stride 2      1280, 8x8
    7b, 7c     E: 1x1, 3x3, 3x3 and 3x3, average       2048, 8x8
    output     average of the map, 2048 → classes

The numbers of filters are those of the authors' code, as in torchvision. Most convolutions of the stem,
and those of stride 2, have no padding. In the small form, for images like CIFAR's, all have padding, and
only the last pooling of the stem has stride 2: the blocks have maps of 16x16, 8x8 and 4x4.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from ..initialization.weights import initialize
from .classifier import AuxiliaryClassifier
from .inception_blocks import AVERAGE, AuxiliaryPool, Builder, Conv, LayerSpec
from .shared_layers import average_head, scaled

# Filters after the average pooling of each block A, and of the 7x7 in each block C.
BLOCKS_A = {"5b": 32, "5c": 64, "5d": 64}
BLOCKS_C = {"6b": 128, "6c": 160, "6d": 160, "6e": 192}
AUXILIARY_AFTER = "mixed6e"


class InceptionV3(AuxiliaryClassifier):
    """Inception v3: (N, in_channels, height, width) → (N, classes), in training also the auxiliary scores.

    Parameters are in torchvision's order, except those of the auxiliary head, which torchvision has after
    6e and which are before those of the output here. `dropout` None means 0.5 before the output.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        auxiliary: bool = True,
        auxiliary_weight: float = 0.3,
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float | None = None,
    ):
        super().__init__()
        self.auxiliary_weight = auxiliary_weight
        build = Builder(width)
        self.features, channels = build.features(plan(form), in_channels)
        self.auxiliary = nn.ModuleDict()
        if auxiliary:
            self.auxiliary[AUXILIARY_AFTER] = auxiliary_head(build, channels[AUXILIARY_AFTER], classes)
        self.head = average_head(channels["mixed7c"], classes, 0.5 if dropout is None else dropout)
        initialize(self)


def plan(form: str) -> dict[str, LayerSpec]:
    """Return the layer specifications of Inception v3's features by name."""
    imagenet = form == "imagenet"
    padding = 0 if imagenet else 1
    halve = partial(nn.MaxPool2d, 3, 2, padding)
    specs: dict[str, LayerSpec] = {
        "conv1": Conv(32, 3, 2 if imagenet else 1, padding),
        "conv2": Conv(32, 3, 1, padding),
        "conv3": Conv(64, 3),
    }
    if imagenet:
        specs["pool3"] = halve
    specs |= {"conv4": Conv(80), "conv5": Conv(192, 3, 1, padding), "pool5": halve}
    specs |= {f"mixed{name}": block_a(filters) for name, filters in BLOCKS_A.items()}
    specs["mixed6a"] = {
        "3x3": (Conv(384, 3, 2, padding),),
        "double3x3": (Conv(64), Conv(96, 3), Conv(96, 3, 2, padding)),
        "pool": (halve,),
    }
    specs |= {f"mixed{name}": block_c(filters) for name, filters in BLOCKS_C.items()}
    specs["mixed7a"] = {
        "3x3": (Conv(192), Conv(320, 3, 2, padding)),
        "7x7": (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, padding)),
        "pool": (halve,),
    }
    specs |= {"mixed7b": block_e(), "mixed7c": block_e()}
    return specs


def block_a(projection: int) -> LayerSpec:
    """Return block A, for the largest maps: figure 5 of the paper, with 5x5 in place of its single 3x3."""
    return {
        "1x1": (Conv(64),),
        "5x5": (Conv(48), Conv(64, 5)),
        "double3x3": (Conv(64), Conv(96, 3), Conv(96, 3)),
        "pool": (AVERAGE, Conv(projection)),
    }


def block_c(filters: int) -> LayerSpec:
    """Return block C, for the intermediate maps, with 1x7 and 7x1 (figure 6)."""
    conv_1x7, conv_7x1 = Conv(filters, (1, 7)), Conv(filters, (7, 1))
    return {
        "1x1": (Conv(192),),
        "7x7": (Conv(filters), conv_1x7, Conv(192, (7, 1))),
        "double7x7": (Conv(filters), conv_7x1, conv_1x7, conv_7x1, Conv(192, (1, 7))),
        "pool": (AVERAGE, Conv(192)),
    }


def block_e() -> LayerSpec:
    """Return block E, for the smallest maps, with 1x3 and 3x1 in parallel (figure 7)."""
    parallel: LayerSpec = {"1x3": (Conv(384, (1, 3)),), "3x1": (Conv(384, (3, 1)),)}
    return {
        "1x1": (Conv(320),),
        "3x3": (Conv(384), parallel),
        "double3x3": (Conv(448), Conv(384, 3), parallel),
        "pool": (AVERAGE, Conv(192)),
    }


def auxiliary_head(build: Builder, channels: int, classes: int) -> nn.Sequential:
    """Return the auxiliary head: 5x5 averages → 128 filters of 1x1 → 768 of 5x5 → scores."""
    return nn.Sequential(
        OrderedDict(
            pool=AuxiliaryPool(5),
            conv1=build.conv(Conv(128), channels),
            conv2=build.conv(Conv(768, 5, 1, 0), scaled(128, build.width)),
            flatten=nn.Flatten(),
            output=nn.Linear(scaled(768, build.width), classes),
        )
    )
