"""Black boxes in the images of a batch: random erasing and cutout."""

from __future__ import annotations

import torch
from torch import Tensor

# Width : height of an erased box (Zhong et al. 2017).
ERASE_RATIOS = (0.3, 1 / 0.3)


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Return images (N, H, W, C) with one box of zeros each; boxes (4, N): (top, left, height, width).

    Boxes may reach beyond the border, and may be empty.
    """
    top, left, height, width = boxes[:, :, None]
    rows = torch.arange(images.shape[1], device=images.device)
    columns = torch.arange(images.shape[2], device=images.device)
    inside_rows = (rows >= top) & (rows < top + height)
    inside_columns = (columns >= left) & (columns < left + width)
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    return images.masked_fill(inside[..., None], 0)
