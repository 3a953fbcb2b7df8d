"""Random resized crops of images at their own size, as they lie in files (augmentation.crop_from=file)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


class Reducible(Protocol):
    """An image whose pixels are read at a fraction of its size, rounded up."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def reduced(self, factor: int) -> Tensor:
        """Return the pixels uint8 (H, W, C) at 1/factor of the size; factor: a power of two."""


@dataclass(frozen=True)
class FileCrop:
    """A random crop of at least `min_area` of an image of any size, resized to size x size pixels.

    As torchvision's RandomResizedCrop, with aspect ratios from 3:4 to 4:3, and antialiased.
    """

    min_area: float
    size: int

    def factor(self, side: int) -> int:
        """Return the power of two by which an image is reduced for a crop of this shorter side in pixels.

        The largest with which the crop need not be enlarged.
        """
        return 1 << max(0, (side // self.size).bit_length() - 1)

    def factors(self, height: int, width: int) -> list[int]:
        """Return the factors by which an image of this size is reduced for any of its crops."""
        whole = min(height, width)
        least = math.floor(math.sqrt(self.min_area * height * width * CROP_RATIOS[0]) - 0.5)
        found = [self.factor(min(least, whole))]
        while found[-1] < self.factor(whole):
            found.append(2 * found[-1])
        return found

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

    def __call__(self, image: Reducible, draws: CropDraws) -> Tensor:
        """Return the crop uint8 (size, size, C) of an image.

        Its box is rounded to the pixels of the image as reduced.
        """
        top, left, rows, columns = self.box(draws, image.height, image.width)
        factor = self.factor(min(rows, columns))
        pixels = image.reduced(factor)
        down, across = _rounded(top, rows, factor), _rounded(left, columns, factor)
        # Channels last, of the batch as a whole: torch resizes these as bytes, several at a time.
        window = pixels[None, down, across].permute(0, 3, 1, 2)
        with torch.inference_mode(False):  # what that mode makes cannot be trained on
            resized = F.interpolate(window, (self.size, self.size), mode="bilinear", antialias=True)
        return resized.permute(0, 2, 3, 1)[0].contiguous()


def _rounded(start: int, length: int, factor: int) -> slice:
    """Return an interval of pixels, divided by a factor, with both ends rounded."""
    return slice((2 * start + factor) // (2 * factor), (2 * (start + length) + factor) // (2 * factor))
