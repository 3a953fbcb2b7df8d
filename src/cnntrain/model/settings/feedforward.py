"""Settings of the linear classifier, the multi-layer perceptron and the generic CNN (N1, L10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, NORMALIZATIONS, POOLINGS, Model

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Linear(Model):
    """The linear classifier: scores = Wx + b (N1)."""

    name: str = fixed("linear")

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def nonlinearity(self) -> str:
        return "linear"

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..linear import LinearClassifier

        return LinearClassifier(in_channels, classes, image_size, dropout or 0.0)


@dataclass
class Mlp(Model):
    """The multi-layer perceptron: scores = W2·act(W1·x + b1) + b2, or more layers (N1)."""

    name: str = fixed("mlp")
    hidden: list[int] = setting([128], "units of each hidden layer", ge=1)
    activation: str = setting("relu", "activation after each hidden layer (L5)", choices=ACTIVATIONS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..linear import Perceptron

        return Perceptron(in_channels, classes, image_size, self.hidden, self.activation, dropout or 0.0)


@dataclass
class ConvNet(Model):
    """INPUT → [[CONV → act]·N → POOL?]·M → [FC → act]·K → FC, where N, M and K are settings (L10)."""

    name: str = fixed("convnet")
    channels: list[int] = setting([32, 64], "filters in each of the M blocks; []: no convolutions", ge=1)
    convs_per_block: int = setting(2, "convolutions per block (N)", ge=1)
    kernel_size: int = setting(3, "side of the filters", ge=1)
    padding: str = setting(
        "same", "same: zero padding that keeps the map's size; valid: no padding", choices=("same", "valid")
    )
    dilation: int = setting(1, "dilation of the filters; 1: no dilation (L2)", ge=1)
    locally_connected: int = setting(
        0, "number of last convolutions with separate filters at each position (L3)", ge=0
    )
    pooling: str = setting(
        "max",
        "pooling after each block, which halves the map (L4); stride: none, but the block's last convolution "
        "has stride 2; none: the map keeps its size",
        choices=(*POOLINGS, "stride", "none"),
    )
    pooling_size: int = setting(
        2, "side of the pooling windows, whose stride is 2; 3: overlapping windows", ge=2, le=3
    )
    normalization: str = setting(
        "batch",
        "batch: before each activation; lrn: local response normalization after it (L6)",
        choices=NORMALIZATIONS,
    )
    hidden: list[int] = setting([], "units of the K fully connected layers before the last one", ge=1)
    activation: str = setting("relu", "activation after each layer except the last (L5)", choices=ACTIVATIONS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        from ..feature_map_sizes import convnet_windows, min_input

        blocks = convnet_windows(
            len(self.channels),
            self.convs_per_block,
            self.kernel_size,
            self.padding,
            self.dilation,
            self.pooling,
            self.pooling_size,
        )
        return min_input([window for block in blocks for window in block])

    def problems(self) -> list[str]:
        lines = []
        if self.padding == "same" and self.kernel_size % 2 == 0:
            below, above = self.kernel_size - 1, self.kernel_size + 1
            lines.append(
                f"model.kernel_size={self.kernel_size}: must be odd with padding=same; "
                f"write {below} or {above}"
            )
        convolutions = self.convs_per_block * len(self.channels)
        if self.locally_connected > convolutions:
            lines.append(
                f"model.locally_connected={self.locally_connected}: there are {convolutions} convolutions; "
                f"write at most {convolutions}"
            )
        return lines

    def input_problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        largest = 2 * max(image_size) - 1
        if self.kernel_size <= largest or not self.channels:
            return []
        return [
            f"model.kernel_size={self.kernel_size}: larger than twice the images of {image_size[0]}x"
            f"{image_size[1]}, beyond which filters only meet padding; write at most {largest}"
        ]

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..convnet import ConvNet as Network

        return Network(
            in_channels,
            classes,
            image_size,
            channels=self.channels,
            convs_per_block=self.convs_per_block,
            kernel_size=self.kernel_size,
            padding=self.padding,
            dilation=self.dilation,
            locally_connected=self.locally_connected,
            pooling=self.pooling,
            pooling_size=self.pooling_size,
            normalization=self.normalization,
            hidden=self.hidden,
            activation=self.activation,
            dropout=dropout or 0.0,
        )
