"""Settings of the Inception networks: GoogLeNet (Inception v1) and Inception v2 to v4 (N7–N10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ...settings.fields import fixed, setting
from .base import FORMS, IMAGENET, Published, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn

STEM_HELP = (
    "stem; small: one pooling, the only layer that reduces the map; imagenet: as in the paper; "
    "auto: imagenet from 128 pixels on"
)
AUXILIARY_HELP = "train with auxiliary heads on intermediate feature maps, which are not used in evaluation"
AUXILIARY_WEIGHT_HELP = "weight of the loss of each auxiliary head, relative to the loss of the output"
AUXILIARY_WEIGHT = 0.3

# In the small forms the feature maps have a half, a quarter and an eighth of the image's side, so 8 pixels
# leave 1x1. Most would run on smaller images thanks to padding, but the last blocks would see padding only.
MIN_SIZE_SMALL_FORM = 8


def _heads_problems(auxiliary: bool, auxiliary_weight: float) -> list[str]:
    """Return an error if a weight is set for auxiliary heads that are left out."""
    if auxiliary or auxiliary_weight == AUXILIARY_WEIGHT:
        return []
    line = f"model.auxiliary_weight={auxiliary_weight:g}: there are no auxiliary heads"
    return [f"{line}; write model.auxiliary=true"]


@dataclass
class GoogLeNet(Scalable):
    """GoogLeNet: blocks with parallel 1x1, 3x3, 5x5 and pooling branches; two auxiliary heads (Szegedy et al.
    2015; N7)."""

    paper = "Szegedy et al. 2015"
    published = IMAGENET

    name: str = fixed("googlenet")
    variant: str = setting(
        "paper",
        "paper: biases, 5x5 filters, local response normalization; torchvision: batch norm, 3x3 for 5x5",
        choices=("paper", "torchvision"),
    )
    auxiliary: bool = setting(True, AUXILIARY_HELP)
    auxiliary_weight: float = setting(AUXILIARY_WEIGHT, AUXILIARY_WEIGHT_HELP, gt=0)
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        if chosen_form(self.form, image_size) == "small":
            return MIN_SIZE_SMALL_FORM
        return 31 if self.variant == "paper" else 15

    def problems(self) -> list[str]:
        return _heads_problems(self.auxiliary, self.auxiliary_weight)

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..googlenet import GoogLeNet as Network

        return Network(
            in_channels,
            classes,
            variant=self.variant,
            auxiliary=self.auxiliary,
            auxiliary_weight=self.auxiliary_weight,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=dropout,
        )


@dataclass
class InceptionV2(Scalable):
    """Inception v2 (BN-Inception): GoogLeNet with batch norm, and two 3x3 convolutions instead of one 5x5
    (Ioffe & Szegedy 2015; N8)."""

    paper = "Ioffe, Szegedy 2015"
    published = IMAGENET

    name: str = fixed("inception_v2")
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        # Five halvings of 32 pixels leave 1x1, as three of 8 pixels do in the small form.
        return 32 if chosen_form(self.form, image_size) == "imagenet" else MIN_SIZE_SMALL_FORM

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..inception_v2 import InceptionV2 as Network

        form = chosen_form(self.form, image_size)
        return Network(in_channels, classes, form, self.width, dropout)


@dataclass
class InceptionV3(Scalable):
    """Inception v3: 7x7 convolutions factorized into 1x7 and 7x1, one auxiliary head; for images of 299x299
    (Szegedy et al. 2016; N9)."""

    paper = "Szegedy et al. 2016"
    published = Published(3, 299, 1000)

    name: str = fixed("inception_v3")
    auxiliary: bool = setting(True, AUXILIARY_HELP)
    auxiliary_weight: float = setting(AUXILIARY_WEIGHT, AUXILIARY_WEIGHT_HELP, gt=0)
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 75 if chosen_form(self.form, image_size) == "imagenet" else MIN_SIZE_SMALL_FORM

    def problems(self) -> list[str]:
        return _heads_problems(self.auxiliary, self.auxiliary_weight)

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..inception_v3 import InceptionV3 as Network

        return Network(
            in_channels,
            classes,
            auxiliary=self.auxiliary,
            auxiliary_weight=self.auxiliary_weight,
            form=chosen_form(self.form, image_size),
            width=self.width,
            dropout=dropout,
        )


@dataclass
class InceptionV4(Scalable):
    """Inception v4: a new stem, and more blocks of each of the three types than v3; for images of 299x299
    (Szegedy et al. 2017; N10)."""

    paper = "Szegedy, Ioffe, Vanhoucke, Alemi 2017"
    published = Published(3, 299, 1000)

    name: str = fixed("inception_v4")
    blocks: list[int] = setting([4, 7, 3], "number of Inception-A, -B and -C blocks", ge=1, length=3)
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 75 if chosen_form(self.form, image_size) == "imagenet" else MIN_SIZE_SMALL_FORM

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.blocks = [1, 1, 1]
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..inception_v4 import InceptionV4 as Network

        form = chosen_form(self.form, image_size)
        return Network(in_channels, classes, self.blocks, form, self.width, dropout)
