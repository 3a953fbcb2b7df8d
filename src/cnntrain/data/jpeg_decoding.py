"""JPEG files decoded by simplejpeg where it is installed: the pixels that Pillow decodes, in less time.

Both are libjpeg-turbo; Pillow stores four bytes a pixel and copies them twice. Extra `jpeg`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg
except ImportError:  # an extra
    simplejpeg = None

# Pillow's modes of JPEG files that are decoded so, and their names there.
COLORSPACES = {"RGB": "RGB", "L": "GRAY"}
# libjpeg-turbo reduces images by powers of two up to this while it decodes them.
LARGEST_FACTOR = 8
# Smaller images may be reduced by several factors to one size.
LEAST_SIDE = 64


def decode_jpeg(content: bytes, header: Image.Image, factor: int) -> NDArray[np.uint8] | None:
    """Return the pixels (H, W, C) of a JPEG file at 1/factor of its size; None to leave it to Pillow.

    header: the image as Pillow opened it. What is damaged is left to Pillow, too, which says why.
    """
    colorspace = COLORSPACES.get(header.mode)
    if simplejpeg is None or header.format != "JPEG" or colorspace is None or min(header.size) < LEAST_SIDE:
        return None
    width, height = (-(-side // factor) for side in header.size)
    options: dict[str, Any] = {"fastdct": False, "fastupsample": False}
    if factor > 1:
        options |= {"min_height": height, "min_width": width}
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colorspace, **options)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (height, width) else None
