"""Settings of the residual networks for ImageNet and for 32x32 images (N11–N13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ...settings.fields import fixed, setting
from .base import CIFAR, FORMS, IMAGENET, Scalable, chosen_form

if TYPE_CHECKING:
    from torch import nn

SHORTCUT_HELP = (
    "A: identity, with zeros for added channels; B: identity, or a 1x1 convolution where shapes differ; C: "
    "1x1 convolutions everywhere; none: a plain network without shortcuts"
)
STEM_HELP = "stem; small: 3x3; imagenet: 7x7 with stride 2, then pooling; auto: imagenet from 128 pixels on"


def _depth_problems(depth: int, layers_per_block: int) -> list[str]:
    """Return an error if `depth` layers cannot be divided into three equal stages."""
    multiple = 3 * layers_per_block
    excess = (depth - 2) % multiple
    if depth > multiple and not excess:
        return []
    below = max(depth - excess, multiple + 2)
    valid = f"{below} or {below + multiple}" if below < depth else str(below)
    return [f"model.depth={depth}: must be {multiple}n + 2; write {valid}"]


@dataclass
class CifarResNet(Scalable):
    """Residual networks for 32x32 images: three stages of 16, 32 and 64 filters (He et al. 2016; N12)."""

    paper = "He, Zhang, Ren, Sun 2016"
    published = CIFAR

    name: str = fixed("cifar_resnet")
    depth: int = setting(20, "layers with weights: 6n + 2", ge=8)
    shortcut: str = setting("A", SHORTCUT_HELP, choices=("A", "B", "C", "none"))

    def has_residual_blocks(self) -> bool:
        return self.shortcut != "none"

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 8

    def problems(self) -> list[str]:
        return _depth_problems(self.depth, 2)

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.depth, tiny.width = 8, 0.5
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..cifar_resnet import CifarResNet as Network

        return Network(self.depth, in_channels, classes, self.shortcut, self.width, dropout or 0.0)


@dataclass
class ResNet(Scalable):
    """Residual networks for ImageNet, with identity shortcuts (He et al. 2016; N11)."""

    paper = "He, Zhang, Ren, Sun 2016"
    published = IMAGENET

    name: str = fixed("resnet")
    depth: int = setting(18, "layers with weights", choices=(18, 34, 50, 101, 152))
    shortcut: str = setting("B", SHORTCUT_HELP, choices=("A", "B", "C", "none"))
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def has_residual_blocks(self) -> bool:
        return self.shortcut != "none"

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 64 if chosen_form(self.form, image_size) == "imagenet" else 16

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.depth = 18 if self.depth < 50 else 50
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..resnet import ResNet as Network

        form = chosen_form(self.form, image_size)
        return Network(self.depth, in_channels, classes, self.shortcut, form, self.width, dropout or 0.0)


@dataclass
class CifarPreactResNet(Scalable):
    """Pre-activation residual networks for 32x32 images: norm → relu → convolution (He et al. 2016b; N13)."""

    paper = "He, Zhang, Ren, Sun 2016 (identity mappings)"
    published = CIFAR

    name: str = fixed("cifar_preact_resnet")
    depth: int = setting(110, "layers with weights: 6n + 2, with bottlenecks 9n + 2", ge=8)
    bottleneck: bool = setting(False, "bottleneck blocks: 1x1, 3x3, and 1x1 with four times the filters")

    def has_residual_blocks(self) -> bool:
        return True

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 8

    def problems(self) -> list[str]:
        return _depth_problems(self.depth, 3 if self.bottleneck else 2)

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.depth, tiny.width = 11 if self.bottleneck else 8, 0.5
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..preact_resnet import CifarPreactResNet as Network

        return Network(self.depth, in_channels, classes, self.bottleneck, self.width, dropout or 0.0)


@dataclass
class PreactResNet(Scalable):
    """Pre-activation residual networks for ImageNet: norm → relu → convolution (He et al. 2016b; N13)."""

    paper = "He, Zhang, Ren, Sun 2016 (identity mappings)"
    published = IMAGENET

    name: str = fixed("preact_resnet")
    depth: int = setting(18, "layers with weights", choices=(18, 34, 50, 101, 152, 200))
    form: str = setting("auto", STEM_HELP, choices=FORMS)

    def has_residual_blocks(self) -> bool:
        return True

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 64 if chosen_form(self.form, image_size) == "imagenet" else 16

    def tiny(self) -> Self:
        tiny = super().tiny()
        tiny.depth = 18 if self.depth < 50 else 50
        return tiny

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..preact_resnet import PreactResNet as Network

        form = chosen_form(self.form, image_size)
        return Network(self.depth, in_channels, classes, form, self.width, dropout or 0.0)
