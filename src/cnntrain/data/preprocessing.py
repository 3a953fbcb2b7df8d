"""From stored images to the network's input: cut, scaled, centred, standardized, whitened, enlarged.

The statistics are those of the training split and live in the module's buffers, so that they are
stored in every checkpoint and applied alike in training, evaluation and prediction (D2 to D5).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.network_input import NetworkInput
from ..config.preprocessing import Center, MinMax, Preprocessing, Projection, Standardize, Whiten
from ..errors import ConfigError
from .images import ImageSet
from .statistics import (
    eigenvectors,
    extremes,
    mean_and_covariance,
    mean_and_deviation,
    normalized_contrast,
)

Shape = tuple[int, int, int]
Size = tuple[int, int]


class Preprocess(nn.Module):
    """Images (N, H, W, C) of 0…255 → network input (N, C', H', W') in float32, channels last in memory.

    `crop` keeps the middle (height, width) of larger images, where training cuts windows of that size;
    `size` enlarges to (H', W'), last of all. None leaves the size.
    """

    def __init__(self, size: Size | None, crop: Size | None = None):
        super().__init__()
        self.size = size
        self.crop = crop

    @property
    def output_shape(self) -> Shape:
        """(C', H', W') of the network's input."""
        channels, height, width = self._values_shape()
        return (channels, *(self.size or (height, width)))

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.values(images if self.crop is None else centre_crop(images, self.crop))
        if self.size is not None:
            inputs = F.interpolate(inputs, self.size, mode="bilinear", align_corners=False)
        return inputs

    def values(self, images: Tensor) -> Tensor:
        """Return the network's input at the images' own size."""
        raise NotImplementedError

    def for_size(self, size: Size) -> Preprocess:
        """Return the same for images of other sizes, resized to `size`.

        Raises ConfigError where the statistics are those of single pixels.
        """
        raise NotImplementedError

    def _values_shape(self) -> Shape:
        raise NotImplementedError


class Affine(Preprocess):
    """Each value times a scale plus a shift, both (1, H, W, C), or (1, 1, 1, C) for images of any size."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, size: Size | None, crop: Size | None = None):
        super().__init__(size, crop)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def values(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale).permute(0, 3, 1, 2)

    def for_size(self, size: Size) -> Preprocess:
        scale, shift = self.scale[:, :1, :1], self.shift[:, :1, :1]
        if not (
            torch.equal(self.scale, scale.expand_as(self.scale))
            and torch.equal(self.shift, shift.expand_as(self.shift))
        ):
            raise _for_own_size_only("preprocessing.per=pixel", "preprocessing.per=channel")
        return Affine(scale, shift, size)

    def _values_shape(self) -> Shape:
        _, height, width, channels = self.scale.shape
        return channels, height, width


class Project(Preprocess):
    """Images less their mean, in the directions in which the training split varies most (D4, D5).

    directions (k, D) are rows of length 1 of D = H·W·C values, variances (k,) those of the training split
    along them, mean (D,) its mean. Rotated back the result is an image, else a vector, k channels of 1x1.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    gains: Tensor
    matrix: Tensor | None

    def __init__(
        self,
        settings: Projection,
        mean: Tensor,
        directions: Tensor,
        variances: Tensor,
        shape: Shape,
        size: Size | None,
    ):
        super().__init__(size)
        self.settings = settings
        self.shape = shape
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("variances", variances)
        gains = torch.ones_like(variances)
        if isinstance(settings, Whiten):
            gains = (variances + settings.epsilon).rsqrt()
        count, length = directions.shape
        # There and back is 2·k·D products an image, the product of both matrices D².
        in_one = settings.rotates_back and 2 * count > length
        self.register_buffer("gains", gains, persistent=False)
        self.register_buffer(
            "matrix", (directions.T * gains) @ directions if in_one else None, persistent=False
        )

    def values(self, images: Tensor) -> Tensor:
        centred = self.vectors(images).sub_(self.mean)
        if self.matrix is not None:
            return self._as_images(centred @ self.matrix)
        components = F.linear(centred, self.directions).mul_(self.gains)
        if self.settings.rotates_back:
            return self._as_images(components @ self.directions)
        return components[:, :, None, None]

    def vectors(self, images: Tensor) -> Tensor:
        """Return images (N, H, W, C) as the vectors (N, D) whose mean and directions these are."""
        if self.settings.normalizes_contrast:
            return normalized_contrast(images)
        return images.flatten(1).float() * (1 / 255)

    def for_size(self, size: Size) -> Preprocess:
        raise _for_own_size_only(f"preprocessing={self.settings.name}", "preprocessing=standardize")

    def _as_images(self, vectors: Tensor) -> Tensor:
        return vectors.view(-1, *self.shape).permute(0, 3, 1, 2)

    def _values_shape(self) -> Shape:
        height, width, channels = self.settings.input_shape(*self.shape)
        return channels, height, width


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle (N, height, width, C) of images (N, H, W, C), none of whose sides is shorter."""
    top, left = (round((images.shape[1 + side] - size[side]) / 2) for side in (0, 1))
    return images[:, top : top + size[0], left : left + size[1]]


def build_preprocessing(
    settings: Preprocessing, train: ImageSet, way: NetworkInput
) -> tuple[Preprocess, list[str]]:
    """Return the preprocessing for a training split on its way to the network, and what to tell of it.

    Where the way cuts windows out, statistics are those of the whole images, per channel. Raises
    ConfigError where the settings do not fit the images.
    """
    if problems := settings.problems(*train.shape):
        raise ConfigError(problems)
    if isinstance(settings, Projection):
        return _projection(settings, train, way)
    scale, shift, lines = _scale_and_shift(settings, train)
    shape = (*(way.crop or train.shape[:2]), train.shape[2])
    scale, shift = (part.expand(shape).float()[None].contiguous() for part in (scale, shift))
    return Affine(scale, shift, way.enlarged, way.crop), lines


def restore(settings: Preprocessing, buffers: Mapping[str, Tensor], way: NetworkInput) -> Preprocess:
    """Return the preprocessing whose buffers these are, for images on their way to the network."""
    if isinstance(settings, Projection):
        return Project(settings, **buffers, shape=way.image, size=way.enlarged)
    return Affine(**buffers, size=way.enlarged, crop=way.crop)


def without_values(settings: Preprocessing, way: NetworkInput) -> Preprocess:
    """Return a preprocessing of the right shapes that has seen no images, for counting memory."""
    height, width, channels = way.image
    if isinstance(settings, Projection):
        length = height * width * channels
        count = settings.kept(length)
        buffers = {"mean": (length,), "directions": (count, length), "variances": (count,)}
    else:
        shape = (1, *(way.crop or (height, width)), channels)
        buffers = {"scale": shape, "shift": shape}
    return restore(settings, {name: torch.ones(sizes) for name, sizes in buffers.items()}, way)


def _scale_and_shift(settings: Preprocessing, train: ImageSet) -> tuple[Tensor, Tensor, list[str]]:
    """Return what each value is multiplied by and what is added then, in float64, and notices."""
    if isinstance(settings, Center | Standardize):
        mean, spread = mean_and_deviation(train)
        if settings.per == "channel":
            # The deviation of a channel's pixels: the mean of squares is averaged, not the deviations.
            squares = (spread**2 + mean**2).mean((0, 1), keepdim=True)
            mean = mean.mean((0, 1), keepdim=True)
            spread = (squares - mean**2).clamp(min=0).sqrt()
        if isinstance(settings, Center):
            return torch.full_like(mean, 1 / 255), -mean / 255, []
        constant = spread < 1e-3
    elif isinstance(settings, MinMax):
        low, high = extremes(train)
        if settings.per == "channel":
            low, high = low.amin((0, 1), keepdim=True), high.amax((0, 1), keepdim=True)
        mean, spread = (low + high) / 2, (high - low) / 2
        constant = spread == 0
    else:
        return torch.tensor(1 / 255), torch.zeros(()), []
    lines = []
    if constant.any():
        what = f"{settings.per}{'s are' if constant.sum() > 1 else ' is'}"
        lines.append(f"notice    {int(constant.sum())} {what} constant in the training split: centred only")
    spread = torch.where(constant, 255.0, spread)
    return 1 / spread, -mean / spread, lines


def _projection(settings: Projection, train: ImageSet, way: NetworkInput) -> tuple[Preprocess, list[str]]:
    mean, covariance = mean_and_covariance(train, settings.normalizes_contrast)
    variances, directions = eigenvectors(covariance)
    count = settings.kept(len(mean))
    buffers = {"mean": mean, "directions": directions[:count], "variances": variances[:count]}
    buffers = {name: buffer.float().contiguous() for name, buffer in buffers.items()}
    return restore(settings, buffers, way), _spectrum(settings, variances, count)


def _spectrum(settings: Projection, variances: Tensor, count: int) -> list[str]:
    """Return in words how variance, all of it and largest first, is spread over the directions."""
    total = variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    shares = variances.cumsum(0) / total
    most, nearly_all = (min(int((shares < share).sum()) + 1, len(shares)) for share in (0.90, 0.99))
    kept = f"; the {count} kept have {shares[count - 1]:.2%}" if count < len(shares) else ""
    lines = [
        f"variance  {len(shares)} directions: from {variances[0]:.3g} along the first to {variances[-1]:.3g} "
        f"along the last; {most} have 90 % of it, {nearly_all} have 99 %{kept}"
    ]
    without = int((variances[:count] <= NOTHING * variances[0]).sum())
    if without:
        amplified = ""
        if isinstance(settings, Whiten):
            amplified = (
                f"; other images are multiplied by {settings.epsilon**-0.5:.3g} there, "
                "a larger preprocessing.epsilon lowers it"
            )
        lines.append(f"notice    the training split has no variance along {without} of them{amplified}")
    return lines


# Shares of the largest variance that are rounding, as products of float32 leave them.
NOTHING = 1e-9


def _for_own_size_only(written: str, instead: str) -> ConfigError:
    return ConfigError(
        [
            f"{written}: the run's statistics are those of its own pixels, and do not fit larger images; "
            f"train with {instead}"
        ]
    )
