"""Settings of networks from elsewhere: torchvision's, timm's, and your own."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..fields import fixed, setting
from .base import Model

if TYPE_CHECKING:
    from torch import Tensor, nn

TIMM_MISSING = "model=timm: is not installed; pip install 'cnntrain[timm]'"

# Networks that halve the map five times end with 2x2 pixels; some need more for their arithmetic.
_LEAST = 64
_TORCHVISION_LEAST = {"inception_v3": 75}
_TIMM_LEAST = {"inception_v3": 75, "inception_resnet_v2": 75, "inception_v4": 75}
_TORCHVISION_EXACT = 224

_FREEZE = (
    "layers that keep their weights and statistics: patterns of names of layers or of modules around them, "
    "as in [conv1, layer1.*]; ['*']: all but the head, which always trains"
)


@dataclass
class Pretrained(Model):
    """What the networks of a library have: weights from elsewhere, trained further in whole or in part."""

    arch: str = ""
    weights: str | None = None
    freeze: list[str] = setting([], _FREEZE)
    head_lr: float = setting(1.0, "learning rate of the head (the layer of the scores), times optim.lr", gt=0)

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[Tensor], float]]:
        from ...model.fine_tuning import of_head

        if self.head_lr == 1:
            return super().parameter_groups(network)
        names = of_head(network)
        head: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in network.named_parameters():
            if weight.requires_grad:
                (head if name in names else others).append(weight)
        return [(others, 1.0), (head, self.head_lr)] if others else [(head, self.head_lr)]


@dataclass
class TorchvisionModel(Pretrained):
    """Any classification network of torchvision, with new, published or own weights (N14)."""

    name: str = fixed("torchvision")
    arch: str = setting("resnet18", "name of the network in torchvision.models, as in mobilenet_v3_small")
    weights: str | None = setting(
        None, "default, another name of published weights, or a file with a state dict; null: new weights"
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return _TORCHVISION_EXACT if self._exact() else _TORCHVISION_LEAST.get(self.arch, _LEAST)

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        from ...model.external import torchvision_problems

        problems = torchvision_problems(self.arch, self.weights, self.freeze)
        exact = (_TORCHVISION_EXACT, _TORCHVISION_EXACT)
        if not problems and self._exact() and image_size != exact:
            problems.append(_exact_size(self.arch, exact, image_size))
        return problems

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ...model.external import torchvision_network

        return torchvision_network(self.arch, self.weights, in_channels, classes, dropout, self.freeze)

    def rebuild(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ...model.external import torchvision_network

        return torchvision_network(
            self.arch, self.weights, in_channels, classes, dropout, self.freeze, load=False
        )

    def _exact(self) -> bool:
        """Return whether the network takes images of one size alone: its positions are learned."""
        return self.arch.startswith(("vit_", "maxvit_"))


@dataclass
class TimmModel(Pretrained):
    """Any classification network of timm, with new, published or own weights (N14)."""

    name: str = fixed("timm")
    arch: str = setting("resnet18", "name of the network in timm.list_models(), as in convnext_atto")
    weights: str | None = setting(
        None, "default, another tag of published weights, or a file with a state dict; null: new weights"
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        exact = self._exact()
        if exact is not None:
            return min(exact)
        facts = self._facts()
        least = None if facts is None else facts.min_input_size
        return _TIMM_LEAST.get(self.arch, _LEAST) if least is None else int(min(least[1:]))

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        if not timm_installed():
            return [TIMM_MISSING]
        from ...model.timm_networks import timm_problems

        problems = timm_problems(self.arch, self.weights, self.freeze)
        exact = self._exact()
        if not problems and exact is not None and image_size != exact:
            problems.append(_exact_size(self.arch, exact, image_size))
        return problems

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
        from ...model.timm_networks import timm_network

        return timm_network(self.arch, self.weights, in_channels, classes, dropout, self.freeze, load)

    def _facts(self) -> Any:
        if not timm_installed():
            return None
        from ...model.timm_networks import facts

        return facts(self.arch, self.weights)

    def _exact(self) -> tuple[int, int] | None:
        """Return the only (height, width) that the network takes, None where it takes several."""
        facts = self._facts()
        return tuple(facts.input_size[1:]) if facts is not None and facts.fixed_input_size else None


def timm_installed() -> bool:
    """Return whether timm, an optional package, can be imported."""
    return importlib.util.find_spec("timm") is not None


def _exact_size(arch: str, exact: tuple[int, int], image_size: tuple[int, int]) -> str:
    (height, width), (own_height, own_width) = exact, image_size
    return (
        f"model.arch={arch}: takes images of {height}x{width} only, these have {own_height}x{own_width}; "
        "choose a network without transformer blocks"
    )


@dataclass
class Custom(Model):
    """A network of your own: the module that factory(in_channels=…, classes=…, **arguments) returns."""

    name: str = fixed("custom")
    factory: str = setting("", "where the function is: package.module:function, from here or installed")
    arguments: dict[str, Any] = setting({}, "what it is called with beside in_channels and classes")

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        from ...model.external import custom_problems

        return custom_problems(self.factory, self.arguments)

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ...model.external import custom_network

        return custom_network(self.factory, self.arguments, in_channels, classes, dropout)
