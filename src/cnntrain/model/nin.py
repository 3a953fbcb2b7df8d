"""Network in Network (N5).

Lin, Chen, Yan: Network in network, ICLR 2014.

A filter is a linear function of its window. An "mlpconv" block applies a small multi-layer perceptron to
each window instead: a convolution followed by two of 1x1. The last block has one feature map per class,
whose mean is the score of the class: no fully connected layer, hence few weights, less overfitting, and
maps that show where each class was detected. The authors' code has a ReLU after these last maps too; here
there is none, since a class whose score is clipped to 0 on all images has no gradient.

For 32x32 images three blocks (192-160-96, 192-192-192, 192-192-classes), with 3x3/2 pooling after the
first two, max then average, and dropout after each pooling. For ImageNet four blocks (96, 256, 384, 1024
filters) whose first convolutions have AlexNet's windows.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import Classifier
from .feature_map_sizes import Window
from .shared_layers import ConvUnit, scaled

# Filters of each block's three convolutions (0: one per class), and the window of the first.
SMALL = (
    ((192, 160, 96), Window(5, 1, 2)),
    ((192, 192, 192), Window(5, 1, 2)),
    ((192, 192, 0), Window(3, 1, 1)),
)
IMAGENET = (
    ((96, 96, 96), Window(11, 4)),
    ((256, 256, 256), Window(5, 1, 2)),
    ((384, 384, 384), Window(3, 1, 1)),
    ((1024, 1024, 0), Window(3, 1, 1)),
)


class NetworkInNetwork(Classifier):
    """Network in Network: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        normalization: str = "none",
        activation: str = "relu",
        form: str = "small",
        width: float = 1.0,
        dropout: float = 0.5,
    ):
        super().__init__()
        blocks = IMAGENET if form == "imagenet" else SMALL
        # The paper's poolings: for ImageNet all max; for CIFAR the second is average. Dropout follows both
        # for CIFAR, and only the last for ImageNet.
        poolings = ("max", "max", "max") if form == "imagenet" else ("max", "average")
        dropout_after = (3,) if form == "imagenet" else (1, 2)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (filters, window) in enumerate(blocks, 1):
            for index, count in enumerate(filters, 1):
                if not count:
                    parts[f"conv{number}_{index}"] = nn.Conv2d(in_channels, classes, 1)
                    break
                channels = scaled(count, width)
                last_in_block = index == len(filters)
                filter_window = window if index == 1 else Window(1)
                parts[f"conv{number}_{index}"] = ConvUnit(
                    in_channels,
                    channels,
                    filter_window.kernel_size,
                    filter_window.stride,
                    filter_window.padding,
                    normalization="none" if normalization == "lrn" and not last_in_block else normalization,
                    activation_name=activation,
                )
                in_channels = channels
            if number < len(blocks):
                # Sizes are rounded up, as in the authors' Caffe code: 32 → 16 → 8.
                parts[f"pool{number}"] = shared_layers.pooling(poolings[number - 1], 3, 2, ceil_mode=True)
                parts[f"dropout{number}"] = shared_layers.dropout(dropout if number in dropout_after else 0.0)
        self.features = nn.Sequential(parts)
        self.head = nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
        initialize(self, activation)
