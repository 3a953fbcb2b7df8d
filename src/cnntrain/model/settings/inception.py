"""Settings of the Inception networks, of which GoogLeNet is the first (N7–N10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ...settings.fields import fixed, setting
from .base import FORMS, IMAGENET, Published, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn

STEM = (
    "stem, small: one pooling is all that shrinks the map; imagenet: the paper's; "
    "auto: imagenet from 128 pixels on"
)
HEADS = "train with more heads in the middle of the network, which are not used afterwards"
HEADS_WEIGHT = "what the loss of each auxiliary head counts, the output's counting 1"
AUXILIARY_WEIGHT = 0.3

# In the small forms the blocks see a half, a quarter and an eighth of the image's side. Padding lets most
# of them take less than the 8 pixels that leave a whole one at the end, but they would see padding alone.
MIN_SIZE_SMALL_FORM = 8


def _heads_problems(auxiliary: bool, auxiliary_weight: float) -> list[str]:
    """Return a line where a weight is set for heads that are left out."""
    if auxiliary or auxiliary_weight == AUXILIARY_WEIGHT:
        return []
    line = f"model.auxiliary_weight={auxiliary_weight:g}: there are no auxiliary heads to weigh"
    return [f"{line}; write model.auxiliary=true"]


@dataclass
class GoogLeNet(Scalable):
    """GoogLeNet: blocks of 1x1, 3x3, 5x5 and pooling side by side, two auxiliary heads (2015; N7)."""

    paper = "Szegedy et al. 2015"
    published = IMAGENET

    name: str = fixed("googlenet")
    variant: str = setting(
        "paper",
        "paper: biases, 5x5 filters, response norm; torchvision: batch norm, 3x3 in place of 5x5",
        choices=("paper", "torchvision"),
    )
    auxiliary: bool = setting(True, HEADS)
    auxiliary_weight: float = setting(AUXILIARY_WEIGHT, HEADS_WEIGHT, gt=0)
    form: str = setting("auto", STEM, choices=FORMS)

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
    """Inception v2, BN-Inception: GoogLeNet with batch norm, and two 3x3 in place of 5x5 (2015; N8)."""

    paper = "Ioffe, Szegedy 2015"
    published = IMAGENET

    name: str = fixed("inception_v2")
    form: str = setting("auto", STEM, choices=FORMS)

    def min_size(self, image_size: tuple[int, int]) -> int:
        # As in the small form: a whole pixel at the end, after five halvings.
        return 32 if chosen_form(self.form, image_size) == "imagenet" else MIN_SIZE_SMALL_FORM

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..inception_v2 import InceptionV2 as Network

        form = chosen_form(self.form, image_size)
        return Network(in_channels, classes, form, self.width, dropout)


@dataclass
class InceptionV3(Scalable):
    """Inception v3: 7x7 as 1x7 and 7x1, one auxiliary head; for images of 299x299 (2016; N9)."""

    paper = "Szegedy et al. 2016"
    published = Published(3, 299, 1000)

    name: str = fixed("inception_v3")
    auxiliary: bool = setting(True, HEADS)
    auxiliary_weight: float = setting(AUXILIARY_WEIGHT, HEADS_WEIGHT, gt=0)
    form: str = setting("auto", STEM, choices=FORMS)

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
    """Inception v4: three kinds of block, more of each; for images of 299x299 (2017; N10)."""

    paper = "Szegedy, Ioffe, Vanhoucke, Alemi 2017"
    published = Published(3, 299, 1000)

    name: str = fixed("inception_v4")
    blocks: list[int] = setting([4, 7, 3], "blocks of kind A, B and C", ge=1, length=3)
    form: str = setting("auto", STEM, choices=FORMS)

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
