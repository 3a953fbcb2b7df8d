"""VGG-11, 13, 16 and 19 (N6).

Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition, ICLR 2015.

One idea, carried through: every filter is 3x3 and every pooling 2x2. Three 3x3 convolutions see as much
as one of 7x7, with 27·C² weights in place of 49·C² and three nonlinearities in place of one, so depth
is where the weights go. Filters double whenever pooling halves the map, up to 512. Most of the weights
(103 of 133 million in VGG-11) are those of the first fully connected layer; the small form has none of
the three, only one from 512 to the classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import initialization
from .layers import dropout as dropout_layer

# Convolutions before each of the five poolings.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """(N, in_channels, height, width) → (N, classes), from 32 pixels on.

    Its modules have the names and the order of torchvision's in the imagenet form. `dropout` None is the
    paper's 0.5 after each hidden layer there, and none in the small form.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        classes: int,
        batch_norm: bool = False,
        form: str = "imagenet",
        dropout: float | None = None,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for convolutions, filters in zip(CONVOLUTIONS[depth], FILTERS, strict=True):
            for _ in range(convolutions):
                layers.append(nn.Conv2d(in_channels, filters, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(filters))
                layers.append(nn.ReLU(inplace=True))
                in_channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if form == "imagenet":
            rate = 0.5 if dropout is None else dropout
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(inplace=True),
                dropout_layer(rate),
                nn.Linear(4096, 4096),
                nn.ReLU(inplace=True),
                dropout_layer(rate),
                nn.Linear(4096, classes),
            )
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Sequential(dropout_layer(dropout or 0.0), nn.Linear(512, classes))
        initialization.own(self)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.avgpool(self.features(images))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores
