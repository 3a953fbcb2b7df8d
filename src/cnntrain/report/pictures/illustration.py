"""What augmentation and preprocessing make of a few training images, to be drawn (D2 to D6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...augmentation.augment import Augment
from ...data.images import ImageSet
from ...preprocessing.affine import Affine
from ...preprocessing.preprocess import Preprocess
from ...preprocessing.projection import Project
from ...regularization.mixing import add_noise, mix
from ...regularization.settings import Regularizers
from ...seeding import seed_torch

IMAGES, EPOCHS = 8, 4
# Where a run reduces without whitening: the epsilon of the figure's source.
EPSILON = 1e-5


@torch.no_grad()
def as_trained_on(
    preprocess: Preprocess, augment: Augment | None, regularization: Regularizers, train: ImageSet, seed: int
) -> dict[str, Tensor]:
    """Return rows of up to 8 images: as stored, and as the network gets them in four epochs, mixed and noisy.

    Each is float (n, H, W, C) of 0…1 on the CPU, those of the network stretched to it.
    """
    device = next(preprocess.buffers()).device
    images = next(train.chunks(IMAGES)).to(device)
    indices = torch.arange(len(images))
    rows = {"as stored": images.float() / 255}
    for epoch in range(EPOCHS):
        varied = images if augment is None else augment(images, indices, seed, epoch, 0)
        seed_torch(seed, "illustration", epoch)
        inputs = preprocess.values(varied)
        if inputs.shape[2:] == (1, 1):
            # A vector is no picture: what it was made from is shown.
            inputs = varied.permute(0, 3, 1, 2).float()
        mixed = mix(inputs, train.labels[: len(images)].to(device), regularization, seed, epoch, 0)
        seen = add_noise(mixed.inputs, regularization.input_noise)
        rows[f"epoch {epoch + 1}"] = _stretched(seen.permute(0, 2, 3, 1))
    return {name: row.cpu() for name, row in rows.items()}


@torch.no_grad()
def illustrate(preprocess: Preprocess, train: ImageSet) -> dict[str, Tensor]:
    """Return rows of up to 8 images to draw, each float (n, H, W, C) of 0…1 on the CPU, by name.

    originals: the first training images; preprocessed: as the network gets them, a vector rotated back,
    without enlarging. Of a projection also eigenvectors: the first directions; reduced: the images in the
    kept directions alone; whitened: these with all deviations made equal. Each image is stretched to 0…1,
    but for originals and, where the contrast was not normalized, reduced.
    """
    device = next(preprocess.buffers()).device
    images = next(train.chunks(IMAGES)).to(device)
    rows = {"originals": images.float() / 255}
    if isinstance(preprocess, Project):
        rows |= _of_projection(preprocess, images)
    elif isinstance(preprocess, Affine):
        rows["preprocessed"] = _stretched(preprocess.values(images).permute(0, 2, 3, 1))
    return {name: row.cpu() for name, row in rows.items()}


def _of_projection(preprocess: Project, images: Tensor) -> dict[str, Tensor]:
    directions = preprocess.directions
    components = (preprocess.vectors(images) - preprocess.mean) @ directions.T
    reduced = (preprocess.mean + components @ directions).view(-1, *preprocess.shape)
    epsilon = EPSILON if preprocess.epsilon is None else preprocess.epsilon
    whitened = components * (preprocess.variances + epsilon).rsqrt() @ directions
    rows = {
        "preprocessed": components @ directions if preprocess.epsilon is None else whitened,
        "eigenvectors": directions[:IMAGES],
        "reduced": reduced,
        "whitened": whitened,
    }
    rows = {name: _stretched(row.reshape(-1, *preprocess.shape)) for name, row in rows.items()}
    if not preprocess.normalize_contrast:
        rows["reduced"] = reduced.clamp(0, 1)
    return rows


def _stretched(images: Tensor) -> Tensor:
    """Return images with the smallest value of each at 0 and its largest at 1; of one value: 0."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp(min=torch.finfo(images.dtype).tiny)
