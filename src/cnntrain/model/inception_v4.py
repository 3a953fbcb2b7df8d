"""Inception v4 (N10): the pure Inception network, without shortcuts, of its paper.

Szegedy, Ioffe, Vanhoucke, Alemi: Inception-v4, Inception-ResNet and the impact of residual connections on
learning, AAAI 2017.

Earlier versions had been cut to what could be trained over several machines, and their blocks differed
for that alone. This one begins anew: three kinds of block, all blocks of a kind alike, and more of them.
The stem has branches itself. For images of 299x299:

    stem             3x3/2, 3x3, 3x3, then three forks    384 channels, 35x35
    4 of A           1x1, 3x3, 3x3 twice, average         384, 35x35
    reduction A      3x3, 3x3 twice, max; stride 2        1024, 17x17
    7 of B           1x1, 7x7, 7x7 twice, average         1024, 17x17
    reduction B      3x3, 7x7 and 3x3, max; stride 2      1536, 8x8
    3 of C           1x1, 3x3, 3x3 twice, average         1536, 8x8
    output           average of the map, 1536 → classes

7x7 is 1x7 and 7x1 one after the other; C ends in 1x3 and 3x1 side by side. Where the paper's figures leave
open which of the two comes first, the order is that of the authors' code. Padding does not count in
averages. In the small form, for images like CIFAR's, every convolution is padded and of the stem's strides
the last alone is left: the blocks see 16x16, 8x8 and 4x4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .inception_blocks import Builder, Conv, Step
from .layers import average_head

AVERAGE = partial(nn.AvgPool2d, 3, 1, 1, count_include_pad=False)
ACROSS, DOWN = (1, 7), (7, 1)

BLOCK_A: Step = {
    "1x1": (Conv(96),),
    "3x3": (Conv(64), Conv(96, 3)),
    "double3x3": (Conv(64), Conv(96, 3), Conv(96, 3)),
    "pool": (AVERAGE, Conv(96)),
}
BLOCK_B: Step = {
    "1x1": (Conv(384),),
    "7x7": (Conv(192), Conv(224, ACROSS), Conv(256, DOWN)),
    "double7x7": (Conv(192), Conv(192, DOWN), Conv(224, ACROSS), Conv(224, DOWN), Conv(256, ACROSS)),
    "pool": (AVERAGE, Conv(128)),
}
BOTH: Step = {"1x3": (Conv(256, (1, 3)),), "3x1": (Conv(256, (3, 1)),)}
BLOCK_C: Step = {
    "1x1": (Conv(256),),
    "3x3": (Conv(384), BOTH),
    "double3x3": (Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), BOTH),
    "pool": (AVERAGE, Conv(256)),
}


class InceptionV4(Classifier):
    """(N, in_channels, height, width) → (N, classes); weights have the order of timm's.

    `blocks` are the numbers of A, B and C. `dropout` None is the paper's 0.2 before the output.
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


def plan(blocks: Sequence[int], form: str) -> dict[str, Step]:
    """Return what the features of Inception v4 consist of."""
    a, b, c = (range(1, count + 1) for count in blocks)
    edge, stride = (0, 2) if form == "imagenet" else (1, 1)
    halve = partial(nn.MaxPool2d, 3, 2, edge)
    seven: tuple[Step, ...] = (Conv(64), Conv(64, ACROSS), Conv(64, DOWN), Conv(96, 3, 1, edge))
    return {
        "conv1": Conv(32, 3, stride, edge),
        "conv2": Conv(32, 3, 1, edge),
        "conv3": Conv(64, 3),
        "stem1": {"pool": (partial(nn.MaxPool2d, 3, stride, edge),), "3x3": (Conv(96, 3, stride, edge),)},
        "stem2": {"3x3": (Conv(64), Conv(96, 3, 1, edge)), "7x7": seven},
        "stem3": {"3x3": (Conv(192, 3, 2, edge),), "pool": (halve,)},
        **{f"a{number}": BLOCK_A for number in a},
        "reduction_a": {
            "3x3": (Conv(384, 3, 2, edge),),
            "double3x3": (Conv(192), Conv(224, 3), Conv(256, 3, 2, edge)),
            "pool": (halve,),
        },
        **{f"b{number}": BLOCK_B for number in b},
        "reduction_b": {
            "3x3": (Conv(192), Conv(192, 3, 2, edge)),
            "7x7": (Conv(256), Conv(256, ACROSS), Conv(320, DOWN), Conv(320, 3, 2, edge)),
            "pool": (halve,),
        },
        **{f"c{number}": BLOCK_C for number in c},
    }
