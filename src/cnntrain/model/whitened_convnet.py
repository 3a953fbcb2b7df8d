"""The small convolutional network of the fastest recipes for CIFAR-10 (Jordan 2024).

Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024. A first convolution of 2x2 sees each of the 12
values of a patch; initialization=whitening makes its 24 filters the patches' whitened principal axes and
their negatives. Three blocks follow, each of two 3x3 convolutions with batch norm. The pooling of a block
is directly after its first convolution, so that the norm, the activation and all that follow see a quarter
of the positions. Sizes for images of 32x32:

    whiten    24 of 2x2, no padding   31x31
    block 1   64 of 3x3, pooling 2x2  15x15     64 of 3x3
    block 2  256 of 3x3, pooling 2x2    7x7    256 of 3x3
    block 3  256 of 3x3, pooling 2x2    3x3    256 of 3x3
    maximum over the map, linear layer without bias

The authors divide the scores by 256; its only effect is that the head learns at a rate 256² times smaller,
which model.head_lr sets here.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from . import shared_layers
from .classifier import Classifier
from .shared_layers import convolution, preactivations, scaled

PATCH_SIDE = 2


class WhitenedConvNet(Classifier):
    """The network of Jordan 2024: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        channels: list[int],
        activation: str = "gelu",
        width: float = 1.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        patches = 2 * in_channels * PATCH_SIDE**2
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["whiten"] = nn.Conv2d(in_channels, preactivations(patches, activation), PATCH_SIDE)
        parts["activation"] = shared_layers.activation(activation)
        inputs = patches
        for number, filters in enumerate(channels, 1):
            outputs = scaled(filters, width)
            units = preactivations(outputs, activation)
            for index, count in enumerate((inputs, outputs), 1):
                parts[f"conv{number}_{index}"] = convolution(count, units, 3)
                if index == 1:
                    parts[f"pool{number}"] = shared_layers.pooling("max")
                parts[f"norm{number}_{index}"] = nn.BatchNorm2d(units)
                parts[f"activation{number}_{index}"] = shared_layers.activation(activation)
            inputs = outputs
        self.features = nn.Sequential(parts)
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveMaxPool2d(1),
                flatten=nn.Flatten(),
                dropout=shared_layers.dropout(dropout),
                output=nn.Linear(inputs, classes, bias=False),
            )
        )
        self._initialize_head()

    @torch.no_grad()
    def _initialize_head(self) -> None:
        """Scale the head to weights of standard deviation 1/n, n being the number of its inputs.

        All other layers keep torch's own initialization, as published.
        """
        weight = self.head.get_submodule("output").get_parameter("weight")
        weight.div_(weight.std() * weight.shape[1])
