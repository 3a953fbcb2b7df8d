"""Settings of VGG (N6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ...settings.fields import fixed, setting
from .base import ACTIVATIONS, FORMS, IMAGENET, NORMALIZATIONS, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Vgg(Scalable):
    """VGG: 3x3 convolutions and 2x2 pooling only (Simonyan & Zisserman 2015; N6)."""

    paper = "Simonyan, Zisserman 2015"
    published = IMAGENET

    name: str = fixed("vgg")
    depth: int = setting(11, "layers with weights in the imagenet form", choices=(11, 13, 16, 19))
    normalization: str = setting(
        "none",
        "batch: after each convolution; lrn: local response normalization after the first one only, the "
        "paper's A-LRN (L6)",
        choices=NORMALIZATIONS,
    )
    activation: str = setting("relu", "activation after each layer except the last (L5)", choices=ACTIVATIONS)
    form: str = setting(
        "auto",
        "head; small: one linear layer; imagenet: three linear layers; auto: imagenet from 128 pixels on",
        choices=FORMS,
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 32

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.depth = 11
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..vgg import VGG

        return VGG(
            self.depth,
            in_channels,
            classes,
            normalization=self.normalization,
            activation=self.activation,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=dropout,
        )
