"""Settings of where weights start (group `initialization`): convolutions and linear layers alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import fixed, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Initialization:
    """What every initialization has."""

    name: str = ""

    def apply(self, network: nn.Module) -> list[str]:
        """Set the weights of a network in place, with torch's global generator; norms stay as they are.

        Returns what to tell the user.
        """
        raise NotImplementedError


@dataclass
class Default(Initialization):
    """The network's own: what its paper or its builder set, biases and trained weights included."""

    name: str = fixed("default")

    def apply(self, network: nn.Module) -> list[str]:
        return []


@dataclass
class Zeros(Initialization):
    """All weights and biases 0, offered because it fails (I1).

    Units that start equal compute the same, receive the same gradient and stay equal: the symmetry is
    never broken, and a layer of a hundred units learns as much as one.
    """

    name: str = fixed("zeros")

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.initialization import zeros

        zeros(network)
        return []


@dataclass
class Gaussian(Initialization):
    """Small random numbers from N(0, std²): fine for shallow networks, vanishing in deep ones (I2)."""

    name: str = fixed("gaussian")
    std: float = setting(0.01, "standard deviation of the weights", gt=0)
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.initialization import gaussian

        gaussian(network, self.std, self.bias)
        return []


@dataclass
class Uniform(Initialization):
    """Small random numbers from U[-scale, scale] (I2)."""

    name: str = fixed("uniform")
    scale: float = setting(0.01, "largest absolute weight", gt=0)
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.initialization import uniform

        uniform(network, self.scale, self.bias)
        return []


@dataclass
class Lecun(Initialization):
    """N(0, 1/n) with n inputs per unit: keeps the variance of a linear layer (LeCun et al. 1998; I3)."""

    name: str = fixed("lecun")
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.initialization import by_fan_in

        by_fan_in(network, 1.0, self.bias)
        return []


@dataclass
class He(Initialization):
    """N(0, 2/n) with n inputs per unit: keeps the variance through ReLU (He et al. 2015; I3)."""

    name: str = fixed("he")
    bias: float = setting(0.0, "the constant at which biases start (I5)")

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.initialization import by_fan_in

        by_fan_in(network, 2.0, self.bias)
        return []


@dataclass
class FromRun(Initialization):
    """From an earlier run's best weights, layer by layer: the same network, or a shallower one (N6, I6)."""

    name: str = fixed("from_run")
    run: str = setting(
        "", "folder of the run; a layer is taken whole where its name and shapes agree, and else new"
    )
    layers: list[str] = setting(
        ["*"],
        "what is taken: patterns of names of layers or of modules around them, with or without the leading "
        "features. or head., as in [conv1_*, fc6]",
    )
    new: str = setting(
        "own",
        "how layers that are not taken begin; own: as in a new network; identity: those with as many outputs "
        "as inputs hand their input on, so that a deeper plain network begins as the shallower one",
        choices=("own", "identity"),
    )

    def apply(self, network: nn.Module) -> list[str]:
        from ..model.from_run import take_layers

        return take_layers(network, Path(self.run), self.layers, identity=self.new == "identity")
