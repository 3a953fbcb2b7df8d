"""Settings of preprocessing (group `preprocessing`): statistics come from the training split only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.network_input import NetworkInput, Shape
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.images import ImageSet
    from .preprocess import Preprocess

# The networks whose input may be a vector, k channels of 1x1.
VECTOR_NETWORKS = ("linear", "mlp")
# Eigenvectors take time as the cube of the covariance's side: the 3072 values of CIFAR-10's images take 50 s
# on one core, half of it for the covariance; these would take half an hour, and 1.2 GB for one matrix.
MAX_VALUES = 64 * 64 * 3

PER = ("channel", "pixel")


@dataclass
class Preprocessing(Option):
    """What every preprocessing has. Pixels are scaled from 0…255 to 0…1 before it."""

    def output_shape(self, height: int, width: int, channels: int) -> Shape:
        """Return (height, width, channels) of the preprocessed images, before they are enlarged."""
        return height, width, channels

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        """Return a line for each setting that does not fit images of this shape."""
        return []

    def model_problem(self, model: str) -> str | None:
        """Return why the network of this name cannot take the preprocessed images, None where it can."""
        return None

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        """Return the module with the statistics of a training split, and messages for the user.

        Where augmentation cuts windows out, the statistics are those of the whole images.
        """
        raise NotImplementedError

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        """Return the module whose buffers these are."""
        raise NotImplementedError

    def buffer_shapes(self, network_input: NetworkInput) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the buffers that `restore` takes, by name."""
        raise NotImplementedError


@dataclass
class ScaleAndShift(Preprocessing):
    """What the preprocessings have that multiply each value and add to it."""

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        """Return the factors and summands of values 0…255, which broadcast over (H, W, C), and messages."""
        raise NotImplementedError

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        from .affine import build_affine

        scale, shift, messages = self.scale_and_shift(train)
        return build_affine(scale, shift, network_input), messages

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        from .affine import Affine

        return Affine(**buffers, size=network_input.enlarged, crop=network_input.crop)

    def buffer_shapes(self, network_input: NetworkInput) -> dict[str, tuple[int, ...]]:
        height, width, channels = network_input.image
        shape = (1, *(network_input.crop or (height, width)), channels)
        return {"scale": shape, "shift": shape}


@dataclass
class NoPreprocessing(ScaleAndShift):
    """Pixels between 0 and 1, as they are."""

    name: str = fixed("none")

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .affine import scaled_to_one

        return scaled_to_one()


@dataclass
class Center(ScaleAndShift):
    """Subtract the mean of the training split (D2)."""

    name: str = fixed("center")
    per: str = setting("channel", "one mean per channel, or one per pixel", choices=PER)

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .affine import centered

        return centered(train, self.per)


@dataclass
class Standardize(ScaleAndShift):
    """Subtract the mean of the training split and divide by its standard deviation (D3)."""

    name: str = fixed("standardize")
    per: str = setting("channel", "one mean and deviation per channel, or per pixel", choices=PER)

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .affine import standardized

        return standardized(train, self.per)


@dataclass
class MinMax(ScaleAndShift):
    """Scale to [-1, 1], the smallest and the largest value in the training split (D3)."""

    name: str = fixed("minmax")
    per: str = setting("channel", "one smallest and largest value per channel, or per pixel", choices=PER)

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .affine import scaled_to_extremes

        return scaled_to_extremes(train, self.per)


