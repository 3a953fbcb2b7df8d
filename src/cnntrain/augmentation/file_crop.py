"""Random resized crops of images at their own size, as they lie in files (augmentation.crop_from=file)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..seeding import generator
from .geometry import BoxDraws, crop_boxes, draw_boxes


@dataclass(frozen=True)
class FileCrop:
    """A random crop of at least `min_area` of an image of any size, resized to size x size pixels.

    As torchvision's RandomResizedCrop, with aspect ratios from 3:4 to 4:3, and antialiased.
    """

    min_area: float
    size: int

    @property
    def least_side(self) -> int:
        """Pixels of an image's shorter side with which a square crop of any area need not be enlarged."""
        return math.ceil(self.size / math.sqrt(self.min_area))

    def draws(self, count: int, seed: int, epoch: int, step: int) -> list[BoxDraws]:
        """Return the random numbers of each crop of a batch."""
        shapes, positions = draw_boxes(generator(seed, "file crop", epoch, step), count)
        return [BoxDraws(shapes[..., i : i + 1], positions[..., i : i + 1]) for i in range(count)]

    def __call__(self, image: Tensor, draws: BoxDraws) -> Tensor:
        """Return the crop uint8 (size, size, C) of an image uint8 (H, W, C)."""
        height, width, _ = image.shape
        box = crop_boxes(draws, (height, width), self.min_area)
        top, left, rows, columns = box[:, 0].int().tolist()
        window = image[top : top + rows, left : left + columns].permute(2, 0, 1)[None]
        with torch.inference_mode(False):  # what that mode makes cannot be trained on
            resized = F.interpolate(window, (self.size, self.size), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).contiguous()
