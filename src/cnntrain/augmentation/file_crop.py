"""Random resized crops of images at their own size, as they lie in files (augmentation.crop_from=file)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..seeding import generator
from .geometry import CROP_RATIOS, draw_boxes

LOG_LOW, LOG_HIGH = map(math.log, CROP_RATIOS)


class CropDraws(NamedTuple):
    """Uniform random numbers of one crop: of the area and the ratio in ten attempts, and of its position."""

    areas: list[float]
    ratios: list[float]
    down: float
    right: float


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

    def draws(self, count: int, seed: int, epoch: int, step: int) -> list[CropDraws]:
        """Return the random numbers of each crop of a batch."""
        shapes, positions = draw_boxes(generator(seed, "file crop", epoch, step), count)
        areas, ratios = shapes.mT.tolist()
        return [CropDraws(*drawn) for drawn in zip(areas, ratios, *positions.tolist(), strict=True)]

    def box(self, draws: CropDraws, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the (top, left, height, width) of the crop of an image, as `geometry.crop_boxes`.

        For one image, whose size may be known only when it is decoded, numbers are faster than tensors.
        """
        for area_fraction, ratio_fraction in zip(draws.areas, draws.ratios, strict=True):
            area = (self.min_area + (1 - self.min_area) * area_fraction) * height * width
            ratio = math.exp(LOG_LOW + (LOG_HIGH - LOG_LOW) * ratio_fraction)
            rows, columns = max(1, round(math.sqrt(area / ratio))), max(1, round(math.sqrt(area * ratio)))
            if rows <= height and columns <= width:
                top, left = int(draws.down * (height - rows + 1)), int(draws.right * (width - columns + 1))
                return top, left, rows, columns
        return 0, 0, height, width

    def __call__(self, image: Tensor, draws: CropDraws) -> Tensor:
        """Return the crop uint8 (size, size, C) of an image uint8 (H, W, C)."""
        height, width, _ = image.shape
        top, left, rows, columns = self.box(draws, height, width)
        window = image[top : top + rows, left : left + columns].permute(2, 0, 1)[None]
        with torch.inference_mode(False):  # what that mode makes cannot be trained on
            resized = F.interpolate(window, (self.size, self.size), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).contiguous()
