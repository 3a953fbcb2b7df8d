"""The transforms of a training batch, in their order.

All random numbers are drawn on the CPU and depend on (seed, epoch, step) alone, so any batch can be
augmented again without the ones before it (decision 3 in docs/architecture.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import ConfigError
from ..seeding import derive, generator, random_bits
from ..settings.network_input import Shape
from . import color, geometry
from .erasing import ERASE_RATIOS, erase
from .policies import apply_policy, build_policy
from .settings import Transforms

RESIZED_CROP_RATIOS = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Augment:
    """Every transform whose strength is not 0, false or null, in this order:

    a crop (of the padded image, or of crop_size), resized crop and rotation in one resampling, flip,
    policy, brightness, contrast, saturation, hue, lighting, erasing, cutout.
    """

    settings: Transforms
    color_axes: Tensor | None = None

    def __call__(self, images: Tensor, indices: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """Return augmented images, of the same size or crop_size.

        images: uint8 (N, H, W, C) on any device; indices: their positions (N,) in the split, on the CPU.
        """
        rng = generator(seed, "augmentation", epoch, step)
        images = self._crop_and_rotate(images, rng)
        images = self._flip(images, indices, seed, epoch, rng)
        if self.settings.policy != "none":
            images = apply_policy(images, build_policy(self.settings), derive(seed, "policy", epoch, step))
        images = self._jitter_color(images, rng)
        return self._erase(images, rng)

    def _crop_and_rotate(self, images: Tensor, rng: torch.Generator) -> Tensor:
        settings = self.settings
        count, device = len(images), images.device
        if settings.crop_padding:
            down, right = torch.randint(2 * settings.crop_padding + 1, (2, count), generator=rng)
            images = geometry.crop(images, settings.crop_padding, _to(device, down), _to(device, right))
        height, width = images.shape[1:3]
        size = settings.cropped_size((height, width))
        if settings.crop_size is not None and settings.min_area is None:
            down = torch.randint(height - size[0] + 1, (count,), generator=rng)
            right = torch.randint(width - size[1] + 1, (count,), generator=rng)
            images = geometry.windows(images, size, _to(device, down), _to(device, right))
            height, width = size
        if settings.min_area is None and not settings.rotation_degrees:
            return images
        whole = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, count)
        windows, angles = whole, torch.zeros(count)
        if settings.min_area is not None:
            drawn, fits = geometry.boxes(
                rng, count, (height, width), (settings.min_area, 1.0), RESIZED_CROP_RATIOS, (height, width)
            )
            windows = torch.where(fits, drawn, whole)
        if settings.rotation_degrees:
            limit = math.radians(settings.rotation_degrees)
            angles = (2 * torch.rand(count, generator=rng) - 1) * limit
        # A window without rotation lies inside the image: beyond its border pixels nothing is black.
        outside = "zeros" if settings.rotation_degrees else "border"
        return geometry.resample(images, _to(device, windows), _to(device, angles), size, outside)

    def _flip(self, images: Tensor, indices: Tensor, seed: int, epoch: int, rng: torch.Generator) -> Tensor:
        if self.settings.flip:
            chosen = torch.rand(len(images), generator=rng) < 0.5
        elif self.settings.alternating_flip:
            chosen = random_bits(seed, "alternating flip", indices) ^ bool(epoch % 2)
        else:
            return images
        return geometry.flip(images, _to(images.device, chosen))

    def _jitter_color(self, images: Tensor, rng: torch.Generator) -> Tensor:
        settings = self.settings
        count, device = len(images), images.device
        strengths = (
            settings.brightness,
            settings.contrast,
            settings.saturation,
            settings.hue,
            settings.lighting,
        )
        if not any(strengths):
            return images

        def factors(strength: float) -> Tensor:
            low = max(0.0, 1 - strength)
            return _to(device, low + (1 + strength - low) * torch.rand(count, generator=rng))

        values = images.float()
        if settings.brightness:
            values = color.brightness(values, factors(settings.brightness))
        if settings.contrast:
            values = color.contrast(values, factors(settings.contrast))
        if settings.saturation:
            values = color.saturation(values, factors(settings.saturation))
        if settings.hue:
            turns = (2 * torch.rand(count, generator=rng) - 1) * settings.hue
            values = color.hue(values, _to(device, turns))
        if settings.lighting:
            assert self.color_axes is not None
            multipliers = settings.lighting * torch.randn(count, 3, generator=rng)
            values = values + _to(device, multipliers @ self.color_axes.T)[:, None, None, :]
        return values.round_().clamp_(0, 255).to(images.dtype)

    def _erase(self, images: Tensor, rng: torch.Generator) -> Tensor:
        settings = self.settings
        count, height, width, _ = images.shape
        if settings.erase:
            drawn, fits = geometry.boxes(
                rng,
                count,
                (height, width),
                settings.erase_area_range(),
                ERASE_RATIOS,
                (height - 1, width - 1),
            )
            chosen = fits & (torch.rand(count, generator=rng) < settings.erase)
            images = erase(images, _to(images.device, drawn * chosen))
        if settings.cutout:
            rows = torch.randint(height, (count,), generator=rng) - settings.cutout // 2
            columns = torch.randint(width, (count,), generator=rng) - settings.cutout // 2
            sides = torch.full((count,), settings.cutout)
            images = erase(images, _to(images.device, torch.stack([rows, columns, sides, sides])))
        return images


def build_augment(settings: Transforms, image: Shape, train: Iterable[Tensor]) -> Augment:
    """Return the augmentation of images (height, width, channels) = `image`; `train` yields all of them.

    Raises ConfigError where settings do not fit the images.
    """
    height, width, channels = image
    if problems := settings.input_problems(height, width, channels):
        raise ConfigError(problems)
    if settings.crop_padding is None:
        padding = max(1, min(height, width) // 8) if settings.crop_size is None else 0
        settings = replace(settings, crop_padding=padding)
    return Augment(settings, color.principal_axes(train) if settings.lighting else None)


def _to(device: torch.device, tensor: Tensor) -> Tensor:
    """Return a tensor of the CPU on the images' device, without waiting for it."""
    return tensor.to(device, non_blocking=True)
