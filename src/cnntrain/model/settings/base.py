"""What the settings of every network have, and the choice of its form by the size of the images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from ...settings.fields import setting
from ...settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor, nn

ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "sigmoid", "leaky_relu", "elu", "maxout")
NORMALIZATIONS = ("none", "batch", "lrn")
POOLINGS = ("max", "average", "l2")
FORMS = ("auto", "small", "imagenet")
IMAGENET_FORM_FROM = 128


@dataclass(frozen=True)
class Published:
    """The input and the classes for which a paper states its network's parameters."""

    channels: int
    side: int
    classes: int


IMAGENET = Published(3, 224, 1000)
CIFAR = Published(3, 32, 10)
MNIST = Published(1, 32, 10)


def chosen_form(form: str, image_size: tuple[int, int]) -> str:
    """Return "small" or "imagenet": what `form` says, or what suits the images where it says "auto"."""
    if form != "auto":
        return form
    return "imagenet" if min(image_size) >= IMAGENET_FORM_FROM else "small"


@dataclass
class Model(Option):
    """What every network has."""

    # The paper in a few words, None where there is none; and the input its counts are for.
    paper: ClassVar[str | None] = None
    published: ClassVar[Published | None] = None

    def min_size(self, image_size: tuple[int, int]) -> int:
        """Return the smallest height and width taken by the form used for images of (height, width)."""
        raise NotImplementedError

    def nonlinearity(self) -> str:
        """Return what follows its layers, one of ACTIVATIONS or "linear"; relu where it is no setting."""
        chosen: str = getattr(self, "activation", "relu")
        return chosen

    def input_problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        """Return a line for each setting that does not fit images of this shape or this number of classes."""
        return []

    def has_residual_blocks(self) -> bool:
        """Return whether blocks add to their input, so that they can be skipped."""
        return False

    def tiny(self) -> Self:
        """Return the same kind of network, as small as makes sense: for tests and first tries."""
        return self

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        """Return the network from images (N, in_channels, height, width) to scores (N, classes).

        `dropout` is the rate of all its dropout layers, or of one before the last linear layer where it
        has none; None leaves the network's own. Raises ConfigError where the settings cannot be built.
        """
        raise NotImplementedError

    def rebuild(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        """Return the network that `build` returned, for weights that follow: none are read or downloaded."""
        return self.build(in_channels, classes, image_size, dropout)

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[Tensor], float]]:
        """Return the weights to train, in groups that each have a factor of optim.lr."""
        return [([weight for weight in network.parameters() if weight.requires_grad], 1.0)]


@dataclass
class Scalable(Model):
    """What the networks have whose layers can all be made narrower or wider."""

    width: float = setting(
        1.0, "multiplies the filters and hidden units of every layer but the last; 1 is the paper's", gt=0
    )

    def tiny(self) -> Self:
        return dataclasses.replace(self, width=0.125)


def enlarged_size(model: Model, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (height, width) to which images of `size` are enlarged for the network, None if not."""
    smallest = model.min_size(size)
    if min(size) >= smallest:
        return None
    scale = smallest / min(size)
    return max(smallest, round(size[0] * scale)), max(smallest, round(size[1] * scale))
