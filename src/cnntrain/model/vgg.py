"""VGG-11, 13, 16 and 19 (N6).

Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition, ICLR 2015.

Every filter is 3x3 and every pooling 2x2. Three 3x3 convolutions have the receptive field of one of 7x7,
with 27·C² weights in place of 49·C² and three nonlinearities in place of one, so small filters allow more
depth for the same number of weights. The number of filters doubles whenever pooling halves the map, up to
512. Most of the weights (103 of 133 million in VGG-11) are in the first fully connected layer; the small
form has a single layer from 512 to the classes in place of all three.

Layers are named by stage: conv3_2 is the second convolution of the third stage. A deeper VGG therefore has
all layer names of a shallower one, and can start from its weights (initialization=from_run).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import Classifier
from .shared_layers import ConvUnit, average_head, preactivations, scaled

# By depth, the number of convolutions before each of the five poolings.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


class VGG(Classifier):
    """A VGG: (N, in_channels, height, width) → (N, classes), for images of at least 32 pixels.

    Parameters of the imagenet form are in torchvision's order. `dropout` None means the paper's 0.5 after
    each hidden layer in the imagenet form, and no dropout in the small form.
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
                    fc6=nn.Linear(channels * 7 * 7, preactivations(hidden, activation)),
                    activation6=shared_layers.activation(activation),
                    dropout6=shared_layers.dropout(rate),
                    fc7=nn.Linear(hidden, preactivations(hidden, activation)),
                    activation7=shared_layers.activation(activation),
                    dropout7=shared_layers.dropout(rate),
                    output=nn.Linear(hidden, classes),
                )
            )
        else:
            self.head = average_head(channels, classes, dropout or 0.0)
        initialize(self, activation)
