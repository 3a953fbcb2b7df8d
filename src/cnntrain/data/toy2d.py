"""Two-dimensional toy data: rings, moons and spirals, whose decision boundaries can be drawn (D9).

A point is an image of one pixel with two channels: its coordinates on a grid of 256x256 over the square
of -1…1. Points can therefore be used wherever images can.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..seeding import generator
from .image_set import MemoryImages
from .splits import Splits

RADII = (0.4, 0.8)
MOON_RADIUS = 0.55
# Radius of a spiral arm at its start and end, and the angle that it covers, in radians.
ARM_START, ARM_END = 0.05, 0.9
ARM_ANGLE = 2 * math.pi


def make_toy2d(shape: str, points: int, test_points: int, noise: float, classes: int) -> Splits:
    """Return points, uint8 (N, 1, 1, 2), for these settings, independent of the run's seed.

    shape: moons, rings or spiral; noise: standard deviation of Gaussian noise added to both coordinates.
    Points outside the square are clamped to its edge.
    """
    train = _sample(shape, points, noise, classes, "train")
    test = _sample(shape, test_points, noise, classes, "test")
    names = [str(label) for label in range(classes)]
    return Splits(train, train.subset(torch.empty(0, dtype=torch.int64)), test, names)


def to_images(points: Tensor) -> Tensor:
    """Return points (N, 2) of -1…1 as images (N, 1, 1, 2) of 0…255, not rounded."""
    return ((points + 1) * 127.5)[:, None, None, :]


def to_points(images: Tensor) -> Tensor:
    """Return images (N, 1, 1, 2) of 0…255 as points (N, 2) of -1…1."""
    return images[:, 0, 0, :].float() / 127.5 - 1


def _sample(shape: str, count: int, noise: float, classes: int, split: str) -> MemoryImages:
    rng = generator(0, "toy2d", shape, split)
    labels = torch.arange(count) % classes
    positions = torch.rand(count, generator=rng)
    points = CURVES[shape](positions, labels, classes)
    points += torch.randn((count, 2), generator=rng) * noise
    return MemoryImages(to_images(points).round().clamp(0, 255).to(torch.uint8), labels)


def _rings(positions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Circles around the center, the first class inside."""
    return _polar(torch.tensor(RADII)[labels], 2 * math.pi * positions)


def _moons(positions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Two interleaving half circles; the second is the first rotated by 180°."""
    upper = _polar(torch.tensor(1.0), math.pi * positions) - torch.tensor([0.5, 0.25])
    return MOON_RADIUS * torch.where((labels == 0)[:, None], upper, -upper)


def _spiral(positions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """One arm per class, whose distance from the center grows linearly with the angle."""
    return _polar(
        ARM_START + (ARM_END - ARM_START) * positions, 2 * math.pi * labels / classes + ARM_ANGLE * positions
    )


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


# Functions returning points (N, 2) for positions on the curve (N,) of 0…1, labels (N,) and class count.
CURVES = {"rings": _rings, "moons": _moons, "spiral": _spiral}
