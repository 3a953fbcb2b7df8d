"""Base classes of the settings of networks, and the choice of a network's form by the image size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from ...settings.fields import setting
from ...settings.network_input import TrainedInput
from ...settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor, nn

ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu", "maxout")
NORMALIZATIONS = ("none", "batch", "lrn")
POOLINGS = ("max", "average", "l2")
FORMS = ("auto", "small", "imagenet")
IMAGENET_FORM_MIN_SIZE = 128


@dataclass(frozen=True)
class Published:
    """The input and the number of classes for which a paper states its network's parameter count."""

    channels: int
    side: int
    classes: int


IMAGENET = Published(3, 224, 1000)
CIFAR = Published(3, 32, 10)
MNIST = Published(1, 32, 10)


def chosen_form(form: str, image_size: tuple[int, int]) -> str:
    """Return `form`, but for "auto" the form by image size: "imagenet" from 128 pixels on, else "small"."""
    if form != "auto":
        return form
    return "imagenet" if min(image_size) >= IMAGENET_FORM_MIN_SIZE else "small"


@dataclass
class Model(Option):
    """Settings and methods common to all networks."""

    # Authors and year of the paper, None without a paper; and the input of its parameter counts.
    paper: ClassVar[str | None] = None
    published: ClassVar[Published | None] = None
    # The score of every class before training; other than 0 where scores are distances.
    initial_score: ClassVar[float] = 0.0

    layer_decay: float = setting(
        1.0,
        "factor on the learning rate from each layer or block to the one before it: k below the head, it is "
        "optim.lr·layer_decay^k (Clark et al. 2020), for trained weights; 0.75 is usual; 1: one rate for all",
        gt=0,
        le=1,
    )
    head_lr: float = setting(
        1.0, "factor on optim.lr for the head (the layer that computes the scores)", gt=0
    )
    head_epochs: int = setting(
        0,
        "first epochs, in which the head is trained alone, all other weights and statistics being unchanged",
        ge=0,
    )

    norm_momentum: float | None = setting(
        None,
        "share of a batch in the running statistics of batch norms; null: the network's, most often 0.1; "
        "in short runs, whose weights change much until the end, larger values are better",
        gt=0,
        le=1,
    )
    norm_scale: bool = setting(
        True, "train the scales of batch norms; false: they stay 1, and biases alone are trained"
    )

    def min_size(self, image_size: tuple[int, int]) -> int:
        """Return the smallest height and width that the form used for images of (height, width) accepts."""
        raise NotImplementedError

    def nonlinearity(self) -> str:
        """Return its activation, one of ACTIVATIONS or "linear"; relu where it is not a setting."""
        activation: str = getattr(self, "activation", "relu")
        return activation

    def input_problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        """Return an error for each setting that does not fit this image shape or number of classes."""
        return []

    def has_residual_blocks(self) -> bool:
        """Return whether it has residual blocks, which stochastic depth can skip."""
        return False

    def tiny(self) -> Self:
        """Return settings of a small network of the same type, for tests and first experiments."""
        return self

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        """Return the network from images (N, in_channels, height, width) to scores (N, classes).

        `dropout` is the rate of all its dropout layers, or of one added before the last linear layer if it
        has none; None keeps the network's default. Raises ConfigError where the network cannot be built.
        """
        raise NotImplementedError

    def rebuild(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        """Return the network of `build` without reading or downloading weights, which the caller loads."""
        return self.build(in_channels, classes, image_size, dropout)

    def adapt_norms(self, network: nn.Module) -> None:
        """Apply `norm_momentum` and `norm_scale` to a network; raises ConfigError if it has no batch norm."""
        from ..batch_norms import adapt_norms

        adapt_norms(network, self.norm_momentum, self.norm_scale)

    def trained_input(self) -> TrainedInput | None:
        """Return the input with which the chosen pretrained weights were trained, None without any."""
        return None

    def layer_depths(self, network: nn.Module) -> dict[str, int]:
        """Return the depth of each parameter below the head, by which `layer_decay` grades learning rates."""
        from ..layer_depths import layer_depths

        return layer_depths(network)

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[Tensor], float]]:
        """Return the trainable weights in groups, each with its factor on optim.lr; the first layer first."""
        trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        # After the head has trained alone, torch's optimizers need it in a group of its own.
        if self.layer_decay == self.head_lr == 1 and not self.head_epochs:
            return [(list(trained.values()), 1.0)]
        depths = self.layer_depths(network)
        if self.layer_decay == 1:
            depths = {name: min(depth, 1) for name, depth in depths.items()}
        groups: dict[int, list[Tensor]] = {}
        for name, weight in trained.items():
            groups.setdefault(depths[name], []).append(weight)
        return [
            (groups[depth], self.layer_decay**depth if depth else self.head_lr)
            for depth in sorted(groups, reverse=True)
        ]


@dataclass
class Scalable(Model):
    """Settings common to the networks in which the width of all layers can be scaled."""

    width: float = setting(
        1.0, "factor on the filters or hidden units of every layer except the last; 1: as in the paper", gt=0
    )

    def tiny(self) -> Self:
        return dataclasses.replace(self, width=0.125)


def enlarged_size(model: Model, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (height, width) to which images of `size` are enlarged for the network, or None."""
    smallest = model.min_size(size)
    if min(size) >= smallest:
        return None
    scale = smallest / min(size)
    return max(smallest, round(size[0] * scale)), max(smallest, round(size[1] * scale))
