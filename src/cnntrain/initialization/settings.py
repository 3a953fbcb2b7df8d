"""Settings of the initial weights of convolutions and linear layers (group `initialization`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.network_input import TrainedInput
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .from_run import SourceRun
    from .whitening import TimedBias

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

    def freeze(self, network: nn.Module) -> None:
        """Freeze the weights of a new or continued network that are never trained."""

    def images_needed(self) -> int:
        """Return how many training images `fit` takes, 0 where it takes none."""
        return 0

    def fit(self, network: nn.Module, inputs: Iterable[Tensor]) -> list[str]:
        """Set weights by training images as the network receives them; called after `apply`.

        inputs: images (n, channels, H, W) in chunks. Returns messages for the user; raises ConfigError where
        the network has no such weights.
        """
        return []

    def timed_bias(self, network: nn.Module, steps_per_epoch: int) -> TimedBias | None:
        """Return the bias that is trained in the first steps alone, None if there is none."""
        return None


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


@dataclass
class Whitening(Initialization):
    """First filters that decorrelate the values of image patches, other convolutions near the identity.

    A patch's inner products with the principal axes of the training patches, each divided by the deviation
    along its axis, have variance 1 and no correlation (Page 2019, Jordan 2024). The first convolution has
    each axis and its negative, as an activation such as relu suppresses one sign; filters beyond them keep
    the network's own initialization.
    """

    name: str = fixed("whitening")
    images: int = setting(5000, "training images whose patches are whitened, drawn by the seed", ge=1)
    epsilon: float = setting(
        5e-4, "added to the mean square along each axis before the division by its root", gt=0
    )
    frozen: bool = setting(True, "keep the whitening filters; false: train them like all others")
    bias_epochs: float | None = setting(
        None,
        "epochs in which the bias of the first convolution is trained, later steps being faster; null: all",
        ge=0,
    )
    identity: bool = setting(
        True,
        "of every other convolution, make the first filters, one for each input, the identity (Dirac); the "
        "others keep the network's own initialization",
    )

    def problems(self) -> Iterator[str]:
        if self.bias_epochs is not None and not self.frozen:
            yield (
                f"initialization.bias_epochs={self.bias_epochs:g}: steps are faster without the bias only if "
                "the filters are not trained either; write null, or initialization.frozen=true"
            )

    def apply(self, network: nn.Module, activation: str, source: SourceRun | None = None) -> list[str]:
        from .whitening import make_identities

        if self.identity:
            make_identities(network)
        return []

    def freeze(self, network: nn.Module) -> None:
        from .whitening import freeze_first_layer

        if self.frozen:
            freeze_first_layer(network, self.bias_epochs == 0)

    def images_needed(self) -> int:
        return self.images

    def fit(self, network: nn.Module, inputs: Iterable[Tensor]) -> list[str]:
        from .whitening import whiten_first_layer

        return whiten_first_layer(network, inputs, self.epsilon)

    def timed_bias(self, network: nn.Module, steps_per_epoch: int) -> TimedBias | None:
        from .whitening import TimedBias, first_convolution

        bias = first_convolution(network).bias
        if not self.bias_epochs or bias is None:
            return None
        return TimedBias(bias, round(self.bias_epochs * steps_per_epoch))
