"""Images at their own aspect ratio, whose pixels are read at 1, 1/2, 1/4, … of their size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image
from PIL.Image import Transpose
from torch import Tensor

from .image_decoding import check_size, eight_bit, pixels_of, transposition_of
from .jpeg_decoding import LARGEST_FACTOR, decode_jpeg

# Transpositions that exchange height and width.
TURNED = (Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90)


@dataclass(frozen=True)
class ReducedImage:
    """An image in memory: its pixels uint8 (H, W, C) by the powers of two that its sides are divided by."""

    height: int
    width: int
    pixels: dict[int, Tensor]

    @property
    def nbytes(self) -> int:
        """The bytes of all pixels."""
        return sum(pixels.nbytes for pixels in self.pixels.values())

    def reduced(self, factor: int) -> Tensor:
        """Return the pixels at 1/factor of the size."""
        return self.pixels[factor]


class EncodedImage:
    """An image as it lies in a file, of which only the header was read: upright, channels 1 (grey) or 3.

    Raises ValueError for too many pixels, and what Pillow raises for a damaged file.
    """

    def __init__(self, content: bytes, channels: int):
        self._content = content
        self._channels = channels
        self._image: Image.Image | None = self._open()
        self._size = self._image.size
        self._transposition = transposition_of(self._image)
        is_turned = self._transposition in TURNED
        self.height, self.width = self._size if is_turned else self._size[::-1]

    def reduced(self, factor: int) -> Tensor:
        """Return the pixels at 1/factor of the size, rounded up: uint8 (H, W, C).

        factor: a power of two. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size; others are decoded and
        replaced by the means of squares of pixels.
        """
        image = self._image or self._open()
        self._image = None  # it is decoded once
        by_decoder = min(factor, LARGEST_FACTOR)
        pixels = decode_jpeg(self._content, image, by_decoder)
        if pixels is not None:
            if factor == by_decoder and self._transposition is None and pixels.shape[2] == self._channels:
                return torch.from_numpy(pixels)
            image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        else:
            width, height = self._size
            image.draft(None, (max(1, width // by_decoder), max(1, height // by_decoder)))
            image = eight_bit(image)
        if self._transposition is not None:
            image = image.transpose(self._transposition)
        remaining = factor // by_decoder if self._is_reduced(image, by_decoder) else factor
        return pixels_of(image.reduce(remaining) if remaining > 1 else image, self._channels)

    def with_factors(self, factors: Iterable[int]) -> ReducedImage:
        """Return the image in memory, reduced by these factors."""
        return ReducedImage(self.height, self.width, {factor: self.reduced(factor) for factor in factors})

    def _open(self) -> Image.Image:
        image = Image.open(BytesIO(self._content))
        check_size(image)
        return image

    def _is_reduced(self, image: Image.Image, factor: int) -> bool:
        return image.size == (-(-self.width // factor), -(-self.height // factor))


def unreduced(height: int, width: int) -> list[int]:
    """Return the factors of an image that is used as it is."""
    return [1]
