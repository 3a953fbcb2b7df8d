"""Settings of where weights start (group `initialization`): convolutions and linear layers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .fields import fixed, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Initialization:
    """What every initialization has."""

    name: str = ""

    def apply(self, model: nn.Module) -> None:
        """Set the weights of a network in place, with torch's global generator; norms stay as they are."""
        raise NotImplementedError


@dataclass
class Default(Initialization):
    """The network's own: what its paper or its builder set, biases and trained weights included."""

    name: str = fixed("default")

    def apply(self, model: nn.Module) -> None:
        pass


@dataclass
class Zeros(Initialization):
    """All weights and biases 0, offered because it fails (I1).

    Units that start equal compute the same, receive the same gradient and stay equal: the symmetry is
    never broken, and a layer of a hundred units learns as much as one.
    """

    name: str = fixed("zeros")

    def apply(self, model: nn.Module) -> None:
        from ..model.initialization import zeros

        zeros(model)


@dataclass
class Gaussian(Initialization):
    """Small random numbers from N(0, std²): fine for shallow networks, vanishing in deep ones (I2)."""

    name: str = fixed("gaussian")
    std: float = setting(0.01, "standard deviation of the weights", gt=0)
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, model: nn.Module) -> None:
        from ..model.initialization import gaussian

        gaussian(model, self.std, self.bias)


@dataclass
class Uniform(Initialization):
    """Small random numbers from U[-scale, scale] (I2)."""

    name: str = fixed("uniform")
    scale: float = setting(0.01, "largest absolute weight", gt=0)
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, model: nn.Module) -> None:
        from ..model.initialization import uniform

        uniform(model, self.scale, self.bias)


@dataclass
class Lecun(Initialization):
    """N(0, 1/n) with n inputs per unit: keeps the variance of a linear layer (LeCun et al. 1998; I3)."""

    name: str = fixed("lecun")
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, model: nn.Module) -> None:
        from ..model.initialization import by_fan_in

        by_fan_in(model, 1.0, self.bias)


@dataclass
class He(Initialization):
    """N(0, 2/n) with n inputs per unit: keeps the variance through ReLU (He et al. 2015; I3)."""

    name: str = fixed("he")
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, model: nn.Module) -> None:
        from ..model.initialization import by_fan_in

        by_fan_in(model, 2.0, self.bias)
