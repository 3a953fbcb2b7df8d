"""What is measured of each image of a data set, in one pass that keeps no image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ...data.image_decoding import decode, reason
from ...data.image_set import FileImages, ImageSet, MemoryImages
from ...data.splits import Splits
from ...data.tar_member import content_of, to_open
from .copies import hash_of
from .perceptual_hash import Hashes, perceptual_hash

# Files are decoded to squares of this side: a hash needs 32 pixels, and colours no more.
SIDE = 64
CHUNK = 1000
# An image whose values, reduced to SIDE, differ by at most this has a single colour: JPEG and the noise of a
# sensor differ by less, once averaged, than any picture.
SINGLE_COLOUR_SPAN = 8


@dataclass(frozen=True)
class StoredForm:
    """How an image lies in its file: pixels as stored, Pillow's mode, and the format, such as JPEG."""

    width: int
    height: int
    mode: str
    format: str


@dataclass(frozen=True)
class ImageRecords:
    """Measurements of the N images of one split; those of an image that cannot be read are 0.

    contents: a hash of each image's content, None where it cannot be read. hashes: perceptual ones. means
    (N, C): of each channel, of 0…255. deviations (N,): of all values. spans (N,): largest less smallest value
    of a channel. stored: the form of each file, None for images that have none. unreadable: why, by index.
    """

    contents: list[bytes | None]
    hashes: Hashes
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    spans: NDArray[np.float32]
    stored: list[StoredForm | None] | None
    unreadable: dict[int, str]

    def is_read(self) -> NDArray[np.bool_]:
        """Return whether each image can be read."""
        return np.array([content is not None for content in self.contents], bool)

    def is_single_coloured(self) -> NDArray[np.bool_]:
        """Return whether each image can be read and has a single colour."""
        return self.is_read() & (self.spans <= (0 if self.stored is None else SINGLE_COLOUR_SPAN))

    def is_hashed(self) -> NDArray[np.bool_]:
        """Return whether each image has a perceptual hash that means something."""
        return self.is_read() & ~self.is_single_coloured()


@dataclass(frozen=True)
class _Measured:
    content: bytes
    hash: np.uint64
    mean: NDArray[np.float32]
    deviation: float
    span: float
    stored: StoredForm | None


def measure(splits: Splits) -> dict[str, ImageRecords]:
    """Return the records of all images by split, with a progress bar if standard error is a terminal."""
    parts = splits.parts()
    with tqdm(
        total=sum(map(len, parts.values())), desc="reading images", unit="image", leave=False, disable=None
    ) as bar:
        return {split: _records(part, bar.update) for split, part in parts.items()}


def _records(images: ImageSet, advance: Callable[[int], object]) -> ImageRecords:
    count, channels = len(images), images.shape[2]
    of_files = isinstance(images, FileImages)
    records = ImageRecords(
        contents=[None] * count,
        hashes=np.zeros(count, np.uint64),
        means=np.zeros((count, channels), np.float32),
        deviations=np.zeros(count, np.float32),
        spans=np.zeros(count, np.float32),
        stored=[None] * count if of_files else None,
        unreadable={},
    )
    for index, one in enumerate(_of_files(images) if of_files else _of_memory(images)):
        if isinstance(one, str):
            records.unreadable[index] = one
        else:
            records.contents[index] = one.content
            records.hashes[index], records.means[index] = one.hash, one.mean
            records.deviations[index], records.spans[index] = one.deviation, one.span
            if records.stored is not None:
                records.stored[index] = one.stored
        advance(1)
    return records


def _of_files(images: ImageSet) -> Iterator[_Measured | str]:
    """Yield the measurements of each file in order, or why it cannot be read.

    Pillow releases the GIL while decoding, so threads use all cores; no more images are in memory than
    threads.
    """
    assert isinstance(images, FileImages)
    channels = images.channels
    pool = ThreadPoolExecutor()
    try:
        for start in range(0, len(images), CHUNK):
            yield from pool.map(lambda path: _of_file(path, channels), images.paths[start : start + CHUNK])
    finally:
        pool.shutdown(cancel_futures=True)


def _of_file(path: str, channels: int) -> _Measured | str:
    from PIL import Image

    try:
        with Image.open(to_open(path)) as image:
            stored = StoredForm(*image.size, image.mode, image.format or "")
        pixels = decode(path, (SIDE, SIDE, channels), "squash").numpy()
        return _measured(pixels, hash_of(content_of(path)), stored)
    except Exception as error:  # Pillow raises almost any exception for a damaged file
        return reason(path, error)


def _of_memory(images: ImageSet) -> Iterator[_Measured]:
    assert isinstance(images, MemoryImages)
    for chunk in images.chunks(CHUNK):
        for pixels in chunk.numpy():
            yield _measured(pixels, hash_of(pixels), None)


def _measured(pixels: NDArray[np.uint8], content: bytes, stored: StoredForm | None) -> _Measured:
    """Return the measurements of an image uint8 (H, W, C)."""
    from PIL import Image

    values = pixels.reshape(-1, pixels.shape[2]).astype(np.float32)
    drawn = pixels if pixels.shape[2] == 3 else pixels.mean(2).round().astype(np.uint8)
    return _Measured(
        content=content,
        hash=perceptual_hash(Image.fromarray(drawn)),
        mean=values.mean(0),
        deviation=float(values.std()),
        span=float(np.ptp(values, 0).max()),
        stored=stored,
    )
