"""Settings of the first deep networks: AlexNet, ZFNet and Network in Network (N3–N5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, CIFAR, FORMS, IMAGENET, NORMALIZATIONS, POOLINGS, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn

LRN_AFTER = "lrn: after the first two layers; batch: before each activation; none (L6)"
AFTER_LAYERS = "what follows each layer but the last (L5)"
OVERLAPPING = "kind of the pooling: windows of 3x3, stride 2 (L4)"


@dataclass
class AlexNet(Scalable):
    """AlexNet: five convolutions in two groups, response norm, overlapping pooling, dropout (2012; N3)."""

    paper = "Krizhevsky, Sutskever, Hinton 2012"
    published = IMAGENET

    name: str = fixed("alexnet")
    filters: list[int] = setting([96, 256, 384, 384, 256], "filters of the five convolutions", ge=1, length=5)
    groups: int = setting(
        2, "parts that the second, fourth and fifth convolution are split into (L2)", choices=(1, 2)
    )
    normalization: str = setting("lrn", LRN_AFTER, choices=NORMALIZATIONS)
    activation: str = setting("relu", AFTER_LAYERS, choices=ACTIVATIONS)
    pooling: str = setting("max", OVERLAPPING, choices=POOLINGS)
    form: str = setting(
        "auto",
        "first filters, imagenet: 11x11 at stride 4; small: 5x5 at stride 1; auto: imagenet from 128 pixels",
        choices=FORMS,
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 63 if chosen_form(self.form, image_size) == "imagenet" else 16

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..alexnet import AlexNet as Network

        return Network(
            in_channels,
            classes,
            image_size,
            filters=self.filters,
            groups=self.groups,
            normalization=self.normalization,
            activation=self.activation,
            pooling=self.pooling,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=0.5 if dropout is None else dropout,
        )


@dataclass
class ZfNet(Scalable):
    """ZFNet: AlexNet with first filters of 7x7 and stride 2, ungrouped (Zeiler & Fergus 2014; N4)."""

    paper = "Zeiler, Fergus 2014"
    published = IMAGENET

    name: str = fixed("zfnet")
    filters: list[int] = setting(
        [96, 256, 384, 384, 256],
        "filters of the five convolutions; the paper's wide form has 512, 1024, 512 at the end",
        ge=1,
        length=5,
    )
    normalization: str = setting("lrn", LRN_AFTER, choices=NORMALIZATIONS)
    activation: str = setting("relu", AFTER_LAYERS, choices=ACTIVATIONS)
    pooling: str = setting("max", OVERLAPPING, choices=POOLINGS)
    form: str = setting(
        "auto",
        "first filters, imagenet: 7x7 at stride 2; small: 3x3 at stride 1; auto: imagenet from 128 pixels",
        choices=FORMS,
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 47 if chosen_form(self.form, image_size) == "imagenet" else 16

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..zfnet import ZFNet as Network

        return Network(
            in_channels,
            classes,
            image_size,
            filters=self.filters,
            normalization=self.normalization,
            activation=self.activation,
            pooling=self.pooling,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=0.5 if dropout is None else dropout,
        )


@dataclass
class Nin(Scalable):
    """Network in Network: 1x1 convolutions after each filter, and no fully connected layer (2014; N5)."""

    paper = "Lin, Chen, Yan 2014"
    published = CIFAR

    name: str = fixed("nin")
    normalization: str = setting(
        "none", "batch: before each activation; lrn: after each block (L6)", choices=NORMALIZATIONS
    )
    activation: str = setting("relu", "what follows each layer (L5)", choices=ACTIVATIONS)
    form: str = setting(
        "auto",
        "small: three blocks, first filters 5x5; imagenet: four, 11x11 with stride 4; "
        "auto: imagenet from 128 pixels on",
        choices=FORMS,
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 67 if chosen_form(self.form, image_size) == "imagenet" else 8

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..nin import NetworkInNetwork

        return NetworkInNetwork(
            in_channels,
            classes,
            normalization=self.normalization,
            activation=self.activation,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=0.5 if dropout is None else dropout,
        )
