"""Synthetic images that can be learned: a smooth pattern per class plus noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..seeding import generator
from .image_set import MemoryImages
from .splits import Splits

CONTRAST = 30.0
NOISE = 50.0
CHUNK = 256


def make_synthetic(classes: int, size: int, channels: int, train_images: int, test_images: int) -> Splits:
    """Return the images for these settings, independent of the run's seed; labels repeat 0 … classes - 1."""
    coarse = torch.randn((classes, channels, 4, 4), generator=generator(0, "synthetic patterns"))
    smooth = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    patterns = 127.5 + CONTRAST * smooth.permute(0, 2, 3, 1)
    train = _noisy(patterns, train_images, "train")
    test = _noisy(patterns, test_images, "test")
    names = [str(label) for label in range(classes)]
    return Splits(train, train.subset(torch.empty(0, dtype=torch.int64)), test, names)


def _noisy(patterns: Tensor, count: int, split: str) -> MemoryImages:
    """Return `count` images of the patterns plus noise; patterns: (classes, H, W, C), 0…255."""
    rng = generator(0, "synthetic", split)
    labels = torch.arange(count) % len(patterns)
    images = torch.empty((count, *patterns.shape[1:]), dtype=torch.uint8)
    for start in range(0, count, CHUNK):
        part = patterns[labels[start : start + CHUNK]]
        part += torch.randn(part.shape, generator=rng) * NOISE
        images[start : start + CHUNK] = part.round().clamp(0, 255)
    return MemoryImages(images, labels)
