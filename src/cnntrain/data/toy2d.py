"""Classes in a plane: rings, moons and spirals, whose boundaries can be drawn (D9).

A point is an image of one pixel with two channels: its coordinates on a grid of 256x256 over the square
of -1…1. So everything that takes images takes points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..seeding import generator
from .images import MemoryImages
from .splits import Splits

RADII = (0.4, 0.8)
MOON_RADIUS = 0.55
# An arm's first and last distance from the centre, and how far it turns in between, in radians.
ARM_START, ARM_END = 0.05, 0.9
ARM_TURN = 2 * math.pi


def make_toy2d(shape: str, points: int, test_points: int, noise: float, classes: int) -> Splits:
    """Return points (uint8 (N, 1, 1, 2)) of these settings, which no seed of a run changes.

    shape: moons, rings or spiral; noise: deviation of a Gaussian added to both coordinates. Points that
    it carries out of the square are put on its edge.
    """
    train = _draw(shape, points, noise, classes, "train")
    test = _draw(shape, test_points, noise, classes, "test")
    names = [str(label) for label in range(classes)]
    return Splits(train, train.subset(torch.empty(0, dtype=torch.int64)), test, names)


def to_images(points: Tensor) -> Tensor:
    """Return points (N, 2) of -1…1 as images (N, 1, 1, 2) of 0…255, not rounded."""
    return ((points + 1) * 127.5)[:, None, None, :]


def to_points(images: Tensor) -> Tensor:
    """Return images (N, 1, 1, 2) of 0…255 as points (N, 2) of -1…1."""
    return images[:, 0, 0, :].float() / 127.5 - 1


def _draw(shape: str, count: int, noise: float, classes: int, split: str) -> MemoryImages:
    rng = generator(0, "toy2d", shape, split)
    labels = torch.arange(count) % classes
    along = torch.rand(count, generator=rng)
    points = CURVES[shape](along, labels, classes)
    points += torch.randn((count, 2), generator=rng) * noise
    return MemoryImages(to_images(points).round().clamp(0, 255).to(torch.uint8), labels)


def _rings(along: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Circles around the centre, the first class inside."""
    return _polar(torch.tensor(RADII)[labels], 2 * math.pi * along)


def _moons(along: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Two half circles, each reaching into the other's hollow; the second is the first turned by half."""
    upper = _polar(torch.tensor(1.0), math.pi * along) - torch.tensor([0.5, 0.25])
    return MOON_RADIUS * torch.where((labels == 0)[:, None], upper, -upper)


def _spiral(along: Tensor, labels: Tensor, classes: int) -> Tensor:
    """An arm for each class: the distance from the centre grows evenly with the angle."""
    return _polar(
        ARM_START + (ARM_END - ARM_START) * along, 2 * math.pi * labels / classes + ARM_TURN * along
    )


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


# Points (N, 2) from places along the curve (N,) of 0…1, labels (N,) and the number of classes.
CURVES = {"rings": _rings, "moons": _moons, "spiral": _spiral}
