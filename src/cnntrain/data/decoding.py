"""An image file of any kind → uint8 pixels of one size."""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose
from torch import Tensor

from ..errors import DataError

MOST_PIXELS = 400_000_000
MOST_NAMED = 10

# Pillow warns of large images, once per process and to whoever called it; `decode` checks every size itself.
Image.MAX_IMAGE_PIXELS = None

# EXIF's orientation → what brings the picture upright.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
ORIENTATION = 0x0112


class DamagedImages(DataError):
    """Image files cannot be read.

    A DataLoader's worker hands an error on as text with its whole traceback; only the message is kept.
    """

    files: list[tuple[str, str]]

    def __init__(self, message: str):
        self.files = []
        super().__init__(message.rpartition(f"{__name__}.DamagedImages: ")[2].rstrip())

    @classmethod
    def of(cls, files: list[tuple[str, str]]) -> DamagedImages:
        """Return the error for (file, reason) pairs: up to ten are named, the others counted."""
        lines = [f"{path}: {why}" for path, why in files[:MOST_NAMED]]
        if len(files) == 1:
            message = f"{lines[0]}; remove or replace it"
        else:
            if len(files) > MOST_NAMED:
                lines.append(f"and {len(files) - MOST_NAMED} more")
            lines.insert(0, f"{len(files)} image files cannot be read; remove or replace them:")
            message = "\n  ".join(lines)
        error = cls(message)
        error.files = files
        return error


def decode(path: str, size: int, resize: str, channels: int) -> Tensor:
    """Return the image of a file as uint8 (size, size, channels); channels is 1 (grey) or 3 (RGB).

    `resize`: "crop" brings the shorter side to `size` and keeps the centre, "squash" ignores the ratio of
    the sides, "pad" brings the longer side to `size` and fills with black; bilinear, with antialiasing.
    EXIF's rotation is applied, transparency laid on white, 16 bits scaled to 8; of an animation it is the
    first frame. Raises almost any error where the file is damaged; see `reason`.
    """
    with Image.open(path) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(
                f"has {image.width}x{image.height} pixels, more than {MOST_PIXELS // 10**6} million"
            )
        image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
        image.load()
        turn = UPRIGHT.get(_orientation(image))
        plain = _eight_bit(image)
    if turn is not None:
        plain = plain.transpose(turn)
    plain = _resized(plain, size, resize)
    wanted = "L" if channels == 1 else "RGB"
    if plain.mode != wanted:
        plain = plain.convert(wanted)
    return torch.from_numpy(np.array(plain).reshape(size, size, channels))


def reason(path: str, error: Exception) -> str:
    """Return in words why `decode` failed."""
    if isinstance(error, UnidentifiedImageError):
        return "is empty" if os.path.getsize(path) == 0 else "is not an image of a known format"
    if isinstance(error, OSError) and error.strerror is not None:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    return f"cannot be decoded ({str(error) or type(error).__name__})"


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation; a damaged EXIF block leaves the picture as it is."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the loaded image as L or RGB, its values 0…255."""
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in ("L", "RGB"):
        return image.convert("RGB")
    return image.copy()


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Return L of an image of 16 bits, which Pillow gives as I;16 or, of some formats, as I."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels have 32 bits; save it with 8 or 16")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _resized(image: Image.Image, size: int, resize: str) -> Image.Image:
    width, height = image.size
    if resize == "squash":
        return image.resize((size, size), Resampling.BILINEAR)
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), Resampling.BILINEAR, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Resampling.BILINEAR)
    padded = Image.new(image.mode, (size, size))
    padded.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
    return padded
