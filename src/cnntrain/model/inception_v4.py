"""Inception v4 (N10): the network without shortcuts of its paper.

Szegedy, Ioffe, Vanhoucke, Alemi: Inception-v4, Inception-ResNet and the impact of residual connections on
learning, AAAI 2017.

The blocks of earlier versions differed only because the networks were partitioned for training on several
machines. This version has three kinds of block, all blocks of a kind identical, and more of them. The stem
has parallel branches too. For images of 299x299:

    stem             3x3/2, 3x3, 3x3, three branchings    384 channels, 35x35
    4 of A           1x1, 3x3, 3x3 twice, average         384, 35x35
    reduction A      3x3, 3x3 twice, max; stride 2        1024, 17x17
    7 of B           1x1, 7x7, 7x7 twice, average         1024, 17x17
    reduction B      3x3, 7x7 and 3x3, max; stride 2      1536, 8x8
    3 of C           1x1, 3x3, 3x3 twice, average         1536, 8x8
    output           average of the map, 1536 → classes

7x7 is 1x7 and 7x1 in sequence; C ends in 1x3 and 3x1 in parallel. Where the paper's figures do not define
which of the two is first, the order is that of the authors' code. Averages exclude padding. In the small
form, for images like CIFAR's, every convolution is padded and only the last stride of the stem is kept:
the blocks have maps of 16x16, 8x8 and 4x4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .inception_blocks import Builder, Conv, LayerSpec
from .shared_layers import average_head

AVERAGE = partial(nn.AvgPool2d, 3, 1, 1, count_include_pad=False)
K1X7, K7X1 = (1, 7), (7, 1)  # kernel sizes

BLOCK_A: LayerSpec = {
    "1x1": (Conv(96),),
    "3x3": (Conv(64), Conv(96, 3)),
    "double3x3": (Conv(64), Conv(96, 3), Conv(96, 3)),
    "pool": (AVERAGE, Conv(96)),
}
BLOCK_B: LayerSpec = {
    "1x1": (Conv(384),),
    "7x7": (Conv(192), Conv(224, K1X7), Conv(256, K7X1)),
    "double7x7": (Conv(192), Conv(192, K7X1), Conv(224, K1X7), Conv(224, K7X1), Conv(256, K1X7)),
    "pool": (AVERAGE, Conv(128)),
}
PARALLEL: LayerSpec = {"1x3": (Conv(256, (1, 3)),), "3x1": (Conv(256, (3, 1)),)}
BLOCK_C: LayerSpec = {
    "1x1": (Conv(256),),
    "3x3": (Conv(384), PARALLEL),
    "double3x3": (Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), PARALLEL),
    "pool": (AVERAGE, Conv(256)),
}


class InceptionV4(Classifier):
    """Inception v4: (N, in_channels, height, width) → (N, classes); parameters are in timm's order.

    `blocks` are the numbers of A, B and C. `dropout` None means the paper's 0.2 before the output.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        blocks: Sequence[int] = (4, 7, 3),
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float | None = None,
    ):
        super().__init__()
        self.features, channels = Builder(width).features(plan(blocks, form), in_channels)
        self.head = average_head(channels[f"c{blocks[2]}"], classes, 0.2 if dropout is None else dropout)
        initialize(self)


def plan(blocks: Sequence[int], form: str) -> dict[str, LayerSpec]:
    """Return the layer specifications of Inception v4's features by name."""
    a, b, c = (range(1, count + 1) for count in blocks)
    padding, stride = (0, 2) if form == "imagenet" else (1, 1)
    halve = partial(nn.MaxPool2d, 3, 2, padding)
    branch_7x7: tuple[LayerSpec, ...] = (Conv(64), Conv(64, K1X7), Conv(64, K7X1), Conv(96, 3, 1, padding))
    return {
        "conv1": Conv(32, 3, stride, padding),
        "conv2": Conv(32, 3, 1, padding),
        "conv3": Conv(64, 3),
        "stem1": {
            "pool": (partial(nn.MaxPool2d, 3, stride, padding),),
            "3x3": (Conv(96, 3, stride, padding),),
        },
        "stem2": {"3x3": (Conv(64), Conv(96, 3, 1, padding)), "7x7": branch_7x7},
        "stem3": {"3x3": (Conv(192, 3, 2, padding),), "pool": (halve,)},
        **{f"a{number}": BLOCK_A for number in a},
        "reduction_a": {
            "3x3": (Conv(384, 3, 2, padding),),
            "double3x3": (Conv(192), Conv(224, 3), Conv(256, 3, 2, padding)),
            "pool": (halve,),
        },
        **{f"b{number}": BLOCK_B for number in b},
        "reduction_b": {
            "3x3": (Conv(192), Conv(192, 3, 2, padding)),
            "7x7": (Conv(256), Conv(256, K1X7), Conv(320, K7X1), Conv(320, 3, 2, padding)),
            "pool": (halve,),
        },
        **{f"c{number}": BLOCK_C for number in c},
    }
