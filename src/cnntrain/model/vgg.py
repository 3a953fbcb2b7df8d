"""VGG-11, 13, 16 and 19 (N6).

Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition, ICLR 2015.

One idea, carried through: every filter is 3x3 and every pooling 2x2. Three 3x3 convolutions see as much
as one of 7x7, with 27·C² weights in place of 49·C² and three nonlinearities in place of one, so depth
is where the weights go. Filters double whenever pooling halves the map, up to 512. Most of the weights
(103 of 133 million in VGG-11) are those of the first fully connected layer; the small form has none of
the three, only one from 512 to the classes.

Layers are named by stage, conv3_2 being the second convolution of the third. So a deeper VGG has all
the names of a shallower one, and can start from its weights (initialization=from_run).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import layers
from .classifier import Classifier
from .layers import ConvUnit, average_head, scaled, widened

# Convolutions before each of the five poolings.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


class VGG(Classifier):
    """(N, in_channels, height, width) → (N, classes), from 32 pixels on.

    Weights have the order of torchvision's in the imagenet form. `dropout` None is the paper's 0.5 after
    each hidden layer there, and none in the small form.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        normalization: str = "none",
        activation: str = "relu",
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float | None = None,
    ):
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for stage, (convolutions, filters) in enumerate(zip(CONVOLUTIONS[depth], FILTERS, strict=True), 1):
            for number in range(1, convolutions + 1):
                first = stage == number == 1
                parts[f"conv{stage}_{number}"] = ConvUnit(
                    channels,
                    scaled(filters, width),
                    3,
                    normalization="none" if normalization == "lrn" and not first else normalization,
                    activation_name=activation,
                    bias=True,
                )
                channels = scaled(filters, width)
            parts[f"pool{stage}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(parts)
        if form == "imagenet":
            rate = 0.5 if dropout is None else dropout
            hidden = scaled(4096, width)
            self.head = nn.Sequential(
                OrderedDict(
                    pool=nn.AdaptiveAvgPool2d(7),
                    flatten=nn.Flatten(),
                    fc6=nn.Linear(channels * 7 * 7, widened(hidden, activation)),
                    activation6=layers.activation(activation),
                    dropout6=layers.dropout(rate),
                    fc7=nn.Linear(hidden, widened(hidden, activation)),
                    activation7=layers.activation(activation),
                    dropout7=layers.dropout(rate),
                    output=nn.Linear(hidden, classes),
                )
            )
        else:
            self.head = average_head(channels, classes, dropout or 0.0)
        initialize(self, activation)
