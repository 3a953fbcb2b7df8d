"""Settings of preprocessing (group `preprocessing`), with statistics of the training split only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.network_input import NetworkInput, Shape
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.image_set import ImageSet
    from .preprocess import Preprocess

# The networks that accept vectors, as images of k channels and 1x1 pixels.
VECTOR_NETWORKS = ("linear", "mlp")
# The time for eigenvectors is cubic in the number of values: the 3072 values of CIFAR-10's images take 50 s
# on one core, half of it for the covariance; this maximum takes half an hour, and 1.2 GB per matrix.
MAX_VALUES = 64 * 64 * 3

PER = ("channel", "pixel")


@dataclass
class Preprocessing(Option):
    """Methods common to all preprocessings, which are applied to pixels scaled from 0…255 to 0…1."""

    def output_shape(self, height: int, width: int, channels: int) -> Shape:
        """Return (height, width, channels) of the preprocessed images, before they are enlarged."""
        return height, width, channels

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        """Return an error for each setting that does not fit images of this shape."""
        return []

    def model_problem(self, model: str) -> str | None:
        """Return an error if the network of this name does not accept the preprocessed images, else None."""
        return None

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        """Return the module fitted to the training split, and messages for the user.

        Statistics are computed from whole images even if augmentation crops them.
        """
        raise NotImplementedError

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        """Return the module with these buffers."""
        raise NotImplementedError

    def buffer_shapes(self, network_input: NetworkInput) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the buffers of `restore` by name."""
        raise NotImplementedError


@dataclass
class ScaleAndShift(Preprocessing):
    """Preprocessings that multiply each value by a factor and add a constant."""

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        """Return scale and shift for values 0…255, which broadcast over (H, W, C), and messages."""
        raise NotImplementedError

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        from .scale_and_shift import build_affine

        scale, shift, messages = self.scale_and_shift(train)
        return build_affine(scale, shift, network_input), messages

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        from .scale_and_shift import Affine

        return Affine(**buffers, size=network_input.enlarged, crop=network_input.crop)

    def buffer_shapes(self, network_input: NetworkInput) -> dict[str, tuple[int, ...]]:
        height, width, channels = network_input.image
        shape = (1, *(network_input.crop or (height, width)), channels)
        return {"scale": shape, "shift": shape}


@dataclass
class NoPreprocessing(ScaleAndShift):
    """No preprocessing, only pixels scaled to [0, 1]."""

    name: str = fixed("none")

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .scale_and_shift import scaled_to_one

        return scaled_to_one()


@dataclass
class Center(ScaleAndShift):
    """Subtract the mean of the training split (D2)."""

    name: str = fixed("center")
    per: str = setting("channel", "mean per channel, or per pixel and channel", choices=PER)

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .scale_and_shift import centered

        return centered(train, self.per)


@dataclass
class Standardize(ScaleAndShift):
    """Subtract the mean of the training split and divide by its standard deviation (D3)."""

    name: str = fixed("standardize")
    per: str = setting(
        "channel", "mean and standard deviation per channel, or per pixel and channel", choices=PER
    )

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .scale_and_shift import standardized

        return standardized(train, self.per)


@dataclass
class Pretrained(ScaleAndShift):
    """Subtract the mean and divide by the deviation of the images that trained the network's weights (N14).

    These are what torchvision or timm state of pretrained weights, of a file the network's default ones; with
    initialization=from_run those of the earlier run.
    """

    name: str = fixed("pretrained")
    mean: list[float] | None = setting(
        None, "mean of each channel of pixels in [0, 1]; null: that of the pretrained weights"
    )
    std: list[float] | None = setting(
        None, "standard deviation of each channel; null: that of the pretrained weights", gt=0
    )

    def problems(self) -> Iterator[str]:
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            yield f"preprocessing.std: has {len(self.std)} values, preprocessing.mean {len(self.mean)}"

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        count = len(self.mean or [])
        if count == channels or (channels == 1 and count == 3):
            return []
        return [
            f"preprocessing.mean: has {count} values, the images {channels} channels; write one for each of "
            "preprocessing.mean and preprocessing.std, or preprocessing=standardize"
        ]

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .scale_and_shift import as_pretrained

        assert self.mean is not None
        assert self.std is not None
        return as_pretrained(self.mean, self.std, train.shape[2])