@dataclass
class Projection(Preprocessing):
    """What the preprocessings have that rotate an image, all its values together, into an eigenbasis."""

    components: int | None = None

    @property
    def rotates_back(self) -> bool:
        """Whether what is left is an image again, or a vector of its components."""
        raise NotImplementedError

    @property
    def normalizes_contrast(self) -> bool:
        """Whether each image's own contrast is normalized first."""
        return False

    @property
    def whitening_epsilon(self) -> float | None:
        """What is added to each variance before its root divides; None where nothing is divided."""
        return None

    def kept(self, values: int) -> int:
        """Return how many components images of so many values keep."""
        return values if self.components is None else self.components

    def output_shape(self, height: int, width: int, channels: int) -> Shape:
        if self.rotates_back:
            return height, width, channels
        return 1, 1, self.kept(height * width * channels)

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        values = height * width * channels
        images = f"images of {height}x{width}x{channels} have {values} values"
        if values > MAX_VALUES:
            return [
                f"preprocessing={self.name}: {images}, too many for their covariance; write "
                f"preprocessing=standardize, or have smaller images (at most {MAX_VALUES} values)"
            ]
        if self.kept(values) > values:
            return [f"preprocessing.components={self.components}: {images}; write at most {values}"]
        return []

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        from .projection import describe_spectrum, eigenbasis

        mean, directions, variances = eigenbasis(train, self.normalizes_contrast)
        count = self.kept(len(mean))
        buffers = {"mean": mean, "directions": directions[:count], "variances": variances[:count]}
        buffers = {name: buffer.float().contiguous() for name, buffer in buffers.items()}
        messages = describe_spectrum(variances, count, self.whitening_epsilon)
        return self.restore(buffers, network_input), messages

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        from .projection import Project

        return Project(
            **buffers,
            shape=network_input.image,
            size=network_input.enlarged,
            rotate_back=self.rotates_back,
            normalize_contrast=self.normalizes_contrast,
            epsilon=self.whitening_epsilon,
        )

    def buffer_shapes(self, network_input: NetworkInput) -> dict[str, tuple[int, ...]]:
        height, width, channels = network_input.image
        length = height * width * channels
        count = self.kept(length)
        return {"mean": (length,), "directions": (count, length), "variances": (count,)}

    def model_problem(self, model: str) -> str | None:
        if self.rotates_back or model in VECTOR_NETWORKS:
            return None
        vector, image = self._written()
        return (
            f"preprocessing.{vector}: leaves a vector, and model={model} needs images; "
            f"write preprocessing.{image}, or {' or '.join(f'model={name}' for name in VECTOR_NETWORKS)}"
        )

    def _written(self) -> tuple[str, str]:
        """Return the settings that leave a vector and an image."""
        raise NotImplementedError


@dataclass
class Pca(Projection):
    """Subtract the mean and keep the directions in which the training split varies most (D4)."""

    name: str = fixed("pca")
    components: int = setting(32, "how many directions are kept; 144 of CIFAR-10's 3072 are usual", ge=1)
    rotate_back: bool = setting(
        True, "back to an image of the kept directions; false: a vector of components, for linear and mlp"
    )

    @property
    def rotates_back(self) -> bool:
        return self.rotate_back

    def _written(self) -> tuple[str, str]:
        return "rotate_back=false", "rotate_back=true"


@dataclass
class Whiten(Projection):
    """Subtract the mean, rotate into the eigenbasis and divide by the deviation of each direction (D5)."""

    name: str = fixed("whiten")
    rotate: str = setting(
        "zca",
        "zca: rotated back to an image; pca: a vector of components, for linear and mlp",
        choices=("zca", "pca"),
    )
    components: int | None = setting(None, "how many directions are kept; null: all", ge=1)
    epsilon: float = setting(
        1e-5, "added to each variance before its root divides; larger is smoother and amplifies less", gt=0
    )
    contrast_normalization: bool = setting(
        False, "first subtract from each image its own mean and divide by its own deviation (GCN)"
    )

    @property
    def rotates_back(self) -> bool:
        return self.rotate == "zca"

    @property
    def normalizes_contrast(self) -> bool:
        return self.contrast_normalization

    @property
    def whitening_epsilon(self) -> float | None:
        return self.epsilon

    def _written(self) -> tuple[str, str]:
        return "rotate=pca", "rotate=zca"
