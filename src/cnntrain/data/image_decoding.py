"""Decoding of image files of any format to uint8 pixels of one size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose
from torch import Tensor

from ..errors import DataError
from .tar_member import TarMember, check_regular, size_of, to_open

# Images in which unused bits are looked for.
SAMPLE = 20
MAX_PIXELS = 400_000_000
MAX_NAMED = 10
# The part of all images that data.on_bad=skip may leave out.
MAX_UNREADABLE = 0.01

# Pillow warns about large images only once per process; `decode` checks the size of every image instead.
Image.MAX_IMAGE_PIXELS = None

# EXIF orientation → the transposition that makes the image upright.
TRANSPOSITIONS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
ORIENTATION_TAG = 0x0112


class DamagedImages(DataError):
    """Error for image files that cannot be read.

    A DataLoader re-raises a worker's error with its traceback as the message; only the original message is
    kept.
    """

    files: list[tuple[str, str]]

    def __init__(self, message: str):
        self.files = []
        super().__init__(message.rpartition(f"{__name__}.DamagedImages: ")[2].rstrip())

    @classmethod
    def of(cls, files: list[tuple[str, str]], may_skip: bool = True) -> DamagedImages:
        """Return the error for (file, reason) pairs, which names up to ten files and counts the rest.

        may_skip: whether they may be few enough to be left out.
        """
        lines = [f"{path}: {cause}" for path, cause in files[:MAX_NAMED]]
        skip = f", or write data.on_bad=skip, which leaves out up to {MAX_UNREADABLE:.0%}" if may_skip else ""
        if len(files) == 1:
            message = f"{lines[0]}; remove or replace it{skip}"
        else:
            if len(files) > MAX_NAMED:
                lines.append(f"and {len(files) - MAX_NAMED} more")
            lines.insert(0, f"{len(files)} image files cannot be read; remove or replace them{skip}:")
            message = "\n  ".join(lines)
        error = cls(message)
        error.files = files
        return error


def decode(path: str | BytesIO, shape: tuple[int, int, int], resize: str) -> Tensor:
    """Return the image of a file as uint8 (height, width, channels), of this shape; see `fitted`.

    path: that of the file, or its content. Only the first frame of an animation is decoded. Raises almost any
    exception if the file is damaged; see `reason`.
    """
    height, width, channels = shape
    # Rotated by 90°, it is large enough too.
    return pixels_of(_resized(_read(path, 2 * max(height, width)), width, height, resize), channels)


def fitted(image: Image.Image, shape: tuple[int, int, int], resize: str) -> Tensor:
    """Return an image of Pillow as uint8 (height, width, channels); channels are 1 (grey) or 3 (RGB).

    `resize`: "crop" scales the image until it covers height and width and keeps the center, "squash" ignores
    the aspect ratio, "pad" scales it until it fits and fills with black; bilinear, with antialiasing. The
    EXIF rotation is applied, transparency is composited on white, 16 bits are scaled to 8. Raises ValueError
    for pixels of an unknown range or too many of them, and what Pillow raises for a damaged file.
    """
    height, width, channels = shape
    return pixels_of(_resized(_upright(image), width, height, resize), channels)


def unused_bits(paths: list[str]) -> str | None:
    """Return a notice if 16-bit images among a sample use a small part of their range, None otherwise.

    Cameras and scanners store 10 or 12 bits so; scaled to 8 bits, few grey levels are left.
    """
    largest = 0
    for path in paths[:: max(1, len(paths) // SAMPLE)]:
        try:
            with Image.open(to_open(path)) as image:
                if image.mode.startswith("I"):
                    largest = max(largest, int(np.asarray(image).max()))
        except Exception:
            continue  # what cannot be read is said when it is
    if not 0 < largest < 65536 // 8:
        return None
    return (
        f"16-bit images with values up to {largest} of 65535 keep {largest // 257 + 1} grey levels of 256; "
        "multiply their values to use the range"
    )


@contextmanager
def naming_damaged(path: str) -> Iterator[str]:
    """Yield the path of a file to decode; raises DamagedImages, which names it, where that fails."""
    try:
        yield path
    except Exception as error:  # Pillow raises almost any exception for a damaged file
        raise DamagedImages.of([(path, reason(path, error))]) from error


def reason(path: str | BytesIO, error: Exception) -> str:
    """Return why a file could not be decoded, as text for an error message."""
    if isinstance(error, UnidentifiedImageError):
        size = path.getbuffer().nbytes if isinstance(path, BytesIO) else size_of(path)
        return "is empty" if size == 0 else "is not an image of a known format"
    if isinstance(error, OSError) and error.strerror is not None:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    return f"cannot be decoded ({str(error) or type(error).__name__})"


def _read(path: str | BytesIO, least_side: int) -> Image.Image:
    """Return the image of a file upright, in mode L or RGB.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where no side becomes shorter than `least_side`.
    """
    if isinstance(path, str) and not isinstance(path, TarMember):
        check_regular(path)
    with Image.open(to_open(path)) as image:
        check_size(image)
        image.draft(None, (least_side, least_side))
        return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """Return an opened image in mode L or RGB, rotated as its EXIF block says."""
    check_size(image)
    image.load()
    transposition = transposition_of(image)
    converted = eight_bit(image)
    return converted if transposition is None else converted.transpose(transposition)


def pixels_of(image: Image.Image, channels: int) -> Tensor:
    """Return an image in mode L or RGB as uint8 (height, width, channels)."""
    mode = "L" if channels == 1 else "RGB"
    converted = image if image.mode == mode else image.convert(mode)
    return torch.from_numpy(np.array(converted).reshape(image.height, image.width, channels))


def check_size(image: Image.Image) -> None:
    """Raise ValueError for an image of more pixels than are decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} million")


def transposition_of(image: Image.Image) -> Transpose | None:
    """Return what makes an image upright by its EXIF block; None if it is, or the block is damaged."""
    try:
        return TRANSPOSITIONS.get(int(image.getexif().get(ORIENTATION_TAG, 1)))
    except Exception:
        return None


def eight_bit(image: Image.Image) -> Image.Image:
    """Return an opened image in mode L or RGB, with values 0…255."""
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
    image.load()
    return image


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Return a 16-bit image in mode L; Pillow loads it in mode I;16 or, for some formats, I."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels have 32 bits; save it with 8 or 16")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _resized(image: Image.Image, width: int, height: int, resize: str) -> Image.Image:
    if resize == "squash":
        return image.resize((width, height), Resampling.BILINEAR)
    if resize == "crop":
        part = (
            min(image.width, image.height * width / height),
            min(image.height, image.width * height / width),
        )
        left, top = (image.width - part[0]) / 2, (image.height - part[1]) / 2
        box = (left, top, left + part[0], top + part[1])
        return image.resize((width, height), Resampling.BILINEAR, box=box)
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    inner = image.resize(size, Resampling.BILINEAR)
    padded = Image.new(image.mode, (width, height))
    padded.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return padded
