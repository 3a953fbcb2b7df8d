"""Color transforms with one factor per image: images float (N, H, W, C) of 0…255, factors (N,).

Formulas and ranges are those of torchvision's ColorJitter, without intermediate rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Weights of red, green and blue in the luma, the grey value of a color (ITU-R BT.601).
LUMA = (0.2989, 0.587, 0.114)


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Return the images times their factors: factor 0 is black, 1 the image."""
    return (images * _per_image(factors)).clamp_(0, 255)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Return the images blended with their mean grey value: factor 0 is that value, 1 the image."""
    return _blend(grey(images).mean((1, 2), keepdim=True), images, factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Return color images blended with their grey versions: factor 0 is grey, 1 the image."""
    return _blend(grey(images), images, factors)


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Return color images with their hues shifted by a fraction of the color circle, -½ … ½.

    In HSV, a channel is value - value·saturation·t, where t depends only on the hue: 0 in the third of the
    circle around the channel's color, 1 in the opposite third, linear in between.
    """
    high, low = images.amax(-1), images.amin(-1)
    chroma = high - low
    red, green, blue = images.unbind(-1)
    divisor = torch.where(chroma == 0, 1, chroma)
    sixths = torch.where(
        red == high,
        (green - blue) / divisor,
        torch.where(green == high, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * shifts[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        position = (sixths + offset).remainder(6)
        channels.append(high - chroma * torch.minimum(position, 4 - position).clamp(0, 1))
    return torch.stack(channels, -1)


def grey(images: Tensor) -> Tensor:
    """Return images of one channel (N, H, W, 1): the luma of color images, grey images unchanged."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = images.unsqueeze(-2).unbind(-1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def principal_axes(train: Iterable[Tensor], scale: str) -> Tensor:
    """Return the principal axes of a split's colors in columns (3, 3), scaled for values 0…255.

    train: all images of the split, in chunks uint8 (n, H, W, 3). scale: "eigenvalues" of the covariance, as
    AlexNet multiplies them by Gaussian factors and adds them to all pixels of an image (Krizhevsky et al.
    2012, section 4.1), of values in [0, 1], as the effect depends on the unit, which the paper does not
    state; or "deviations", their square roots, which give equal images in any unit.
    """
    values, vectors = torch.linalg.eigh(color_covariance(train))
    values = values.clamp(min=0)
    axes: Tensor = vectors * (values / 255 if scale == "eigenvalues" else values.sqrt())
    return axes.float()


def color_covariance(train: Iterable[Tensor]) -> Tensor:
    """Return the covariance (3, 3) in float64 of all pixels of images uint8 (n, H, W, 3), of values 0…255.

    Sums are of integers, so the result depends neither on the number of threads nor on the order of images.
    """
    total = torch.zeros(3, dtype=torch.int64)
    products = torch.zeros(3, 3, dtype=torch.int64)
    pixels = 0
    for images in train:
        # Exact in float64: the sums over one chunk stay below 2⁵³.
        values = images.reshape(-1, 3).double()
        pixels += len(values)
        total += values.sum(0).long()
        products += (values.T @ values).long()
    mean = total.double() / pixels
    return products.double() / pixels - torch.outer(mean, mean)


def _blend(start: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    return torch.lerp(start.expand_as(images), images, _per_image(factors)).clamp_(0, 255)


def _per_image(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]
