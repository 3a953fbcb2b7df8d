"""How much each pixel of an image matters for a result: occlusion and gradient maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# The side of the patch that covers a part of the image, as a fraction of the image's shorter side.
PATCH = 1 / 6


def occlusion_map(follow: Callable[[Tensor], Tensor], pixels: Tensor, batch_size: int) -> Tensor:
    """Return by how much a result falls where a patch covers each pixel, float32 (H, W).

    follow: images uint8 (n, H, W, C) → a result of each (n,). The patch has the mean colour of the image and
    a sixth of its shorter side; it is moved by half of its side, and a pixel's value is the mean over the
    patches that cover it (Zeiler and Fergus 2014).
    """
    height, width, _ = pixels.shape
    side = max(1, round(PATCH * min(height, width)))
    fill = pixels.float().mean((0, 1)).round().to(torch.uint8)
    places = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    before = float(follow(pixels[None])[0])
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    for first in range(0, len(places), batch_size):
        part = places[first : first + batch_size]
        covered = pixels.expand(len(part), *pixels.shape).clone()
        for image, (top, left) in zip(covered, part, strict=True):
            image[top : top + side, left : left + side] = fill
        for result, (top, left) in zip(follow(covered).tolist(), part, strict=True):
            total[top : top + side, left : left + side] += before - result
            count[top : top + side, left : left + side] += 1
    return total / count


def gradient_map(score: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Return the largest absolute gradient of a score over the channels of each pixel, float32 (H, W).

    score: images float32 (1, H, W, C) of 0…255 → a score, before the softmax. In units of the score per grey
    level (Simonyan et al. 2014). Raises ValueError for a score that has no gradient.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = pixels.float()[None].requires_grad_(True)
        value = score(leaf.clone())  # preprocessing may change its input
        if not value.requires_grad:
            raise ValueError("explain: this prediction has no gradient; use method='occlusion'")
        (gradient,) = torch.autograd.grad(value, leaf)
    return gradient[0].abs().amax(2)


def _starts(length: int, side: int) -> list[int]:
    """Return where patches of a side begin along an axis, so that they cover it."""
    return sorted({*range(0, length - side + 1, max(1, side // 2)), length - side})
