"""Small pictures of single images, as texts for a page."""

from __future__ import annotations

import base64
import io

from torch import Tensor

# Larger images are made smaller, so that a page has room for many; smaller ones are enlarged by the browser.
SIDE = 96


def thumbnail(image: Tensor) -> str:
    """Return an image uint8 (H, W, C) as PNG in base64; of other than 3 channels, the first in grey."""
    from PIL import Image

    pixels = image if image.shape[2] == 3 else image[:, :, 0]
    picture = Image.fromarray(pixels.contiguous().cpu().numpy())
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()
