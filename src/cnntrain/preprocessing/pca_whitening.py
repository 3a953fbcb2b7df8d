"""Preprocessing that rotates images into the eigenbasis of the training split: PCA and whitening (D4, D5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.image_set import ImageSet
from ..settings.network_input import Shape, Size
from .preprocess import Preprocess, fixed_size_error
from .statistics import eigenvectors, mean_and_covariance, normalized_contrast

# Variances below this fraction of the largest one are rounding errors of float32 products.
ZERO_VARIANCE = 1e-9


class Project(Preprocess):
    """Projection of centered images onto the directions of largest variance of the training split (D4, D5).

    directions (k, D): unit vectors as rows, D = H·W·C; variances (k,): those of the training split along
    them; mean (D,): its mean. With `epsilon` the components are whitened: divided by sqrt(variance +
    epsilon). With `rotate_back` the result is an image, else a vector, k channels of 1x1. With
    `normalize_contrast` each image is first centered by its own mean and divided by its own deviation.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    gains: Tensor
    matrix: Tensor | None

    def __init__(
        self,
        mean: Tensor,
        directions: Tensor,
        variances: Tensor,
        shape: Shape,
        size: Size | None,
        *,
        rotate_back: bool,
        normalize_contrast: bool,
        epsilon: float | None,
    ):
        super().__init__(size)
        self.shape = shape
        self.rotate_back = rotate_back
        self.normalize_contrast = normalize_contrast
        self.epsilon = epsilon
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("variances", variances)
        gains = torch.ones_like(variances)
        if epsilon is not None:
            gains = (variances + epsilon).rsqrt()
        count, length = directions.shape
        # Two products with the directions cost 2·k·D multiply-adds per image, one with their product D².
        use_matrix = rotate_back and 2 * count > length
        self.register_buffer("gains", gains, persistent=False)
        self.register_buffer(
            "matrix", (directions.T * gains) @ directions if use_matrix else None, persistent=False
        )

    def values(self, images: Tensor) -> Tensor:
        with full_precision():
            return self._projected(images)

    def _projected(self, images: Tensor) -> Tensor:
        centered = self.vectors(images).sub_(self.mean)
        if self.matrix is not None:
            return self._as_images(centered @ self.matrix)
        components = F.linear(centered, self.directions).mul_(self.gains)
        if self.rotate_back:
            return self._as_images(components @ self.directions)
        return components[:, :, None, None]

    def vectors(self, images: Tensor) -> Tensor:
        """Return images (N, H, W, C) as vectors (N, D), contrast-normalized if `normalize_contrast`."""
        if self.normalize_contrast:
            return normalized_contrast(images)
        return images.flatten(1).float() * (1 / 255)

    def for_size(self, size: Size) -> Preprocess:
        name = "pca" if self.epsilon is None else "whiten"
        raise fixed_size_error(f"preprocessing={name}", "preprocessing=standardize")

    def _as_images(self, vectors: Tensor) -> Tensor:
        return vectors.view(-1, *self.shape).permute(0, 3, 1, 2)

    def _values_shape(self) -> Shape:
        height, width, channels = self.shape if self.rotate_back else (1, 1, len(self.variances))
        return channels, height, width


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices on CUDA without TF32, whose 10 bits whitening would amplify."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def eigenbasis(train: ImageSet, normalize_contrast: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,), directions (D, D) as rows, and variances (D,), the largest first, of a split."""
    mean, covariance = mean_and_covariance(train, normalize_contrast)
    variances, directions = eigenvectors(covariance)
    return mean, directions, variances


def describe_spectrum(variances: Tensor, count: int, epsilon: float | None) -> list[str]:
    """Return messages on the distribution of variance over the directions, of which `count` are kept.

    variances: of all directions, the largest first. epsilon: of whitening, None without whitening.
    """
    total = variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    explained = variances.cumsum(0) / total
    for_90, for_99 = (min(int((explained < fraction).sum()) + 1, len(explained)) for fraction in (0.90, 0.99))
    suffix = f"; the {count} kept explain {explained[count - 1]:.2%}" if count < len(explained) else ""
    lines = [
        f"variance  {len(explained)} directions: from {variances[0]:.3g} along the first to "
        f"{variances[-1]:.3g} along the last; {for_90} explain 90 % of it, {for_99} explain 99 %{suffix}"
    ]
    zero_count = int((variances[:count] <= ZERO_VARIANCE * variances[0]).sum())
    if zero_count:
        amplified = ""
        if epsilon is not None:
            amplified = (
                f"; other images are multiplied by {epsilon**-0.5:.3g} there, "
                "a larger preprocessing.epsilon reduces this"
            )
        lines.append(f"notice    the training split has no variance along {zero_count} of them{amplified}")
    return lines
