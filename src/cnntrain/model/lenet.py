"""LeNet-5 in its modern form (N2).

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998.

The first network of the pattern convolution, pooling, convolution, pooling, fully connected. For 32x32
images:

    C1   6 filters of 5x5     28x28x6       S2   pooling   14x14x6
    C3  16 filters of 5x5     10x10x16      S4   pooling    5x5x16
    C5  400 → 120             F6  120 → 84                 output  84 → 10

lenet_original.py has the network as published.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import Classifier
from .feature_map_sizes import Window, output_size
from .shared_layers import ConvUnit


def padding_and_last_map(image_size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Return the padding of images, 2 below 32 pixels, and the (height, width) of the map after S4."""
    padding = 2 if min(image_size) < 32 else 0
    windows = [Window(5, padding=padding), Window(2, 2), Window(5), Window(2, 2)]
    return padding, (output_size(windows, image_size[0]), output_size(windows, image_size[1]))


class LeNet5(Classifier):
    """LeNet-5 in its modern form: (N, in_channels, height, width) → (N, classes).

    Images below 32 pixels, such as MNIST's 28x28, are zero-padded by 2 on each side; the number of C5's
    inputs follows from the image size. 61 706 weights for one channel, 28x28 or 32x32, and 10 classes.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        activation: str = "tanh",
        pooling: str = "average",
        dropout: float = 0.0,
    ):
        super().__init__()
        padding, (height, width) = padding_and_last_map(image_size)
        self.features = nn.Sequential(
            OrderedDict(
                c1=ConvUnit(in_channels, 6, 5, padding=padding, activation_name=activation),
                s2=shared_layers.pooling(pooling),
                c3=ConvUnit(6, 16, 5, padding=0, activation_name=activation),
                s4=shared_layers.pooling(pooling),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=shared_layers.hidden_layers(16 * height * width, [120, 84], activation, 0.0),
                dropout=shared_layers.dropout(dropout),
                output=nn.Linear(84, classes),
            )
        )
        initialize(self, activation)
