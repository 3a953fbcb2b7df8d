"""AlexNet (N3).

Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks, 2012.

LeNet's layer pattern at a size that just fitted on two graphics cards of 3 GB, made trainable by ReLU in
place of tanh, dropout in the fully connected layers and data augmentation. For images of 227x227:

    conv1   96 of 11x11, stride 4   55x55      then response norm, then pooling 3x3/2 → 27x27
    conv2  256 of 5x5               27x27      then response norm, then pooling 3x3/2 → 13x13
    conv3  384 of 3x3               13x13
    conv4  384 of 3x3               13x13
    conv5  256 of 3x3               13x13      then pooling 3x3/2 → 6x6
    fc6   9216 → 4096    fc7   4096 → 4096    output   4096 → 1000

Each card held half of the filters, and only conv3 read both halves: conv2, 4 and 5 have two groups, and
half of the weights of an ungrouped convolution. Pooling windows overlap, 3x3 at stride 2.

The small form, for images like CIFAR's, has 5x5 filters at stride 1 in conv1, and 1024 hidden units.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import Classifier
from .feature_map_sizes import Window, output_size
from .shared_layers import ConvUnit, preactivations, scaled

HIDDEN = {"imagenet": 4096, "small": 1024}


class AlexNet(Classifier):
    """AlexNet and, by `filters` and `groups`, later variants: (N, in_channels, height, width) → (N, classes).

    Images of 227x227 fit conv1 without padding, as (227 - 11)/4 is an integer; images of 224x224, the
    size stated in the paper, are zero-padded by 2 pixels. Dropout follows both hidden layers.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        filters: list[int],
        groups: int = 2,
        normalization: str = "lrn",
        activation: str = "relu",
        pooling: str = "max",
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float = 0.5,
    ):
        super().__init__()
        if form == "imagenet":
            stride_fits = all((side - 11) % 4 == 0 for side in image_size)
            first = Window(11, 4, 0 if stride_fits else 2)
        else:
            first = Window(5, 1, 2)
        self.features, channels = five_convolutions(
            in_channels,
            [scaled(count, width) for count in filters],
            [first, Window(5, 1, 2), *[Window(3, 1, 1)] * 3],
            groups=(1, groups, 1, groups, groups),
            normalization=normalization,
            activation=activation,
            pooling=pooling,
        )
        pool = Window(3, 2)
        map_height, map_width = (output_size([first, pool, pool, pool], side) for side in image_size)
        hidden = scaled(HIDDEN[form], width)
        self.head = two_hidden_layers(channels * map_height * map_width, hidden, classes, activation, dropout)
        initialize(self, activation)


def five_convolutions(
    in_channels: int,
    filters: list[int],
    windows: list[Window],
    groups: tuple[int, ...],
    normalization: str,
    activation: str,
    pooling: str,
    pooling_padding: int = 0,
    pooling_first: bool = False,
) -> tuple[nn.Sequential, int]:
    """Return the convolutions of AlexNet or ZFNet, with pooling after the 1st, 2nd and 5th, and the channels.

    Batch norm is in all of them. Response norm follows the first two, before their pooling, or after it
    with `pooling_first`.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (count, window, group_count) in enumerate(zip(filters, windows, groups, strict=True), 1):
        parts[f"conv{number}"] = ConvUnit(
            in_channels,
            count,
            window.kernel_size,
            window.stride,
            window.padding,
            groups=group_count,
            normalization="batch" if normalization == "batch" else "none",
            activation_name=activation,
        )
        if number in (1, 2):
            pool = shared_layers.pooling(pooling, 3, 2, pooling_padding)
            if pooling_first:
                parts[f"pool{number}"] = pool
            if normalization == "lrn":
                parts[f"norm{number}"] = shared_layers.response_norm()
            if not pooling_first:
                parts[f"pool{number}"] = pool
        in_channels = count
    parts["pool5"] = shared_layers.pooling(pooling, 3, 2)
    return nn.Sequential(parts), in_channels


def two_hidden_layers(
    inputs: int, hidden: int, classes: int, activation: str, dropout: float
) -> nn.Sequential:
    """Return AlexNet's head: flatten → fc6 → fc7 → output, dropout after both hidden layers."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc6=nn.Linear(inputs, preactivations(hidden, activation)),
            activation6=shared_layers.activation(activation),
            dropout6=shared_layers.dropout(dropout),
            fc7=nn.Linear(hidden, preactivations(hidden, activation)),
            activation7=shared_layers.activation(activation),
            dropout7=shared_layers.dropout(dropout),
            output=nn.Linear(hidden, classes),
        )
    )
