"""LeNet-5 as published (N2).

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998, section II.B.

The layers, several of which differ from the modern form (lenet.py), for images of 32x32:

    C1   6 filters of 5x5                       28x28x6                        156 weights
    S2   sum of 2x2, times a coefficient,       14x14x6     one of each per map 12
         plus a bias
    C3  16 filters of 5x5, each on some of      10x10x16    see TABLE        1 516
         the six maps
    S4   as S2                                   5x5x16                         32
    C5  120 units, each on all 5x5x16                                       48 120
    F6   84 units                                                           10 164
    output: distance to ten character bitmaps                                    0

60 000 in total. An activation follows every layer: 1.7159·tanh(2a/3), whose curvature is largest near the
target values ±1. The output has no weights: a character's bitmap is 12 rows of 7 pixels, a code of 84
values ±1, the target of F6. The squared distance of F6 to a class's code is the penalty of the class; the
prediction is the class with the smallest, and if all are large the image is not a character.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..initialization.weights import uniform_by_fan_in
from . import shared_layers
from .classifier import Classifier
from .lenet import padding_and_last_map

# For each of C3's 16 maps, its input maps of S2 (the paper's table I). In cyclic order of the six maps: all
# sets of three neighbours, all of four neighbours, three other sets of four, and all six. All are distinct.
TABLE = (
    *(tuple(sorted((first + i) % 6 for i in range(3))) for first in range(6)),
    *(tuple(sorted((first + i) % 6 for i in range(4))) for first in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# The ten codes as bitmaps, 7 wide and 12 high; x is +1, a dot is -1.
DIGIT_BITMAPS = """
..xxx.. ...xx.. .xxxxx. xxxxxxx ....xx. xxxxxxx ..xxxx. xxxxxxx .xxxxx. .xxxxx.
.x...x. ..xxx.. xx...xx .....xx ...xxx. xx..... .xx.... xx...xx xx...xx xx...xx
xx...xx .xxxx.. x.....x ....xx. ..xx.x. xx..... xx..... .....xx xx...xx xx...xx
xx...xx ...xx.. .....xx ...xx.. ..x..x. xx..... xx..... .....x. xx...xx xx...xx
xx...xx ...xx.. .....xx ..xx... .xx..x. xx..... xx..... ....xx. .xx.xx. xx...xx
xx...xx ...xx.. ....xx. .xxxxx. .x...x. xxxxxx. xxxxxx. ....x.. ..xxx.. .xx..xx
xx...xx ...xx.. ...xx.. .....xx xx...x. .....xx xx...xx ...xx.. .xx.xx. ..xxxxx
xx...xx ...xx.. ..xx... .....xx xxxxxxx .....xx xx...xx ...x... xx...xx .....xx
xx...xx ...xx.. .xx.... .....xx .....x. .....xx xx...xx ..xx... xx...xx .....xx
xx...xx ...xx.. xx..... .....xx .....x. x....xx xx...xx ..xx... xx...xx .....x.
.x...x. ...xx.. xx..... xx...xx .....x. xx..xx. .xx..xx ..xx... xx...xx ....xx.
..xxx.. .xxxxxx xxxxxxx .xxxxx. .....x. .xxxx.. ..xxxx. ..xx... .xxxxx. .xxxx..
"""
CODE_LENGTH = 84


def codes(classes: int) -> Tensor:
    """Return the code of each class: (classes, 84) of ±1.

    Ten classes have the digits' bitmaps. Other numbers of classes have random codes from a fixed seed: any
    two differ in about half of their values, so that they are far apart.
    """
    if classes == 10:
        rows = [line.split() for line in DIGIT_BITMAPS.split("\n") if line]
        bitmaps = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if pixel == "x" else -1.0 for pixel in code] for code in bitmaps])
    generator = torch.Generator("cpu").manual_seed(1998)
    return torch.randint(0, 2, (classes, CODE_LENGTH), generator=generator, device="cpu") * 2.0 - 1.0


class Subsampling(nn.Module):
    """coefficient·(sum of each 2x2) + bias, both per map: (N, C, H, W) → (N, C, H/2, W/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        sums = F.avg_pool2d(maps, 2, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class DistanceToCodes(nn.Module):
    """An RBF layer of fixed codes with scores -|x - code|²: (N, 84, …) → (N, classes, …)."""

    codes: Tensor

    def __init__(self, classes: int):
        super().__init__()
        self.register_buffer("codes", codes(classes).to(torch.empty(0).device))

    def forward(self, values: Tensor) -> Tensor:
        # In float32 or wider: scores of two classes differ little relative to the sum of 84 squares.
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        codes = self.codes.reshape(*self.codes.shape, *[1] * (values.ndim - 2))
        return -(values[:, None] - codes).square().sum(2)


class LeNet5Original(Classifier):
    """LeNet-5 as published: (N, in_channels, height, width) → (N, classes), negative squared distances.

    Images below 32 pixels are zero-padded by 2 on each side. As in the paper, initial weights are uniform
    in ±2.4/n, n being a unit's number of inputs.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        activation: str = "scaled_tanh",
        dropout: float = 0.0,
    ):
        super().__init__()
        padding, (height, width) = padding_and_last_map(image_size)
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, 6, 5, padding=padding),
                squash1=shared_layers.activation(activation),
                s2=Subsampling(6),
                squash2=shared_layers.activation(activation),
                c3=shared_layers.TableConvolution(6, TABLE, 5),
                squash3=shared_layers.activation(activation),
                s4=Subsampling(16),
                squash4=shared_layers.activation(activation),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                c5=nn.Linear(16 * height * width, 120),
                squash5=shared_layers.activation(activation),
                dropout=shared_layers.dropout(dropout),
                f6=nn.Linear(120, CODE_LENGTH),
                squash6=shared_layers.activation(activation),
                output=DistanceToCodes(classes),
            )
        )
        uniform_by_fan_in(self, 2.4)
