"""Settings of the initial weights of convolutions and linear layers (group `initialization`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.network_input import TrainedInput
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import nn

    from .from_run import SourceRun

BIAS_HELP = "constant initial value of biases, 0 or small, such as 0.01 (I5)"


@dataclass
class Initialization(Option):
    """Methods common to all initializations."""

    def source_run(self) -> str | None:
        """Return the folder of the earlier run whose weights are copied, or None."""
        return None

    def trained_input(self) -> TrainedInput | None:
        """Return the input with which the earlier run's weights were trained, None without any."""
        return None

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        """Set the weights of a network in place, with torch's global generator; norm layers are unchanged.

        `activation` is the one after most of the network's layers; `source` is the run of `source_run`.
        Returns messages for the user.
        """
        raise NotImplementedError


@dataclass
class Default(Initialization):
    """The network's own initialization, including biases and pretrained weights."""

    name: str = fixed("default")

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        return []


@dataclass
class Zeros(Initialization):
    """All weights and biases 0, which demonstrates a failure (I1).

    Units with equal initial weights compute the same outputs, receive the same gradients and stay equal: the
    symmetry is never broken, and a layer of a hundred units learns no more than one unit.
    """

    name: str = fixed("zeros")

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import zeros

        zeros(network)
        return [
            "notice    all weights are initially 0: the units of a layer compute the same, get the same "
            "gradient and stay equal; initialization=he breaks this symmetry"
        ]


@dataclass
class Gaussian(Initialization):
    """Small random weights from N(0, std²): fine for shallow networks, signals vanish in deep ones (I2)."""

    name: str = fixed("gaussian")
    std: float = setting(0.01, "standard deviation of the weights", gt=0)
    bias: float = setting(0.0, BIAS_HELP)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import gaussian

        gaussian(network, self.std, self.bias)
        return []


@dataclass
class Uniform(Initialization):
    """Small random weights from U[-scale, scale] (I2)."""

    name: str = fixed("uniform")
    scale: float = setting(0.01, "largest absolute weight", gt=0)
    bias: float = setting(0.0, BIAS_HELP)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import uniform

        uniform(network, self.scale, self.bias)
        return []


@dataclass
class VarianceScaling(Initialization):
    """Random weights of variance gain/n, which preserves the scale of activations from layer to layer (I3).

    With n inputs per unit and a gain of 1, a linear layer preserves the mean square of its input (LeCun et
    al. 1998). ReLU halves it, so He et al. 2015 use a gain of 2; Glorot and Bengio 2010 use the mean of the
    numbers of inputs and outputs, a compromise between activations and gradients. The files are presets for
    these papers.
    """

    name: str = fixed("variance_scaling")
    gain: float | None = setting(
        None,
        "variance of the weights times n; null: by the network's activation f, 1/E[f(z)²] with z from "
        "N(0, 1), which is 2 for relu, except 25/9 for tanh and 1 for sigmoid, as in torch",
        gt=0,
    )
    fan: str = setting(
        "in",
        "definition of n; in: number of inputs of a unit, which preserves activations; out: number of units "
        "that an input feeds, which preserves gradients; average: the mean of both",
        choices=("in", "out", "average"),
    )
    distribution: str = setting(
        "gaussian", "distribution of the weights, with mean 0", choices=("gaussian", "uniform")
    )
    bias: float = setting(0.0, BIAS_HELP)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import GAINS, variance_scaling

        gain = GAINS[activation] if self.gain is None else self.gain
        variance_scaling(network, gain, self.fan, self.distribution, self.bias)
        return []


@dataclass
class Sparse(Initialization):
    """A few random Gaussian weights per unit, all others 0, which keeps units diverse at any fan-in (I4)."""

    name: str = fixed("sparse")
    connections: int = setting(10, "non-zero weights per unit; all weights of a unit that has fewer", ge=1)
    direction: str = setting(
        "in",
        "in: the connections of each output unit are counted (Martens 2010); out: those of each input, as in "
        "torch.nn.init.sparse_, so that the numbers of connections of output units differ",
        choices=("in", "out"),
    )
    std: float | None = setting(
        None,
        "standard deviation of the non-zero weights; null: √(gain/n), with the gain of "
        "variance_scaling for the network's activation and n the mean number of non-zero weights per output",
        gt=0,
    )
    bias: float = setting(0.0, BIAS_HELP)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .weights import GAINS, sparse

        sparse(network, self.connections, self.direction, self.std, GAINS[activation], self.bias)
        return []


@dataclass
class FromRun(Initialization):
    """Layers copied from an earlier run's best weights, of the same network or a shallower one (N6, I6)."""

    name: str = fixed("from_run")
    run: str = setting(
        "",
        "folder of the run; layers whose names and shapes agree are copied, others initialized",
        path="path",
    )
    layers: list[str] = setting(
        ["*"],
        "layers to copy: patterns of names of layers or of their parent modules, with or without the leading "
        "features. or head., such as [conv1_*, fc6]",
    )
    new: str = setting(
        "own",
        "initialization of layers that are not copied; own: as in a new network; identity: layers with as "
        "many outputs as inputs become the identity, so that a deeper plain network initially computes the "
        "same function as the shallower one",
        choices=("own", "identity"),
    )

    def problems(self) -> Iterator[str]:
        if not self.run:
            yield "initialization.run: is not set; write initialization.run=FOLDER"

    def source_run(self) -> str | None:
        return self.run or None

    def trained_input(self) -> TrainedInput | None:
        from .from_run import trained_input

        return trained_input(self.run)

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .from_run import copy_layers

        assert source is not None
        return copy_layers(network, source, self.layers, identity=self.new == "identity")
