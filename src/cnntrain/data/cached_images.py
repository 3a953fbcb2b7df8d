"""The decoded images of a split in the cache (data.cache): which are there, and decoding of the others."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features
from tqdm import tqdm

from ..errors import DataError
from ..machine_errors import remedy
from ..output_streams import is_quiet
from ..settings.cache_folder import ABOUT, amount
from .image_cache import ImageCache, Stamp, claimed, write_images
from .reduced_images import ReducedImage

# Raised with every change of what pixels images are decoded to.
VERSION = 1
# Images by which the size of all is estimated, and images decoded before they are written.
SAMPLE, CHUNK = 20, 256
# Of the free space, what may be taken.
MAX_PART = 0.95


@dataclass(frozen=True)
class Decoding:
    """How the images of a cache's folder are decoded.

    root: the folder of the data set. words: what else decides the pixels. channels: of the images. decode:
    returns the image at an index, or raises DataError. factors: those by which an image of some height and
    width has to be reduced.
    """

    root: str
    words: str
    channels: int
    decode: Callable[[int], ReducedImage]
    factors: Callable[[int, int], list[int]]

    def folder(self, caches: Path) -> Path:
        """Return the folder of the images decoded so, below that of all caches."""
        root = Path(self.root).resolve()
        libraries = f"{PIL.__version__} {features.version('libjpeg_turbo') or features.version('jpg')}"
        text = f"{root}\0{self.words}\0{self.channels}\0{VERSION}\0{libraries}"
        return caches / f"{root.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def decode_undamaged(self, index: int) -> ReducedImage | None:
        """Return an image, None if it is damaged, which is said where it is read."""
        try:
            return self.decode(index)
        except DataError:
            return None


@dataclass(frozen=True)
class CachedImages:
    """The images of a split in a cache: the row of each, int64 (N,), -1 where it is not there.

    problem: why images could not be written, None if they could.
    """

    cache: ImageCache
    rows: NDArray[np.int64]
    problem: str | None = None

    def find(self, index: int) -> ReducedImage | None:
        """Return an image, None where it is not there."""
        row = int(self.rows[index])
        return None if row < 0 else self.cache.image(row)

    def missing(self) -> list[int]:
        """Return the indices of the images that are not there."""
        found: list[int] = np.flatnonzero(self.rows < 0).tolist()
        return found

    def subset(self, indices: Sequence[int]) -> CachedImages:
        """Return the images at these indices."""
        return replace(self, rows=self.rows[list(indices)])

    def __str__(self) -> str:
        return f"{self.cache.folder} ({amount(self.cache.nbytes)})"


def cached_images(caches: Path, decoding: Decoding, stamps: list[Stamp]) -> CachedImages:
    """Return the images of a split in the cache; those that are not there are decoded and added before.

    caches: the folder of all caches. Where it cannot be written, images that are there are found.
    """
    folder, problem = decoding.folder(caches), None
    found = _found(folder, decoding, stamps)
    if not found.missing():
        return found
    try:
        _fill(folder, decoding, stamps)
    except OSError as error:
        reason = f"{error.strerror}; {remedy(error)}" if error.strerror else str(error)
        problem = f"{folder} cannot be written ({reason}); the run goes on without it"
    return replace(_found(folder, decoding, stamps), problem=problem)


def _found(folder: Path, decoding: Decoding, stamps: list[Stamp]) -> CachedImages:
    cache = ImageCache(folder, decoding.channels)
    return CachedImages(cache, cache.rows_of(stamps, decoding.factors))


def _fill(folder: Path, decoding: Decoding, stamps: list[Stamp]) -> None:
    """Decode what is missing and add it; raises OSError."""
    with claimed(folder):
        # Without what another process has written in the meantime.
        missing = _found(folder, decoding, stamps).missing()
        if not missing:
            return
        size = _estimated_bytes(missing, decoding)
        free = shutil.disk_usage(folder).free
        if size > MAX_PART * free:
            raise OSError(f"{amount(size)} are needed, {amount(free)} are free")
        print(f"caching {len(missing)} decoded images, about {amount(size)}, in {folder}", flush=True)
        about = {"root": str(Path(decoding.root).resolve()), "decoding": decoding.words}
        (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        write_images(folder, _decoded(missing, stamps, decoding))


def _estimated_bytes(missing: list[int], decoding: Decoding) -> float:
    sample = map(decoding.decode_undamaged, missing[:: max(1, len(missing) // SAMPLE)])
    sizes = [image.nbytes for image in sample if image is not None]
    return sum(sizes) / max(1, len(sizes)) * len(missing)


def _decoded(
    missing: list[int], stamps: list[Stamp], decoding: Decoding
) -> Iterator[tuple[Stamp, ReducedImage]]:
    """Yield images, decoded by threads, a limited number before they are taken."""
    pool = ThreadPoolExecutor()
    hidden = True if is_quiet() else None
    bar = tqdm(total=len(missing), desc="caching images", leave=False, disable=hidden)
    try:
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            for index, image in zip(chunk, pool.map(decoding.decode_undamaged, chunk), strict=True):
                if image is not None:
                    yield stamps[index], image
                bar.update()
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)
