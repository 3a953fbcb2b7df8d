"""Settings of the network of the fastest recipes for CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, CIFAR, Scalable

if TYPE_CHECKING:
    from torch import nn


@dataclass
class WhitenedConvNet(Scalable):
    """2x2 filters on patches, then blocks of two 3x3 convolutions with an early pooling (Jordan 2024).

    The network of airbench94. Its first layer is meant for initialization=whitening.
    """

    paper = "Jordan 2024"
    published = CIFAR

    name: str = fixed("whitened_convnet")
    channels: list[int] = setting([64, 256, 256], "filters of each block, which halves the map", ge=1)
    activation: str = setting("gelu", "activation after each layer except the last", choices=ACTIVATIONS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return int(2 ** len(self.channels)) + 1

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..whitened_convnet import WhitenedConvNet as Network

        return Network(in_channels, classes, self.channels, self.activation, self.width, dropout or 0.0)
