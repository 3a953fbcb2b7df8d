"""What is done to a training batch, in which order, and how much of it.

All draws are made on the CPU and depend on (seed, epoch, step) alone, so any batch can be made again
without the ones before it (design decision 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...config.augmentation import Augmentation, Strengths
from ...errors import ConfigError
from ...seeding import coins, derive, generator
from ..images import ImageSet
from . import colour, geometry
from .erasing import ERASED_RATIOS, erase
from .policies import build_policy, vary

CROPPED_RATIOS = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Augment:
    """Every operation whose strength is not 0, false or null, in this order:

    a crop (of the padded image, or of crop_size), resized crop and rotation in one resampling, flip,
    policy, brightness, contrast, saturation, hue, lighting, erasing, cutout.
    """

    strengths: Strengths
    colour_axes: Tensor | None = None

    def __call__(self, images: Tensor, indices: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """Return varied images, of the same size or crop_size.

        images: uint8 (N, H, W, C) on any device; indices: their places (N,) in the split, on the CPU.
        """
        draws = generator(seed, "augmentation", epoch, step)
        images = self._placed(images, draws)
        images = self._mirrored(images, indices, seed, epoch, draws)
        if self.strengths.policy != "none":
            images = vary(images, build_policy(self.strengths), derive(seed, "policy", epoch, step))
        images = self._coloured(images, draws)
        return self._erased(images, draws)

    def _placed(self, images: Tensor, draws: torch.Generator) -> Tensor:
        given = self.strengths
        count, device = len(images), images.device
        if given.crop_padding:
            down, right = torch.randint(2 * given.crop_padding + 1, (2, count), generator=draws)
            images = geometry.crop(
                images,
                given.crop_padding,
                _on(device, down),
                _on(device, right),
            )
        height, width = images.shape[1:3]
        size = given.cropped((height, width))
        if given.crop_size is not None and given.min_area is None:
            down = torch.randint(height - size[0] + 1, (count,), generator=draws)
            right = torch.randint(width - size[1] + 1, (count,), generator=draws)
            images = geometry.windows(images, size, _on(device, down), _on(device, right))
            height, width = size
        if given.min_area is None and not given.rotation_degrees:
            return images
        whole = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, count)
        windows, angles = whole, torch.zeros(count)
        if given.min_area is not None:
            drawn, fits = geometry.boxes(
                draws, count, (height, width), (given.min_area, 1.0), CROPPED_RATIOS, (height, width)
            )
            windows = torch.where(fits, drawn, whole)
        if given.rotation_degrees:
            angles = (2 * torch.rand(count, generator=draws) - 1) * math.radians(given.rotation_degrees)
        # A window alone lies inside the image: what its border pixels miss of a neighbour is no black.
        outside = "zeros" if given.rotation_degrees else "border"
        return geometry.resample(images, _on(device, windows), _on(device, angles), size, outside)

    def _mirrored(
        self, images: Tensor, indices: Tensor, seed: int, epoch: int, draws: torch.Generator
    ) -> Tensor:
        if self.strengths.flip:
            chosen = torch.rand(len(images), generator=draws) < 0.5
        elif self.strengths.alternating_flip:
            chosen = coins(seed, "alternating flip", indices) ^ bool(epoch % 2)
        else:
            return images
        return geometry.flip(images, _on(images.device, chosen))

    def _coloured(self, images: Tensor, draws: torch.Generator) -> Tensor:
        given = self.strengths
        count, device = len(images), images.device
        if not (given.brightness or given.contrast or given.saturation or given.hue or given.lighting):
            return images

        def factors(strength: float) -> Tensor:
            low = max(0.0, 1 - strength)
            return (low + (1 + strength - low) * torch.rand(count, generator=draws)).to(
                device, non_blocking=True
            )

        values = images.float()
        if given.brightness:
            values = colour.brightness(values, factors(given.brightness))
        if given.contrast:
            values = colour.contrast(values, factors(given.contrast))
        if given.saturation:
            values = colour.saturation(values, factors(given.saturation))
        if given.hue:
            turns = (2 * torch.rand(count, generator=draws) - 1) * given.hue
            values = colour.hue(values, _on(device, turns))
        if given.lighting:
            assert self.colour_axes is not None
            multipliers = given.lighting * torch.randn(count, 3, generator=draws)
            values = values + _on(device, multipliers @ self.colour_axes.T)[:, None, None, :]
        return values.round_().clamp_(0, 255).to(images.dtype)

    def _erased(self, images: Tensor, draws: torch.Generator) -> Tensor:
        given = self.strengths
        count, height, width, _ = images.shape
        if given.erase:
            least, most = given.erased_shares()
            drawn, fits = geometry.boxes(
                draws, count, (height, width), (least, most), ERASED_RATIOS, (height - 1, width - 1)
            )
            chosen = fits & (torch.rand(count, generator=draws) < given.erase)
            images = erase(images, _on(images.device, drawn * chosen))
        if given.cutout:
            rows = torch.randint(height, (count,), generator=draws) - given.cutout // 2
            columns = torch.randint(width, (count,), generator=draws) - given.cutout // 2
            sides = torch.full((count,), given.cutout)
            images = erase(images, _on(images.device, torch.stack([rows, columns, sides, sides])))
        return images


def build_augmentation(settings: Augmentation, suited: str, train: ImageSet) -> Augment:
    """Return the augmentation of a training split; `suited` is what the data set asks for under auto.

    Raises ConfigError where settings do not fit the images.
    """
    if not isinstance(settings, Strengths):
        settings = Strengths(crop_padding=0 if suited == "none" else None, flip=suited == "crop_flip")
    height, width, channels = train.shape
    if misfits := settings.misfits(height, width, channels):
        raise ConfigError(misfits)
    if settings.crop_padding is None:
        padding = max(1, min(height, width) // 8) if settings.crop_size is None else 0
        settings = replace(settings, crop_padding=padding)
    return Augment(settings, colour.colour_axes(train) if settings.lighting else None)


def _on(device: torch.device, draws: Tensor) -> Tensor:
    """Return draws on the device of the images, which is not waited for."""
    return draws.to(device, non_blocking=True)
