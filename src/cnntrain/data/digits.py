"""1797 handwritten digits, grey images of 8x8, stored in a file of this package (no download).

They are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI
Machine Learning Repository, https://doi.org/10.24432/C50P49), licensed under CC BY 4.0.

They support all three kinds of target (D7): the digit; attributes of the digit; or the angle by which each
image was rotated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..augmentation.geometry import resample
from ..seeding import generator
from .image_set import MemoryImages
from .splits import Splits, stratified_cut

ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "loop": (0, 6, 8, 9),
    "straight": (1, 4, 7),
}
MAX_ANGLE = 45.0
FILE = Path(__file__).with_name("digits.npz")


def read_digits(target: str = "classes") -> Splits:
    """Return the digits, a fixed fifth of them as the test split, the same for every seed.

    Pixels, stored as 0…16, are scaled to 0…255. `target`: "classes"; "attributes": even, prime, with a
    closed loop, of straight lines; or "values": the angle by which each image was rotated, in -45…45 degrees,
    counter-clockwise.
    """
    with np.load(FILE) as stored:
        images, digits = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
    pixels = (images * (255 / 16)).round().to(torch.uint8)[..., None].contiguous()
    classes = digits.to(torch.int64)
    labels, names = classes, [str(digit) for digit in range(10)]
    if target == "attributes":
        labels, names = attributes_of(classes), list(ATTRIBUTES)
    elif target == "values":
        uniform = torch.rand(len(pixels), generator=generator(0, "digits angles"))
        angles = (2 * uniform - 1) * MAX_ANGLE
        pixels, labels, names = rotated(pixels, angles), angles[:, None], ["angle"]
    digits_set = MemoryImages(pixels, labels)
    train, test = stratified_cut(classes, 0.2, seed=0, purpose="digits test")
    return Splits(
        digits_set.subset(train),
        digits_set.subset(torch.empty(0, dtype=torch.int64)),
        digits_set.subset(test),
        names,
    )


def attributes_of(classes: Tensor) -> Tensor:
    """Return the attributes of each digit, float 0 or 1 (N, attributes); classes int64 (N,)."""
    return torch.stack(
        [torch.isin(classes, torch.tensor(members)) for members in ATTRIBUTES.values()], 1
    ).float()


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Return images uint8 (N, H, W, C) rotated about their centers by degrees (N,), counter-clockwise."""
    count, height, width, _ = images.shape
    windows = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, count)
    return resample(images, windows, degrees.deg2rad(), (height, width))
