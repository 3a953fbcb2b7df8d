"""Settings of the networks (group `model`): channels, classes and image size come from the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fields import fixed, setting

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu")
FORMS = ("auto", "small", "imagenet")
IMAGENET_FORM_FROM = 128


def chosen_form(form: str, image_size: tuple[int, int]) -> str:
    """Return "small" or "imagenet": what `form` says, or what suits the images where it says "auto"."""
    if form != "auto":
        return form
    return "imagenet" if min(image_size) >= IMAGENET_FORM_FROM else "small"


@dataclass
class Model:
    """What every network has."""

    name: str = ""

    def least_size(self, image_size: tuple[int, int]) -> int:
        """Return the least height and width taken by the form used for images of (height, width)."""
        raise NotImplementedError

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        """Return a line for each setting that does not fit the others or the data."""
        return []

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        """Return the network from images (N, in_channels, height, width) to scores (N, classes).

        `dropout` is the rate of all its dropout layers, or of one before the last linear layer where it
        has none; None leaves the network's own. Raises ConfigError where the settings cannot be built.
        """
        raise NotImplementedError


def enlarged(model: Model, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (height, width) to which images of `size` are enlarged for the network, None if not."""
    least = model.least_size(size)
    if min(size) >= least:
        return None
    scale = least / min(size)
    return max(least, round(size[0] * scale)), max(least, round(size[1] * scale))


@dataclass
class Linear(Model):
    """The linear classifier: scores = Wx + b (N1)."""

    name: str = fixed("linear")

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.linear import LinearClassifier

        return LinearClassifier(in_channels, classes, image_size, dropout or 0.0)


@dataclass
class Mlp(Model):
    """The multi-layer perceptron: scores = W2·act(W1·x + b1) + b2, and deeper (N1)."""

    name: str = fixed("mlp")
    hidden: list[int] = setting([128], "units of each hidden layer", ge=1)
    activation: str = setting("relu", "what follows each hidden layer", choices=ACTIVATIONS)

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.linear import Perceptron

        return Perceptron(in_channels, classes, image_size, self.hidden, self.activation, dropout or 0.0)


@dataclass
class ConvNet(Model):
    """INPUT → [[CONV → act]·N → POOL?]·M → [FC → act]·K → FC, all of N, M and K chosen here (L10)."""

    name: str = fixed("convnet")
    channels: list[int] = setting([32, 64], "filters in each of the M blocks; []: no convolution", ge=1)
    convs_per_block: int = setting(2, "convolutions in each block (N)", ge=1)
    kernel_size: int = setting(3, "side of the filters; odd, so that padding keeps the map's size", ge=1)
    pooling: str = setting("max", "what halves the map after each block", choices=("max", "average", "none"))
    batch_norm: bool = setting(True, "batch normalization after each convolution")
    hidden: list[int] = setting([], "units of each of the K fully connected layers before the last", ge=1)
    activation: str = setting("relu", "what follows each layer but the last", choices=ACTIVATIONS)

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 1 if self.pooling == "none" else int(2 ** len(self.channels))

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        if self.kernel_size % 2:
            return []
        below, above = self.kernel_size - 1, self.kernel_size + 1
        return [f"model.kernel_size={self.kernel_size}: must be odd; write {below} or {above}"]

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.convnet import ConvNet as Network

        return Network(
            in_channels,
            classes,
            image_size,
            channels=self.channels,
            convs_per_block=self.convs_per_block,
            kernel_size=self.kernel_size,
            pooling=self.pooling,
            batch_norm=self.batch_norm,
            hidden=self.hidden,
            activation=self.activation,
            dropout=dropout or 0.0,
        )


