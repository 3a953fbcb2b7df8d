"""Variation of training images: a whole batch at a time, on the device that holds it.

The draws of a batch are made before the batch is touched and depend on (seed, epoch, step) alone, so
any batch can be made again without the ones before it (design decision 3). The order is fixed: crop,
then flip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config.augmentation import Augmentation, CropFlip
from ..seeding import generator


@dataclass(frozen=True)
class Augment:
    """Random crops of the padded image and left-right flips; 0 padding and flip=False do nothing (D6)."""

    crop_padding: int
    flip: bool

    def __call__(self, images: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """Return varied images of the same shape; images (N, H, W, C) of any type, on any device."""
        if not self.crop_padding and not self.flip:
            return images
        count = len(images)
        draws = generator(seed, "augmentation", epoch, step)
        if self.crop_padding:
            down, right = torch.randint(2 * self.crop_padding + 1, (2, count), generator=draws)
            images = crop(images, self.crop_padding, down.to(images.device), right.to(images.device))
        if self.flip:
            images = flip(images, (torch.rand(count, generator=draws) < 0.5).to(images.device))
        return images


def crop(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    """Return each image's window of its own size in the zero-padded image, at its own place.

    images (N, H, W, C); down, right (N,) in 0 … 2·padding. A row of the window is contiguous in the
    padded batch, so the windows are gathered row by row and not pixel by pixel.
    """
    count, height, width, channels = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    row = (width + 2 * padding) * channels
    first = torch.arange(count, device=images.device) * (height + 2 * padding) + down
    starts = (first[:, None] + torch.arange(height, device=images.device)) * row + (right * channels)[:, None]
    length = width * channels
    every_start = padded.as_strided((padded.numel() - length + 1, length), (1, 1))
    return every_start[starts.flatten()].view(count, height, width, channels)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Return the images with the chosen ones mirrored left-right; images (N, H, W, C), chosen (N,) bool."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(2), images)


def build_augmentation(settings: Augmentation, suited: str, height: int, width: int) -> Augment:
    """Return the augmentation for images of this size; `suited` is what the data set asks for under auto."""
    if not isinstance(settings, CropFlip):
        settings = CropFlip(
            crop_padding=0 if suited == "none" else None,
            flip=suited == "crop_flip",
        )
    padding = settings.crop_padding
    return Augment(max(1, min(height, width) // 8) if padding is None else padding, settings.flip)
