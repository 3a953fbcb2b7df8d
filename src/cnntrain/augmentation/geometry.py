"""Where in an image the training image lies: crops, resized crops, rotations and flips of a batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# How often a box of an area and ratio is drawn before it is given up; as in torchvision.
MAX_DRAWS = 10


def crop(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    """Return each image's window of its own size in the zero-padded image, at its own place.

    images (N, H, W, C); down, right (N,) in 0 … 2·padding.
    """
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    return windows(padded, (images.shape[1], images.shape[2]), down, right)


def windows(images: Tensor, size: tuple[int, int], down: Tensor, right: Tensor) -> Tensor:
    """Return each image's window of `size` pixels at its own place.

    images (N, H, W, C); down (N,) in 0 … H - size[0], right (N,) in 0 … W - size[1]. A row of a window
    is contiguous in the batch, so rows are gathered: index_select copies each as one block of memory,
    seven times as fast as indexing.
    """
    images = images.contiguous()
    count, height, width, channels = images.shape
    rows, length = size[0], size[1] * channels
    first = torch.arange(count, device=images.device) * height + down
    first_of_row = first[:, None] + torch.arange(rows, device=images.device)
    starts = first_of_row * (width * channels) + (right * channels)[:, None]
    every_start = images.as_strided((images.numel() - length + 1, length), (1, 1))
    return every_start.index_select(0, starts.flatten()).view(count, *size, channels)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Return the images with the chosen ones mirrored left-right; images (N, H, W, C), chosen (N,) bool.

    Each is taken as a whole from the batch and its mirror image, three times as fast as torch.where.
    """
    count = len(images)
    both = torch.cat([images, images.flip(2)])
    return both.index_select(0, torch.arange(count, device=images.device) + count * chosen)


def boxes(
    rng: torch.Generator,
    count: int,
    size: tuple[int, int],
    areas: tuple[float, float],
    ratios: tuple[float, float],
    largest: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Return boxes (4, count) of (top, left, height, width) in whole pixels, and whether each fits.

    The fraction of the image's area that a box covers is uniform in `areas`, its width : height
    log-uniform in `ratios`, its position uniform. One larger than `largest` (height, width) is drawn again,
    up to ten times (torchvision's RandomResizedCrop and RandomErasing do it alike).
    """
    area_fraction, position = torch.rand(2, MAX_DRAWS, count, generator=rng)
    area = (areas[0] + (areas[1] - areas[0]) * area_fraction) * size[0] * size[1]
    low, high = math.log(ratios[0]), math.log(ratios[1])
    ratio = torch.exp(low + (high - low) * position)
    heights = (area / ratio).sqrt().round().clamp(min=1)
    widths = (area * ratio).sqrt().round().clamp(min=1)
    fits = (heights <= largest[0]) & (widths <= largest[1])
    first = fits.int().argmax(0, keepdim=True)
    height, width = heights.gather(0, first)[0], widths.gather(0, first)[0]
    down, right = torch.rand(2, count, generator=rng)
    top, left = (down * (size[0] - height + 1)).floor(), (right * (size[1] - width + 1)).floor()
    return torch.stack([top, left, height, width]), fits.any(0)


def resample(images: Tensor, windows: Tensor, angles: Tensor, size: tuple[int, int], outside: str) -> Tensor:
    """Return each image's window, turned about its middle and brought to `size`, bilinearly.

    images uint8 (N, H, W, C); windows (4, N) of (top, left, height, width) in pixels; angles (N,) in
    radians, counter-clockwise. `outside` the image is "zeros", or its "border" pixels repeated.
    """
    count, height, width, channels = images.shape
    top, left, rows, columns = windows
    cos, sin = angles.cos(), angles.sin()
    # From the output's coordinates to the image's, each in -1 … 1 over its own extent.
    to_x = torch.stack([cos * columns, -sin * rows, 2 * left + columns - width], 1) / width
    to_y = torch.stack([sin * columns, cos * rows, 2 * top + rows - height], 1) / height
    grid = F.affine_grid(torch.stack([to_x, to_y], 1), [count, channels, *size], align_corners=False)
    values = images.permute(0, 3, 1, 2).float()
    values = F.grid_sample(values, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return values.round_().to(images.dtype).permute(0, 2, 3, 1).contiguous()
