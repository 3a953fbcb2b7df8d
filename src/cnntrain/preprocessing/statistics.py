"""Statistics of a training split, each from one pass over images that need not fit into memory as floats.

Pixels are integers of 0…255, so sums over them are exact and depend neither on the number of threads nor on
the order of the images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.image_set import ImageSet

# Products of pixels minus 128 are at most 2¹⁴; sums of 2¹⁰ of them are integers up to 2²⁴, which float32
# represents exactly. The fast float32 matrix product is therefore exact for chunks of this size.
CHUNK = 1024
PIXEL_OFFSET = 128
# Images with a smaller deviation count as constant. One of half a million values off by 1/255 gives more.
MIN_DEVIATION = 5e-6


def mean_and_deviation(train: ImageSet) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each pixel, (H, W, C) in float64, of values 0…255."""
    total = torch.zeros(train.shape, dtype=torch.int64)
    squares = torch.zeros(train.shape, dtype=torch.int64)
    for images in train.chunks(CHUNK):
        integers = images.to(torch.int32)
        total += integers.sum(0, dtype=torch.int64)
        squares += (integers * integers).sum(0, dtype=torch.int64)
    mean = total.double() / len(train)
    variance = squares.double() / len(train) - mean**2
    return mean, variance.clamp(min=0).sqrt()


def extremes(train: ImageSet) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each pixel, (H, W, C) in float64, of values 0…255."""
    low = torch.full(train.shape, 255, dtype=torch.uint8)
    high = torch.zeros(train.shape, dtype=torch.uint8)
    for images in train.chunks(CHUNK):
        low = torch.minimum(low, images.amin(0))
        high = torch.maximum(high, images.amax(0))
    return low.double(), high.double()


def mean_and_covariance(train: ImageSet, contrast_normalized: bool) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and covariance (D, D) in float64 of images as vectors of D = H·W·C values of 0…1.

    The covariance is the mean of products (divided by N). Contrast-normalized images are not integers: each
    chunk's products are rounded to float32 before they are summed in float64.
    """
    length = train.shape[0] * train.shape[1] * train.shape[2]
    total = torch.zeros(length, dtype=torch.float64)
    products = torch.zeros(length, length, dtype=torch.float64)
    for images in train.chunks(CHUNK):
        if contrast_normalized:
            values = normalized_contrast(images)
        else:
            values = images.flatten(1).float().sub_(PIXEL_OFFSET)
        total += values.sum(0, dtype=torch.float64)
        products += values.T @ values
    mean = total / len(train)
    covariance = products.div_(len(train)).addr_(mean, mean, alpha=-1)
    if contrast_normalized:
        return mean, covariance
    return (mean + PIXEL_OFFSET) / 255, covariance.div_(255**2)


def normalized_contrast(images: Tensor) -> Tensor:
    """Return images (N, H, W, C) as vectors (N, D), each minus its mean, divided by its deviation (GCN).

    GCN is global contrast normalization. Constant images become 0.
    """
    values = images.flatten(1).float() * (1 / 255)
    values -= values.mean(1, keepdim=True)
    deviation = values.square().mean(1, keepdim=True).sqrt_()
    return values.div_(deviation.masked_fill_(deviation < MIN_DEVIATION, 1.0))


def eigenvectors(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return variances (D,), the largest first, and their directions as rows (D, D), both in float64.

    The sign of each direction is chosen such that its entry of largest magnitude is positive.
    """
    variances, columns = torch.linalg.eigh(covariance)
    directions = columns.T.flip(0)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return variances.flip(0).clamp_(min=0), directions * largest.sign()
