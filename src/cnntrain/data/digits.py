"""scikit-learn's handwritten digits: 1797 grey images of 8x8, no download (Alpaydin & Kaynak 1998)."""

from __future__ import annotations

import torch

from .images import MemoryImages
from .splits import Splits, stratified_cut


def read_digits() -> Splits:
    """Return the digits, a fixed fifth of them as the test split, the same for every seed.

    Pixels, stored as 0…16, become 0…255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8)
    images = MemoryImages(pixels[..., None].contiguous(), torch.from_numpy(digits.target).to(torch.int64))
    train, test = stratified_cut(images.labels, 0.2, seed=0, purpose="digits test")
    return Splits(
        images.subset(train),
        images.subset(torch.empty(0, dtype=torch.int64)),
        images.subset(test),
        [str(name) for name in digits.target_names],
    )
