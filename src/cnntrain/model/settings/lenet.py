"""Settings of LeNet-5, in its original and in its modern form (N2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, MNIST, POOLINGS, Model

if TYPE_CHECKING:
    from torch import nn


@dataclass
class LeNet5(Model):
    """LeNet-5 in its modern form: 6 and 16 filters of 5x5, then 400-120-84-10 (LeCun et al. 1998; N2)."""

    paper = "LeCun, Bottou, Bengio, Haffner 1998"
    published = MNIST

    name: str = fixed("lenet5")
    activation: str = setting("tanh", "activation after each layer except the last", choices=ACTIVATIONS)
    pooling: str = setting("average", "type of the 2x2 pooling after each convolution (L4)", choices=POOLINGS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 28

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..lenet import LeNet5 as Network

        return Network(in_channels, classes, image_size, self.activation, self.pooling, dropout or 0.0)


@dataclass
class LeNet5Original(Model):
    """LeNet-5 as published: sparse connections in C3, trainable subsampling, and distances to drawn digits as
    output (LeCun et al. 1998; N2)."""

    paper = "LeCun, Bottou, Bengio, Haffner 1998"
    published = MNIST
    # The squared distance of features that are 0 to a code of 84 values ±1.
    initial_score = -84.0

    name: str = fixed("lenet5_original")
    activation: str = setting(
        "scaled_tanh",
        "activation after each layer except the last; scaled_tanh: 1.7159·tanh(2a/3), whose range contains "
        "the target codes ±1; sigmoid: its range does not, and it hardly trains",
        choices=("scaled_tanh", "sigmoid"),
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 28

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..lenet_original import LeNet5Original as Network

        return Network(in_channels, classes, image_size, self.activation, dropout or 0.0)
