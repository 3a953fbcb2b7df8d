"""A few training images after augmentation and preprocessing, to be drawn (D2 to D6)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ...data.batches import Batches
from ...data.image_set import ImageSet
from ...preprocessing.pca_whitening import Project
from ...preprocessing.preprocess import Preprocess
from ...preprocessing.scale_and_shift import Affine
from ...regularization.mixing import Mixed, add_noise, mix
from ...regularization.settings import Regularizers
from ...seeding import seed_torch

IMAGES, EPOCHS = 10, 4
# Used where a run reduces dimensions without whitening; value from the source of the figure.
EPSILON = 1e-5


def shown_images(train: ImageSet) -> Tensor:
    """Return the indices of up to 10 training images: the first of each class, then the next of all."""
    if train.labels.ndim > 1:
        return torch.arange(min(IMAGES, len(train)))
    first: dict[int, int] = {}
    for index, label in enumerate(train.labels.tolist()):
        first.setdefault(label, index)
    chosen = [first[label] for label in sorted(first)][:IMAGES]
    others = (index for index in range(len(train)) if index not in chosen)
    return torch.tensor([*chosen, *itertools.islice(others, IMAGES - len(chosen))])


@torch.no_grad()
def augmentation_rows(
    preprocess: Preprocess, batches: Batches, regularization: Regularizers
) -> dict[str, Tensor]:
    """Return rows of up to 10 images: as stored, and as network inputs in four epochs with mixing and noise.

    Each is float (n, H, W, C) in 0…1 on the CPU; inputs of the network are rescaled to 0…1 per image.
    """
    train, seed = batches.images, batches.seed
    indices = shown_images(train)
    rows = {"as stored": next(train.subset(indices).chunks(IMAGES)).float() / 255}
    for epoch in range(EPOCHS):
        augmented = batches.augmented(indices, epoch, 0)
        seed_torch(seed, "illustration", epoch)
        labels = train.labels[indices].to(augmented.device)
        rows[f"epoch {epoch + 1}"], _ = as_trained_on(
            preprocess, augmented, labels, regularization, seed, epoch
        )
    return {name: row.cpu() for name, row in rows.items()}


@torch.no_grad()
def as_trained_on(
    preprocess: Preprocess,
    augmented: Tensor,
    labels: Tensor,
    regularization: Regularizers,
    seed: int,
    step: int,
) -> tuple[Tensor, Mixed]:
    """Return a batch of augmented images as the network gets it in a step, to be drawn, and as it is mixed.

    augmented uint8 (n, H, W, C). The drawn inputs, with mixing and noise, are float (n, H, W, C), each
    rescaled to 0…1; where preprocessing makes vectors, images before it.
    """
    inputs = preprocess.values(augmented)
    if inputs.shape[2:] == (1, 1):
        inputs = augmented.permute(0, 3, 1, 2).float()
    mixed = mix(inputs, labels, regularization, seed, step, 0)
    noisy = add_noise(mixed.inputs, regularization.input_noise)
    return _rescaled(noisy.permute(0, 2, 3, 1)), mixed


@torch.no_grad()
def illustrate(preprocess: Preprocess, train: ImageSet) -> dict[str, Tensor]:
    """Return rows of up to 8 images to draw, each float (n, H, W, C) in 0…1 on the CPU, by name.

    originals: the first training images; preprocessed: the network's inputs without enlarging, a vector
    rotated back. For a projection also eigenvectors: the first directions; reduced: the images projected
    onto the retained directions; whitened: these with equal standard deviations. Each image is rescaled to
    0…1, except originals and, where the contrast was not normalized, reduced.
    """
    device = next(preprocess.buffers()).device
    images = next(train.subset(shown_images(train)).chunks(IMAGES)).to(device)
    rows = {"originals": images.float() / 255}
    if isinstance(preprocess, Project):
        rows |= _of_projection(preprocess, images)
    elif isinstance(preprocess, Affine):
        rows["preprocessed"] = _rescaled(preprocess.values(images).permute(0, 2, 3, 1))
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
    rows = {name: _rescaled(row.reshape(-1, *preprocess.shape)) for name, row in rows.items()}
    if not preprocess.normalize_contrast:
        rows["reduced"] = reduced.clamp(0, 1)
    return rows


def _rescaled(images: Tensor) -> Tensor:
    """Return images rescaled so that each has minimum 0 and maximum 1; constant images become 0."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp(min=torch.finfo(images.dtype).tiny)
