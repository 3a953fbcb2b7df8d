"""Network in Network (N5).

Lin, Chen, Yan: Network in network, ICLR 2014.

A filter is a linear function of its window. Let a small perceptron look at each window instead: that is
a convolution followed by two of 1x1, an "mlpconv" block. The last block gives one map for each class,
and the mean of a map is its class's score: no fully connected layer, hence few weights, little to
overfit, and maps that can be read as where each class was seen. The authors' program put a ReLU after
these last maps too; here none follows, since a class whose score is cut to 0 on all images never learns.

For 32x32 images three blocks (192-160-96, 192-192-192, 192-192-classes), pooling 3x3/2 after the first
two, maximum then average, and dropout after it. For ImageNet four blocks (96, 256, 384, 1024 filters)
whose first filters are AlexNet's.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import layers
from .classifier import Classifier
from .layers import ConvUnit, scaled
from .sizes import Window

# Filters of each block's three convolutions (0: one for each class), and the window of the first.
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
    """(N, in_channels, height, width) → (N, classes)."""

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
        # The paper's poolings: all maxima for ImageNet; for CIFAR the second averages. Dropout follows
        # both of them there, and the last alone for ImageNet.
        poolings = ("max", "max", "max") if form == "imagenet" else ("max", "average")
        dropped = (3,) if form == "imagenet" else (1, 2)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (filters, window) in enumerate(blocks, 1):
            for place, count in enumerate(filters, 1):
                if not count:
                    parts[f"conv{number}_{place}"] = nn.Conv2d(in_channels, classes, 1)
                    break
                channels = scaled(count, width)
                last_in_block = place == len(filters)
                seen = window if place == 1 else Window(1)
                parts[f"conv{number}_{place}"] = ConvUnit(
                    in_channels,
                    channels,
                    seen.kernel_size,
                    seen.stride,
                    seen.padding,
                    normalization="none" if normalization == "lrn" and not last_in_block else normalization,
                    activation_name=activation,
                )
                in_channels = channels
            if number < len(blocks):
                # Rounded up, as in the authors' Caffe: 32 → 16 → 8.
                parts[f"pool{number}"] = layers.pooling(poolings[number - 1], 3, 2, ceil_mode=True)
                parts[f"dropout{number}"] = layers.dropout(dropout if number in dropped else 0.0)
        self.features = nn.Sequential(parts)
        self.head = nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
        initialize(self, activation)
