"""Settings of the first deep networks: AlexNet, ZFNet and Network in Network (N3–N5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, CIFAR, FORMS, IMAGENET, NORMALIZATIONS, POOLINGS, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn

NORMALIZATION_HELP = (
    "lrn: local response normalization after the first two layers; batch: before each activation (L6)"
)
ACTIVATION_HELP = "activation after each layer except the last (L5)"
POOLING_HELP = "type of the pooling, which has 3x3 windows with stride 2 (L4)"


@dataclass
class AlexNet(Scalable):
    """AlexNet: five convolutions (three in two groups), local response normalization, overlapping pooling and
    dropout (Krizhevsky et al. 2012; N3)."""

    paper = "Krizhevsky, Sutskever, Hinton 2012"
    published = IMAGENET

    name: str = fixed("alexnet")
    filters: list[int] = setting([96, 256, 384, 384, 256], "filters of the five convolutions", ge=1, length=5)
    groups: int = setting(2, "groups of the second, fourth and fifth convolution (L2)", choices=(1, 2))
    normalization: str = setting("lrn", NORMALIZATION_HELP, choices=NORMALIZATIONS)
    activation: str = setting("relu", ACTIVATION_HELP, choices=ACTIVATIONS)
    pooling: str = setting("max", POOLING_HELP, choices=POOLINGS)
    form: str = setting(
        "auto",
        "first filters; imagenet: 11x11, stride 4; small: 5x5, stride 1; auto: imagenet from 128 pixels on",
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
    """ZFNet: AlexNet with first filters of 7x7 and stride 2, without groups (Zeiler & Fergus 2014; N4)."""

    paper = "Zeiler, Fergus 2014"
    published = IMAGENET

    name: str = fixed("zfnet")
    filters: list[int] = setting(
        [96, 256, 384, 384, 256],
        "filters of the five convolutions; in the paper's wide form the last three are 512, 1024, 512",
        ge=1,
        length=5,
    )
    normalization: str = setting("lrn", NORMALIZATION_HELP, choices=NORMALIZATIONS)
    activation: str = setting("relu", ACTIVATION_HELP, choices=ACTIVATIONS)
    pooling: str = setting("max", POOLING_HELP, choices=POOLINGS)
    form: str = setting(
        "auto",
        "first filters; imagenet: 7x7, stride 2; small: 3x3, stride 1; auto: imagenet from 128 pixels on",
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
    """Network in Network: two 1x1 convolutions after each convolution, no fully connected layer (Lin et al.
    2014; N5)."""

    paper = "Lin, Chen, Yan 2014"
    published = CIFAR

    name: str = fixed("nin")
    normalization: str = setting(
        "none",
        "batch: before each activation; lrn: local response normalization after each block (L6)",
        choices=NORMALIZATIONS,
    )
    activation: str = setting("relu", "activation after each layer (L5)", choices=ACTIVATIONS)
    form: str = setting(
        "auto",
        "small: three blocks, first filters 5x5; imagenet: four blocks, first filters 11x11 with stride 4; "
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
