"""Settings of where weights start (group `initialization`): convolutions and linear layers alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import nn

    from .from_run import SourceRun

BIAS = "the constant at which biases start, 0 or small, such as 0.01 (I5)"


@dataclass
class Initialization(Option):
    """What every initialization has."""

    def source_run(self) -> str | None:
        """Return the folder of the earlier run whose weights are taken, None where there is none."""
        return None

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        """Set the weights of a network in place, from torch's global generator; norms stay as they are.

        `activation` is the one after most of the network's layers; `source` is the run of `source_run`.
        Returns messages for the user.
        """
        raise NotImplementedError


@dataclass
class Default(Initialization):
    """The network's own: what its paper or its builder set, biases and trained weights included."""

    name: str = fixed("default")

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        return []


@dataclass
class Zeros(Initialization):
    """All weights and biases 0, offered because it fails (I1).

    Units that start equal compute the same, receive the same gradient and stay equal: the symmetry is
    never broken, and a layer of a hundred units learns as much as one.
    """

    name: str = fixed("zeros")

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import zeros

        zeros(network)
        return [
            "notice    all weights begin at 0: the units of a layer compute the same, get the same gradient "
            "and stay equal; initialization=he breaks this symmetry"
        ]


@dataclass
class Gaussian(Initialization):
    """Small random numbers from N(0, std²): fine for shallow networks, vanishing in deep ones (I2)."""

    name: str = fixed("gaussian")
    std: float = setting(0.01, "standard deviation of the weights", gt=0)
    bias: float = setting(0.0, BIAS)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import gaussian

        gaussian(network, self.std, self.bias)
        return []


@dataclass
class Uniform(Initialization):
    """Small random numbers from U[-scale, scale] (I2)."""

    name: str = fixed("uniform")
    scale: float = setting(0.01, "largest absolute weight", gt=0)
    bias: float = setting(0.0, BIAS)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import uniform

        uniform(network, self.scale, self.bias)
        return []


@dataclass
class VarianceScaling(Initialization):
    """Weights of variance gain/n, which carry signals through layers of any number of inputs (I3).

    With n inputs a unit and a gain of 1, a linear layer keeps the mean square of its input (LeCun et al.
    1998). ReLU halves it, so He et al. 2015 take a gain of 2; Glorot and Bengio 2010 count inputs and
    outputs alike, a compromise between signals and gradients. The files are these presets.
    """

    name: str = fixed("variance_scaling")
    gain: float | None = setting(
        None,
        "variance of the weights times n; null: by the network's activation f, 1/E[f(z)²] with z from "
        "N(0, 1), which is 2 for relu; but for tanh 25/9 and for sigmoid 1, as in torch",
        gt=0,
    )
    fan: str = setting(
        "in",
        "what n counts; in: the inputs of a unit, which keeps signals; out: the units that an input feeds, "
        "which keeps gradients; average: the mean of both",
        choices=("in", "out", "average"),
    )
    distribution: str = setting(
        "gaussian", "what weights are drawn from, of mean 0", choices=("gaussian", "uniform")
    )
    bias: float = setting(0.0, BIAS)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import GAINS, variance_scaling

        gain = GAINS[activation] if self.gain is None else self.gain
        variance_scaling(network, gain, self.fan, self.distribution, self.bias)
        return []


@dataclass
class Sparse(Initialization):
    """Zeros but for a few Gaussian weights of each unit, so that units differ whatever their size (I4)."""

    name: str = fixed("sparse")
    connections: int = setting(10, "non-zero weights of each unit; all, where it has no more", ge=1)
    direction: str = setting(
        "in",
        "which unit's weights are counted; in: those that feed each output (Martens 2010); out: those that "
        "each input feeds, as torch.nn.init.sparse_ does, which leaves some outputs more than others",
        choices=("in", "out"),
    )
    std: float | None = setting(
        None,
        "standard deviation of the non-zero weights; null: √(gain/n), the gain by the network's "
        "activation as in variance_scaling, n the mean number of non-zero weights that feed an output",
        gt=0,
    )
    bias: float = setting(0.0, BIAS)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import GAINS, sparse

        sparse(network, self.connections, self.direction, self.std, GAINS[activation], self.bias)
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

    def problems(self) -> Iterator[str]:
        if not self.run:
            yield "initialization.run: is not set; write initialization.run=FOLDER"

    def source_run(self) -> str | None:
        return self.run or None

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .from_run import copy_layers

        assert source is not None
        return copy_layers(network, source, self.layers, identity=self.new == "identity")