@dataclass
class MinMax(ScaleAndShift):
    """Scale linearly so that the training split's smallest and largest value become -1 and 1 (D3)."""

    name: str = fixed("minmax")
    per: str = setting(
        "channel", "smallest and largest value per channel, or per pixel and channel", choices=PER
    )

    def scale_and_shift(self, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
        from .scale_and_shift import scaled_to_extremes

        return scaled_to_extremes(train, self.per)


@dataclass
class Projection(Preprocessing):
    """Preprocessings that rotate the vector of an image's values into the eigenbasis of their covariance."""

    components: int | None = None

    @property
    def rotates_back(self) -> bool:
        """Whether the result is rotated back to an image, instead of a vector of components."""
        raise NotImplementedError

    @property
    def normalizes_contrast(self) -> bool:
        """Whether the contrast of each image is normalized first."""
        return False

    @property
    def whitening_epsilon(self) -> float | None:
        """Constant added to each variance before components are divided by its root; None: no division."""
        return None

    def component_count(self, values: int) -> int:
        """Return the number of components kept of images with this number of values."""
        return values if self.components is None else self.components

    def output_shape(self, height: int, width: int, channels: int) -> Shape:
        if self.rotates_back:
            return height, width, channels
        return 1, 1, self.component_count(height * width * channels)

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        values = height * width * channels
        images = f"images of {height}x{width}x{channels} have {values} values"
        if values > MAX_VALUES:
            return [
                f"preprocessing={self.name}: {images}, too many for their covariance; write "
                f"preprocessing=standardize, or use smaller images (at most {MAX_VALUES} values)"
            ]
        if self.component_count(values) > values:
            return [f"preprocessing.components={self.components}: {images}; write at most {values}"]
        return []

    def fit(self, train: ImageSet, network_input: NetworkInput) -> tuple[Preprocess, list[str]]:
        from .pca_whitening import describe_spectrum, eigenbasis

        mean, directions, variances = eigenbasis(train, self.normalizes_contrast)
        count = self.component_count(len(mean))
        buffers = {"mean": mean, "directions": directions[:count], "variances": variances[:count]}
        buffers = {name: buffer.float().contiguous() for name, buffer in buffers.items()}
        messages = describe_spectrum(variances, count, self.whitening_epsilon)
        return self.restore(buffers, network_input), messages

    def restore(self, buffers: Mapping[str, Tensor], network_input: NetworkInput) -> Preprocess:
        from .pca_whitening import Project

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
        count = self.component_count(length)
        return {"mean": (length,), "directions": (count, length), "variances": (count,)}

    def model_problem(self, model: str) -> str | None:
        if self.rotates_back or model in VECTOR_NETWORKS:
            return None
        vector, image = self._vector_and_image_overrides()
        return (
            f"preprocessing.{vector}: results in a vector, but model={model} needs images; "
            f"write preprocessing.{image}, or {' or '.join(f'model={name}' for name in VECTOR_NETWORKS)}"
        )

    def _vector_and_image_overrides(self) -> tuple[str, str]:
        """Return the overrides whose result is a vector and an image."""
        raise NotImplementedError


@dataclass
class Pca(Projection):
    """PCA: subtract the mean and keep the principal components with the largest variances (D4)."""

    name: str = fixed("pca")
    components: int = setting(32, "number of principal components kept; for CIFAR-10 often 144 of 3072", ge=1)
    rotate_back: bool = setting(
        True, "true: rotate back to an image; false: a vector of components, for model=linear and mlp"
    )

    @property
    def rotates_back(self) -> bool:
        return self.rotate_back

    def _vector_and_image_overrides(self) -> tuple[str, str]:
        return "rotate_back=false", "rotate_back=true"


@dataclass
class Whiten(Projection):
    """Whitening: subtract the mean, rotate into the eigenbasis, divide by each component's deviation (D5)."""

    name: str = fixed("whiten")
    rotate: str = setting(
        "zca",
        "zca: rotate back to an image; pca: a vector of components, for model=linear and mlp",
        choices=("zca", "pca"),
    )
    components: int | None = setting(None, "number of principal components kept; null: all", ge=1)
    epsilon: float = setting(
        1e-5,
        "added to each variance before the division by its root; larger is smoother, with less noise",
        gt=0,
    )
    contrast_normalization: bool = setting(
        False, "first subtract from each image its mean and divide by its standard deviation (GCN)"
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

    def _vector_and_image_overrides(self) -> tuple[str, str]:
        return "rotate=pca", "rotate=zca"