@dataclass
class LeNet5(Model):
    """LeNet-5 in today's form: 6 and 16 filters of 5x5, then 400-120-84-10 (LeCun et al. 1998; N2)."""

    name: str = fixed("lenet5")
    activation: str = setting("tanh", "what follows each layer but the last", choices=ACTIVATIONS)
    pooling: str = setting(
        "average", "what halves the map after each convolution", choices=("average", "max")
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 28

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.lenet import LeNet5 as Network

        return Network(in_channels, classes, image_size, self.activation, self.pooling, dropout or 0.0)


@dataclass
class Vgg(Model):
    """VGG: 3x3 convolutions and 2x2 pooling only (Simonyan & Zisserman 2015; N6)."""

    name: str = fixed("vgg")
    depth: int = setting(11, "layers with weights, in the imagenet form", choices=(11, 13, 16, 19))
    batch_norm: bool = setting(False, "batch normalization after each convolution")
    form: str = setting(
        "auto",
        "small: one linear layer; imagenet: three of them; auto: imagenet from 128 pixels on",
        choices=FORMS,
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 32

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.vgg import VGG

        form = chosen_form(self.form, image_size)
        return VGG(self.depth, in_channels, classes, self.batch_norm, form, dropout)


@dataclass
class CifarResNet(Model):
    """The residual networks for 32x32 images: three stages of 16, 32 and 64 filters (He et al. 2016; N12)."""

    name: str = fixed("cifar_resnet")
    depth: int = setting(20, "layers with weights: 6n + 2", ge=8)
    shortcut: str = setting(
        "A",
        "where shapes differ, A: zeros for new channels, B: 1x1 convolution; C: 1x1 convolution everywhere",
        choices=("A", "B", "C"),
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 8

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        beyond = (self.depth - 2) % 6
        if not beyond:
            return []
        below = self.depth - beyond
        return [f"model.depth={self.depth}: must be 6n + 2; write {below} or {below + 6}"]

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.cifar_resnet import CifarResNet as Network

        return Network(self.depth, in_channels, classes, self.shortcut, dropout or 0.0)


@dataclass
class ResNet(Model):
    """The residual networks for ImageNet, with identity shortcuts (He et al. 2016; N11)."""

    name: str = fixed("resnet")
    depth: int = setting(18, "layers with weights", choices=(18, 34, 50, 101, 152))
    form: str = setting(
        "auto",
        "stem, small: 3x3; imagenet: 7x7 with stride 2, then pooling; auto: imagenet from 128 pixels on",
        choices=FORMS,
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 64 if chosen_form(self.form, image_size) == "imagenet" else 16

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.resnet import ResNet as Network

        return Network(self.depth, in_channels, classes, chosen_form(self.form, image_size), dropout or 0.0)


# The networks of torchvision whose arithmetic needs more than 64 pixels.
_TORCHVISION_LEAST = {"inception_v3": 75}
_TORCHVISION_EXACT = 224


@dataclass
class TorchvisionModel(Model):
    """Any classification network of torchvision, with new, published or own weights (N14)."""

    name: str = fixed("torchvision")
    arch: str = setting("resnet18", "name of the network in torchvision.models, as in mobilenet_v3_small")
    weights: str | None = setting(
        None, "default, another name of published weights, or a file with a state dict; null: new weights"
    )

    def least_size(self, image_size: tuple[int, int]) -> int:
        return _TORCHVISION_EXACT if self._exact() else _TORCHVISION_LEAST.get(self.arch, 64)

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        from ..model.external import torchvision_problems

        problems = torchvision_problems(self.arch, self.weights)
        exact = (_TORCHVISION_EXACT, _TORCHVISION_EXACT)
        if not problems and self._exact() and image_size != exact:
            height, width = image_size
            problems.append(
                f"model.arch={self.arch}: takes images of {exact[0]}x{exact[1]} only, these have "
                f"{height}x{width}; choose a network without transformer blocks"
            )
        return problems

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.external import torchvision_network

        return torchvision_network(self.arch, self.weights, in_channels, classes, dropout)

    def _exact(self) -> bool:
        """Return whether the network takes images of one size alone: its positions are learned."""
        return self.arch.startswith(("vit_", "maxvit_"))


@dataclass
class Custom(Model):
    """A network of your own: the module that factory(in_channels=…, classes=…, **arguments) returns."""

    name: str = fixed("custom")
    factory: str = setting("", "where the function is: package.module:function, from here or installed")
    arguments: dict[str, Any] = setting({}, "what it is called with beside in_channels and classes")

    def least_size(self, image_size: tuple[int, int]) -> int:
        return 1

    def problems(self, in_channels: int, classes: int, image_size: tuple[int, int]) -> list[str]:
        from ..model.external import custom_problems

        return custom_problems(self.factory, self.arguments)

    def build(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout: float | None
    ) -> nn.Module:
        from ..model.external import custom_network

        return custom_network(self.factory, self.arguments, in_channels, classes, dropout)
