"""Geometric transforms of a batch: crops, resized crops, rotations and flips."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Number of attempts to draw a box that fits, as in torchvision.
MAX_ATTEMPTS = 10
# Width : height of a random resized crop.
CROP_RATIOS = (3 / 4, 4 / 3)


def crop(images: Tensor, padding: int, down: Tensor, right: Tensor, fill: str = "zeros") -> Tensor:
    """Return a crop of each padded image at an individual position, of the image's size.

    images (N, H, W, C); down, right (N,) in 0 … 2·padding. fill: "zeros", or "reflect", which mirrors the
    image at its border pixels, of which it needs more than `padding`.
    """
    if fill == "reflect":
        padded = reflected(images, padding)
    else:
        padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    return windows(padded, (images.shape[1], images.shape[2]), down, right)


def reflected(images: Tensor, padding: int) -> Tensor:
    """Return images (N, H, W, C) padded by their mirror images; torch's reflection pads no integers."""
    _, height, width, _ = images.shape
    rows, columns = (_reflected_indices(side, padding, images.device) for side in (height, width))
    return images.index_select(1, rows).index_select(2, columns)


def _reflected_indices(side: int, padding: int, device: torch.device) -> Tensor:
    positions = torch.arange(-padding, side + padding, device=device).abs()
    return positions - 2 * (positions - (side - 1)).clamp(min=0)


def windows(images: Tensor, size: tuple[int, int], down: Tensor, right: Tensor) -> Tensor:
    """Return a window of `size` pixels of each image at an individual position.

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
    rows_at = images.as_strided((images.numel() - length + 1, length), (1, 1))
    return rows_at.index_select(0, starts.flatten()).view(count, *size, channels)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Return the images with the chosen ones flipped horizontally; images (N, H, W, C), chosen (N,) bool.

    Whole images are gathered from the batch and its flipped copy, three times as fast as torch.where.
    """
    count = len(images)
    both = torch.cat([images, images.flip(2)])
    return both.index_select(0, torch.arange(count, device=images.device) + count * chosen)


class BoxDraws(NamedTuple):
    """Uniform random numbers of N boxes: shapes (2, 10, N), of ten attempts each, and positions (2, N)."""

    shapes: Tensor
    positions: Tensor


def draw_boxes(rng: torch.Generator, count: int) -> BoxDraws:
    """Return the random numbers of so many boxes."""
    return BoxDraws(torch.rand(2, MAX_ATTEMPTS, count, generator=rng), torch.rand(2, count, generator=rng))


def boxes(
    draws: BoxDraws,
    size: tuple[int, int],
    areas: tuple[float, float],
    ratios: tuple[float, float],
    largest: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Return boxes (4, N) of (top, left, height, width) in whole pixels, and whether each fits.

    The fraction of the area of an image of `size` (height, width) that a box covers is uniform in `areas`,
    its width : height log-uniform in `ratios`, its position uniform. The first of ten draws that is not
    larger than `largest` (height, width) is used, as in torchvision's RandomResizedCrop and RandomErasing.
    """
    area_fraction, ratio_fraction = draws.shapes
    area = (areas[0] + (areas[1] - areas[0]) * area_fraction) * size[0] * size[1]
    low, high = math.log(ratios[0]), math.log(ratios[1])
    ratio = torch.exp(low + (high - low) * ratio_fraction)
    heights = (area / ratio).sqrt().round().clamp(min=1)
    widths = (area * ratio).sqrt().round().clamp(min=1)
    fits = (heights <= largest[0]) & (widths <= largest[1])
    first = fits.int().argmax(0, keepdim=True)
    height, width = heights.gather(0, first)[0], widths.gather(0, first)[0]
    down, right = draws.positions
    top, left = (down * (size[0] - height + 1)).floor(), (right * (size[1] - width + 1)).floor()
    return torch.stack([top, left, height, width]), fits.any(0)


def crop_boxes(draws: BoxDraws, size: tuple[int, int], min_area: float) -> Tensor:
    """Return the boxes (4, N) of random resized crops of images of `size` (height, width).

    Each covers a fraction of the area in [min_area, 1]; where no attempt fits, it is the whole image.
    """
    drawn, fits = boxes(draws, size, (min_area, 1.0), CROP_RATIOS, size)
    whole = torch.tensor([0.0, 0.0, *size])[:, None]
    return torch.where(fits, drawn, whole)


def resize_windows(images: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return each image's window resized to `size`: bilinear, antialiased where it shrinks.

    images uint8 (N, H, W, C); windows (4, N) of (top, left, height, width) in whole pixels. Equal to
    torchvision's resized_crop with antialias=True. Rows, then columns, are weighted means of the window's,
    which are matrix products: the weights of every image are a matrix of its own.
    """
    top, left, rows, columns = windows
    vertical = _resize_weights(top, rows, images.shape[1], size[0])
    horizontal = _resize_weights(left, columns, images.shape[2], size[1])
    count, height, width, channels = images.shape
    values = torch.bmm(vertical, images.view(count, height, width * channels).float())
    values = values.view(count, size[0], width, channels).transpose(1, 2).reshape(count, width, -1)
    values = torch.bmm(horizontal, values).view(count, size[1], size[0], channels)
    return values.round_().clamp_(0, 255).to(images.dtype).transpose(1, 2).contiguous()


def _resize_weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """Return the weights (N, size, total) of an axis's pixels in each pixel of its resized window.

    A triangle around the centre of the resized pixel, as wide as two of them, or two original pixels if those
    are larger; without the pixels outside the window.
    """
    scale = length / size
    centers = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * scale[:, None]
    pixels = torch.arange(total, device=start.device) + 0.5
    distance = (pixels - centers[:, :, None]).abs() / scale.clamp(min=1)[:, None, None]
    inside = (pixels > start[:, None]) & (pixels < (start + length)[:, None])
    weights = (1 - distance).clamp(min=0) * inside[:, None, :]
    return weights / weights.sum(2, keepdim=True)


def resample(
    images: Tensor, windows: Tensor, angles: Tensor, size: tuple[int, int], finer: int = 1
) -> Tensor:
    """Return each image's window, rotated about its center and resampled to `size`, bilinearly.

    images uint8 (N, H, W, C); windows (4, N) of (top, left, height, width) in pixels; angles (N,) in
    radians, counter-clockwise. Pixels beyond the image are black. finer: points per side that are sampled for
    each pixel of the result, their mean, so that windows larger than `size` do not alias.
    """
    count, height, width, channels = images.shape
    top, left, rows, columns = windows
    cos, sin = angles.cos(), angles.sin()
    # Map from output to image coordinates, both normalized to -1 … 1.
    to_x = torch.stack([cos * columns, -sin * rows, 2 * left + columns - width], 1) / width
    to_y = torch.stack([sin * columns, cos * rows, 2 * top + rows - height], 1) / height
    grid = F.affine_grid(
        torch.stack([to_x, to_y], 1), [count, channels, finer * size[0], finer * size[1]], align_corners=False
    )
    values = images.permute(0, 3, 1, 2).float()
    values = F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    values = F.avg_pool2d(values, finer) if finer > 1 else values
    return values.round_().to(images.dtype).permute(0, 2, 3, 1).contiguous()
