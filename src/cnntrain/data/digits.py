"""scikit-learn's handwritten digits: 1797 grey images of 8x8, no download (Alpaydin & Kaynak 1998).

They serve for all three kinds of target (D7): which digit it is; what is true of that digit; or by what
angle each image was turned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..augmentation.geometry import resample
from ..seeding import generator
from .images import MemoryImages
from .splits import Splits, stratified_cut

ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "loop": (0, 6, 8, 9),
    "straight": (1, 4, 7),
}
LARGEST_ANGLE = 45.0


def read_digits(target: str = "classes") -> Splits:
    """Return the digits, a fixed fifth of them as the test split, the same for every seed.

    Pixels, stored as 0…16, become 0…255. `target` is "classes"; "attributes": even, prime, with a closed
    loop, of straight lines; or "values": the angle in degrees, counter-clockwise and at most 45 either
    way, by which each image was turned.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8)[..., None].contiguous()
    classes = torch.from_numpy(digits.target).to(torch.int64)
    labels, names = classes, [str(name) for name in digits.target_names]
    if target == "attributes":
        labels, names = attributes_of(classes), list(ATTRIBUTES)
    elif target == "values":
        draws = torch.rand(len(pixels), generator=generator(0, "digits angles"))
        angles = (2 * draws - 1) * LARGEST_ANGLE
        pixels, labels, names = turned(pixels, angles), angles[:, None], ["angle"]
    images = MemoryImages(pixels, labels)
    train, test = stratified_cut(classes, 0.2, seed=0, purpose="digits test")
    return Splits(
        images.subset(train),
        images.subset(torch.empty(0, dtype=torch.int64)),
        images.subset(test),
        names,
    )


def attributes_of(classes: Tensor) -> Tensor:
    """Return what is true of each digit, float 0 or 1 (N, attributes); classes int64 (N,)."""
    return torch.stack(
        [torch.isin(classes, torch.tensor(having)) for having in ATTRIBUTES.values()], 1
    ).float()


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """Return images uint8 (N, H, W, C) turned about their middles by degrees (N,), counter-clockwise."""
    count, height, width, _ = images.shape
    whole = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, count)
    return resample(images, whole, degrees.deg2rad(), (height, width), "zeros")
