"""Random transforms of a training batch, applied in sequence.

All random numbers are drawn on the CPU and depend only on (seed, epoch, step), so any batch can be
reproduced without the preceding ones (decision 3 in docs/architecture.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..seeding import derive, generator, random_bits
from . import color, geometry
from .erasing import ERASE_RATIOS, erase
from .policies import Policy, apply_policy


@dataclass(frozen=True)
class BatchKey:
    """Inputs of the random numbers of a batch; indices: the positions (N,) of its images in the split.

    part: of the batch that is transformed. Random numbers are drawn for all N images.
    """

    indices: Tensor
    seed: int
    epoch: int
    step: int
    part: slice = field(default_factory=lambda: slice(None))

    def __len__(self) -> int:
        """Return N."""
        return len(self.indices)

    def of_part(self, device: torch.device, *drawn: Tensor) -> list[Tensor]:
        """Return CPU tensors (…, N) for the part (…, n) on the images' device, copied asynchronously."""
        return [tensor[..., self.part].to(device, non_blocking=True) for tensor in drawn]


class Transform(Protocol):
    """A random transform of a batch of images."""

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        """Return transformed images; images: uint8 (n, H, W, C) on any device, rng: on the CPU."""


@dataclass(frozen=True)
class Augment:
    """Transforms applied in order, with one random generator."""

    transforms: Sequence[Transform]

    def __call__(
        self,
        images: Tensor,
        indices: Tensor,
        seed: int,
        epoch: int,
        step: int,
        part: slice | None = None,
    ) -> Tensor:
        """Return augmented images.

        images: a part of a batch, uint8 (n, H, W, C) on any device; indices: the positions (N,) in the split
        of the whole batch, on the CPU. The result is that part of the whole batch augmented.
        """
        rng = generator(seed, "augmentation", epoch, step)
        key = BatchKey(indices, seed, epoch, step, part or slice(None))
        for transform in self.transforms:
            images = transform(images, rng, key)
        return images


@dataclass(frozen=True)
class PaddedCrop:
    """A random crop of the image's own size from the padded image; fill: "zeros" or "reflect"."""

    padding: int
    fill: str = "zeros"

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        down, right = torch.randint(2 * self.padding + 1, (2, len(key)), generator=rng)
        down, right = key.of_part(images.device, down, right)
        return geometry.crop(images, self.padding, down, right, self.fill)


@dataclass(frozen=True)
class Crop:
    """A random square crop of `size` x `size` pixels."""

    size: int

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        count, (height, width) = len(key), images.shape[1:3]
        down = torch.randint(height - self.size + 1, (count,), generator=rng)
        right = torch.randint(width - self.size + 1, (count,), generator=rng)
        return geometry.windows(images, (self.size, self.size), *key.of_part(images.device, down, right))


@dataclass(frozen=True)
class ResizedCropAndRotation:
    """A random crop of at least `min_area` of the image, rotated by up to `degrees`, in one resampling.

    min_area: fraction of the image's area, None for the whole image. size: pixels per side of the result,
    None for the image's own size.
    """

    min_area: float | None
    degrees: float
    size: int | None

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        count, (height, width) = len(key), images.shape[1:3]
        size = (height, width) if self.size is None else (self.size, self.size)
        windows = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, count)
        angles = torch.zeros(count)
        if self.min_area is not None:
            draws = geometry.draw_boxes(rng, count)
            windows = geometry.crop_boxes(draws, (height, width), self.min_area)
        if self.degrees:
            angles = (2 * torch.rand(count, generator=rng) - 1) * math.radians(self.degrees)
        finer = max(1, round(max(float(windows[2].max()) / size[0], float(windows[3].max()) / size[1])))
        windows, angles = key.of_part(images.device, windows, angles)
        if self.degrees:
            return geometry.resample(images, windows, angles, size, finer)
        return geometry.resize_windows(images, windows, size)


@dataclass(frozen=True)
class Flip:
    """A horizontal flip of each image with probability ½."""

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        chosen = torch.rand(len(key), generator=rng) < 0.5
        return geometry.flip(images, *key.of_part(images.device, chosen))


@dataclass(frozen=True)
class AlternatingFlip:
    """A horizontal flip of each image in every other epoch; a random half of the images starts flipped."""

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        chosen = random_bits(key.seed, "alternating flip", key.indices) ^ bool(key.epoch % 2)
        return geometry.flip(images, *key.of_part(images.device, chosen))


@dataclass(frozen=True)
class RandomPolicy:
    """A published augmentation policy, applied to one image at a time."""

    policy: Policy

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        seed = derive(key.seed, "policy", key.epoch, key.step)
        return apply_policy(images, self.policy, seed, before=key.part.start or 0)


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation, hue and lighting of each image, in this order.

    axes: the principal axes of the training split's colors (3, 3), needed for lighting.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    lighting: float = 0.0
    axes: Tensor | None = field(default=None, compare=False)

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        count, device = len(key), images.device

        def factors(strength: float) -> Tensor:
            low = max(0.0, 1 - strength)
            (drawn,) = key.of_part(device, low + (1 + strength - low) * torch.rand(count, generator=rng))
            return drawn

        values = images.float()
        if self.brightness:
            values = color.brightness(values, factors(self.brightness))
        if self.contrast:
            values = color.contrast(values, factors(self.contrast))
        if self.saturation:
            values = color.saturation(values, factors(self.saturation))
        if self.hue:
            hue_shifts = (2 * torch.rand(count, generator=rng) - 1) * self.hue
            values = color.hue(values, *key.of_part(device, hue_shifts))
        if self.lighting:
            assert self.axes is not None
            multipliers = self.lighting * torch.randn(count, 3, generator=rng)
            (shifts,) = key.of_part(device, (multipliers @ self.axes.T).T)
            values = values + shifts.T[:, None, None, :]
        return values.round_().clamp_(0, 255).to(images.dtype)


@dataclass(frozen=True)
class RandomErasing:
    """A black box in each image with the given probability (Zhong et al. 2017).

    The box covers a fraction of the image's area in the range `areas`; where none of ten draws fits into the
    image, the first is cut to it.
    """

    probability: float
    areas: tuple[float, float]

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        count, (height, width) = len(key), images.shape[1:3]
        size, largest = (height, width), (height - 1, width - 1)
        draws = geometry.draw_boxes(rng, count)
        (top, left, rows, columns), fits = geometry.boxes(draws, size, self.areas, ERASE_RATIOS, largest)
        boxes = torch.stack([top * fits, left * fits, rows.clamp(max=height), columns.clamp(max=width)])
        chosen = torch.rand(count, generator=rng) < self.probability
        return erase(images, *key.of_part(images.device, boxes * chosen))


@dataclass(frozen=True)
class Cutout:
    """A black square of `side` pixels around a random position of each image (DeVries & Taylor 2017)."""

    side: int

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        count, (height, width) = len(key), images.shape[1:3]
        rows = torch.randint(height, (count,), generator=rng) - self.side // 2
        columns = torch.randint(width, (count,), generator=rng) - self.side // 2
        sides = torch.full((count,), self.side)
        return erase(images, *key.of_part(images.device, torch.stack([rows, columns, sides, sides])))
