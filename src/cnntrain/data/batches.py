"""Batches of a split: any batch is a pure function of (seed, epoch, step), whatever came before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..augmentation.augment import Augment
from ..seeding import generator
from .images import FileImages, ImageSet, MemoryImages

Batch = tuple[Tensor, Tensor]


class Batches:
    """The batches of one split on one device: in training order with augmentation, or in file order.

    Images that fit into memory live there as uint8 (on a CUDA device, in its memory) and are gathered
    a batch at a time; others are decoded by worker processes. Both give the same batches.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        augment: Augment | None = None,
    ):
        self.images = images
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self.augment = augment
        self._stored: Batch | None = None
        if isinstance(images, MemoryImages):
            self._stored = _to_device(images, device)

    def __len__(self) -> int:
        """The number of full batches of an epoch."""
        return len(self.images) // self.batch_size

    def epoch(self, epoch: int, start: int, stop: int) -> Iterator[Batch]:
        """Yield (images, labels) of the training order of `epoch`, from step `start` to before `stop`.

        Images are uint8 (B, H, W, C), augmented. The images left over after the last full batch wait
        for another epoch, whose order is another.
        """
        order = torch.randperm(len(self.images), generator=generator(self.seed, "order", epoch))
        size = self.batch_size
        indices = [order[i * size : (i + 1) * size] for i in range(start, min(stop, len(self)))]
        batches = zip(indices, self._read(indices), strict=True)
        for step, (index, (images, labels)) in enumerate(batches, start):
            if self.augment is not None:
                images = self.augment(images, index, self.seed, epoch, step)
            yield images, labels

    def in_order(self) -> Iterator[Batch]:
        """Yield all images once, in the split's order, the last batch perhaps smaller."""
        yield from self._read(list(torch.split(torch.arange(len(self.images)), self.batch_size)))

    def _read(self, indices: list[Tensor]) -> Iterator[Batch]:
        if self._stored is not None:
            images, labels = self._stored
            for index in indices:
                if images.device == self.device:
                    index = index.to(self.device, non_blocking=True)
                    yield images.index_select(0, index), labels.index_select(0, index)
                else:
                    yield images[index].to(self.device), labels[index].to(self.device)
        else:
            assert isinstance(self.images, FileImages)
            loader = DataLoader(
                _Decoded(self.images),
                batch_sampler=[index.tolist() for index in indices],
                num_workers=self.images.workers,
                pin_memory=self.device.type == "cuda",
            )
            for images, labels in loader:
                yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


class _Decoded(Dataset[Any]):
    """Image files as a map-style data set of (image, label) for the workers."""

    def __init__(self, images: FileImages):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return self.images.read(index), self.images.labels[index]


def _to_device(images: MemoryImages, device: torch.device) -> Batch:
    """Return the split's tensors on the device if they leave most of its memory free, else where they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.images.numel() > free // 4:
            return images.images, images.labels
    return images.images.to(device), images.labels.to(device)
