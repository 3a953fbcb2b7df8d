"""Batches of random crops that are cut from image files, kept in memory at their own size where they fit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ..augmentation.file_crop import CropDraws, FileCrop
from .image_set import FileImages

# Images by which the size of all is estimated.
SAMPLE = 50


class FileCrops:
    """Random crops of the images of a split, cut from their files.

    Images are reduced when they are decoded, as far as crops of the smallest area allow. They are kept in
    memory so, or decoded so in every epoch: both give the same crops.
    """

    def __init__(self, files: FileImages, crop: FileCrop, limit: float):
        """limit: bytes up to which images are kept in memory. Raises DataError where a file is damaged."""
        self.files = files
        self.crop = crop
        self.kept = self._keep(limit) if self._estimated_bytes() <= limit else None

    def read(self, index: int, draws: CropDraws) -> Tensor:
        """Return the crop uint8 (size, size, C) of an image; raises DataError where its file is damaged."""
        return self.crop(self._whole(index) if self.kept is None else self.kept[index], draws)

    def batch(self, indices: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """Return the crops uint8 (N, size, size, C) of a batch; raises DataError where a file is damaged."""
        draws = self.crop.draws(len(indices), seed, epoch, step)
        return torch.stack([self.read(i, draw) for i, draw in zip(indices.tolist(), draws, strict=True)])

    def description(self) -> str:
        """Return where the images are, for the first lines of a run."""
        if self.kept is None:
            return "random crops of the image files, which are decoded in every epoch"
        size = sum(image.nbytes for image in self.kept)
        return (
            "random crops of the image files, which are kept in memory, reduced to no less than "
            f"{self.crop.least_side} pixels on the shorter side ({size / 1e6:.3g} MB)"
        )

    def _whole(self, index: int) -> Tensor:
        return self.files.read_whole(index, self.crop.least_side)

    def _estimated_bytes(self) -> float:
        count = len(self.files)
        sample = range(0, count, max(1, count // SAMPLE))
        return sum(self._whole(index).nbytes for index in sample) * count / max(1, len(sample))

    def _keep(self, limit: float) -> list[Tensor] | None:
        """Return all images, decoded by threads; None where they turn out to be larger than `limit` bytes."""
        kept, total = [], 0
        pool = ThreadPoolExecutor()
        try:
            for image in pool.map(self._whole, range(len(self.files))):
                kept.append(image)
                total += image.nbytes
                if total > limit:
                    return None
        finally:
            pool.shutdown(cancel_futures=True)
        return kept
