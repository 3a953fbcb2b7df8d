"""Settings of external networks: those of torchvision and timm, and the user's own (N14)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...settings.fields import fixed, setting
from ...settings.network_input import TrainedInput
from .base import Model

if TYPE_CHECKING:
    from torch import nn

TIMM_MISSING = "model=timm: is not installed; pip install 'cnntrain[timm]'"

# Networks that halve the feature map five times reduce 64 pixels to 2x2; a few need larger images.
_MIN_SIZE = 64
_TORCHVISION_MIN_SIZES = {"inception_v3": 75}
_TIMM_MIN_SIZES = {"inception_v3": 75, "inception_resnet_v2": 75, "inception_v4": 75}
_TORCHVISION_FIXED_SIZE = 224

_FREEZE_HELP = (
    "layers whose weights and statistics are not trained: patterns of names of layers or of their parent "
    "modules, such as [conv1, layer1.*]; ['*']: all except the head, which is always trained"
)


@dataclass
class Pretrained(Model):
    """Settings common to networks of a library: pretrained weights, all or some of which are fine-tuned."""

    arch: str = ""
    weights: str | None = None
    freeze: list[str] = setting([], _FREEZE_HELP)


@dataclass
class TorchvisionModel(Pretrained):
    """Any classification network of torchvision, with random or pretrained weights (N14)."""

    name: str = fixed("torchvision")
    arch: str = setting("resnet18", "name of the network in torchvision.models, such as mobilenet_v3_small")
    weights: str | None = setting(
        None,
        "pretrained weights: default, a name in torchvision, or a state dict file; null: random weights",
        path="or_name",
    )

    def trained_input(self) -> TrainedInput | None:
        from ..external import torchvision_input

        found = None if self.weights is None else torchvision_input(self.arch, self.weights)
        return None if found is None else TrainedInput(*found)

    def problems(self) -> list[str]:
        from ..external import torchvision_problems

        return torchvision_problems(self.arch, self.weights, self.freeze)

    def min_size(self, image_size: tuple[int, int]) -> int:
        return (
            _TORCHVISION_FIXED_SIZE
            if self._has_fixed_size()
            else _TORCHVISION_MIN_SIZES.get(self.arch, _MIN_SIZE)
        )

    def input_problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        fixed_size = (_TORCHVISION_FIXED_SIZE, _TORCHVISION_FIXED_SIZE)
        if self._has_fixed_size() and image_size != fixed_size:
            return [_fixed_size_problem(self.arch, fixed_size, image_size)]
        return []

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..external import torchvision_network

        return torchvision_network(self.arch, self.weights, in_channels, classes, dropout, self.freeze)

    def rebuild(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..external import torchvision_network

        return torchvision_network(
            self.arch, self.weights, in_channels, classes, dropout, self.freeze, load=False
        )

    def _has_fixed_size(self) -> bool:
        """Return whether the network accepts one image size only, as it has learned position embeddings."""
        return self.arch.startswith(("vit_", "maxvit_"))


@dataclass
class TimmModel(Pretrained):
    """Any classification network of timm, with random or pretrained weights (N14)."""

    name: str = fixed("timm")
    arch: str = setting("resnet18", "name of the network in timm.list_models(), such as convnext_atto")
    weights: str | None = setting(
        None,
        "pretrained weights: default, a tag in timm, or a state dict file; null: random weights",
        path="or_name",
    )

    def problems(self) -> list[str]:
        if not timm_installed():
            return [TIMM_MISSING]
        from ..timm_networks import timm_problems

        return timm_problems(self.arch, self.weights, self.freeze)

    def min_size(self, image_size: tuple[int, int]) -> int:
        fixed_size = self._fixed_size()
        if fixed_size is not None:
            return min(fixed_size)
        cfg = self._pretrained_cfg()
        smallest = None if cfg is None else cfg.min_input_size
        return _TIMM_MIN_SIZES.get(self.arch, _MIN_SIZE) if smallest is None else int(min(smallest[1:]))

    def input_problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        fixed_size = self._fixed_size()
        if fixed_size is not None and image_size != fixed_size:
            return [_fixed_size_problem(self.arch, fixed_size, image_size)]
        return []

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        return self._network(in_channels, classes, dropout, load=True)

    def rebuild(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        return self._network(in_channels, classes, dropout, load=False)

    def _network(self, in_channels: int, classes: int, dropout: float | None, load: bool) -> nn.Module:
        if not timm_installed():
            raise ConfigError([TIMM_MISSING])
        from ..timm_networks import timm_network

        return timm_network(self.arch, self.weights, in_channels, classes, dropout, self.freeze, load)

    def trained_input(self) -> TrainedInput | None:
        cfg = None if self.weights is None else self._pretrained_cfg()
        if cfg is None:
            return None
        return TrainedInput(tuple(cfg.input_size[1:]), list(cfg.mean), list(cfg.std))

    def layer_depths(self, network: nn.Module) -> dict[str, int]:
        from ..timm_networks import timm_layer_depths

        return timm_layer_depths(network)

    def _pretrained_cfg(self) -> Any:
        if not timm_installed():
            return None
        from ..timm_networks import pretrained_cfg

        return pretrained_cfg(self.arch, self.weights)

    def _fixed_size(self) -> tuple[int, int] | None:
        """Return the only (height, width) that the network accepts, None where it accepts others."""
        cfg = self._pretrained_cfg()
        return tuple(cfg.input_size[1:]) if cfg is not None and cfg.fixed_input_size else None


def timm_installed() -> bool:
    """Return whether timm, an optional package, can be imported."""
    return importlib.util.find_spec("timm") is not None


def _fixed_size_problem(arch: str, fixed_size: tuple[int, int], image_size: tuple[int, int]) -> str:
    (height, width), (image_height, image_width) = fixed_size, image_size
    return (
        f"model.arch={arch}: takes images of {height}x{width} only, these have {image_height}x{image_width}; "
        "choose a network without transformer blocks"
    )


@dataclass
class Custom(Model):
    """A network of your own: the module that factory(in_channels=…, classes=…, **arguments) returns."""

    name: str = fixed("custom")
    factory: str = setting("", "package.module:function, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments besides in_channels and classes")

    def min_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def problems(self) -> list[str]:
        from ..custom_network import custom_problems

        return custom_problems(self.factory, self.arguments)

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..custom_network import custom_network

        return custom_network(self.factory, self.arguments, in_channels, classes, image_size, dropout)
