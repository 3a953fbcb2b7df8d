"""Batches of random crops that are cut from image files, kept in memory at their own size where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..augmentation.file_crop import CropDraws, FileCrop, Reducible
from .cached_images import CachedImages, Decoding, cached_images
from .image_set import FileImages
from .reduced_images import ReducedImage

# Images by which the size of all is estimated.
SAMPLE = 50


class FileCrops:
    """Random crops of the images of a split, cut from their files.

    An image is decoded at 1, 1/2, 1/4, … of its size, as small as its crop allows. Images are kept in memory
    or in a cache at all of these sizes that crops may need, or decoded in every epoch: crops are the same.
    """

    def __init__(self, files: FileImages, crop: FileCrop, limit: float, caches: Path | None = None):
        """Raises DataError where a file is damaged.

        limit: bytes up to which images are kept in memory. caches: the folder of caches, None for no cache.
        """
        self.files = files
        self.crop = crop
        self.kept: list[ReducedImage] | None = None
        self.cached: CachedImages | None = None
        if caches is not None:
            decoding = Decoding(files.root, "whole images", files.channels, self._all_sizes, crop.factors)
            self.cached = cached_images(caches, decoding, files.stamps())
        if self.cached is not None and not self.cached.missing():
            self.is_decoded = self.cached.cache.nbytes <= limit
            return
        if self._estimated_bytes() <= limit:
            self.kept = self._keep(limit)
        self.is_decoded = self.kept is not None

    def read(self, index: int, draws: CropDraws) -> Tensor:
        """Return the crop uint8 (size, size, C) of an image; raises DataError where its file is damaged."""
        with self._image(index) as image:
            return self.crop(image, draws)

    def batch(self, indices: Tensor, seed: int, epoch: int, step: int, part: slice | None = None) -> Tensor:
        """Return the crops uint8 (N, size, size, C) of a batch, or of a part of it.

        Raises DataError where a file is damaged.
        """
        draws = self.crop.draws(len(indices), seed, epoch, step)
        chosen = list(zip(indices.tolist(), draws, strict=True))[part or slice(None)]
        return torch.stack([self.read(index, draw) for index, draw in chosen])

    def description(self) -> str:
        """Return where the images are, for the first lines of a run."""
        if self.cached is not None and self.cached.problem is None:
            return f"random crops of the image files, which are cached in {self.cached}"
        if self.kept is None:
            return "random crops of the image files, which are decoded in every epoch"
        size = sum(image.nbytes for image in self.kept)
        return f"random crops of the image files, which are kept in memory ({size / 1e6:.3g} MB)"

    @contextmanager
    def _image(self, index: int) -> Iterator[Reducible]:
        if self.kept is not None:
            yield self.kept[index]
        elif self.cached is not None and (found := self.cached.find(index)) is not None:
            yield found
        else:
            with self.files.opened(index) as image:
                yield image

    def _all_sizes(self, index: int) -> ReducedImage:
        with self.files.opened(index) as image:
            return image.with_factors(self.crop.factors(image.height, image.width))

    def _estimated_bytes(self) -> float:
        count = len(self.files)
        sample = range(0, count, max(1, count // SAMPLE))
        return sum(self._all_sizes(index).nbytes for index in sample) * count / max(1, len(sample))

    def _keep(self, limit: float) -> list[ReducedImage] | None:
        """Return all images, decoded by threads; None where they turn out to be larger than `limit` bytes."""
        kept, total = list[ReducedImage](), 0
        pool = ThreadPoolExecutor()
        try:
            for image in pool.map(self._all_sizes, range(len(self.files))):
                kept.append(image)
                total += image.nbytes
                if total > limit:
                    return None
        finally:
            pool.shutdown(cancel_futures=True)
        return kept
