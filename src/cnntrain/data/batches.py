"""Batches of a split: each batch is a pure function of (seed, epoch, step), independent of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..augmentation.file_crop import CropDraws
from ..augmentation.transforms import Augment
from ..seeding import generator
from .batch_size import batches_per_epoch
from .file_crops import FileCrops
from .image_set import FileImages, ImageSet, MemoryImages
from .readers import Readers, usable_workers
from .share import WHOLE, Share

Batch = tuple[Tensor, Tensor]


class Batches:
    """The batches of one split on one device: shuffled and augmented, or in the split's order.

    Images that fit into memory are stored there as uint8 (on a CUDA device, in its memory) and are gathered
    one batch at a time; others are decoded by worker processes. Both yield the same batches. drop_last: as in
    torch's DataLoader, only full batches are used. Otherwise the images of an epoch are divided into batches
    whose sizes differ by one at most, so none of them is so small that its gradient or its batch statistics
    are mostly noise. crops: the images are random crops of these, from files.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        augment: Augment | None = None,
        drop_last: bool = False,
        crops: FileCrops | None = None,
    ):
        self.images = images
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self.augment = augment
        self.drop_last = drop_last
        self.crops = crops
        self._readers = dict[type[Dataset[Any]], Readers]()
        self._stored: Batch | None = None
        if isinstance(images, MemoryImages):
            self._stored = _to_device(images, device)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return batches_per_epoch(len(self.images), self.batch_size, self.drop_last)

    def epoch(self, epoch: int, start: int, stop: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield (images, labels) of the steps `start` … `stop` - 1 of `epoch`, in its random order.

        Images are uint8 (B, H, W, C), augmented. Each epoch has a different order, which also decides what
        drop_last leaves out. Of several processes, each gets the images of its own share of the batch, the
        same as if all were augmented at once, and the labels of the whole batch.
        """
        order = torch.randperm(len(self.images), generator=generator(self.seed, "order", epoch))
        count, used = len(self), len(self) * self.batch_size if self.drop_last else len(self.images)
        indices = [order[i * used // count : (i + 1) * used // count] for i in range(start, min(stop, count))]
        own = [share.of(len(index)) for index in indices]
        if self.crops is None:
            read = self._read([index[part] for index, part in zip(indices, own, strict=True)])
        else:
            read = self._read_crops(indices, own, epoch, start)
        for step, (index, part, (images, labels)) in enumerate(zip(indices, own, read, strict=True), start):
            if self.augment is not None:
                images = self.augment(images, index, self.seed, epoch, step, part)
            yield images, labels if share == WHOLE else self._labels(index)

    def _labels(self, index: Tensor) -> Tensor:
        return self.images.labels[index].to(self.device, non_blocking=True)

    def augmented(self, indices: Tensor, epoch: int, step: int) -> Tensor:
        """Return the images at these indices as they would be in a batch of them in this step."""
        if self.crops is not None:
            images = self.crops.batch(indices, self.seed, epoch, step).to(self.device)
        else:
            ((images, _),) = self._read([indices])
        if self.augment is None:
            return images
        return self.augment(images, indices, self.seed, epoch, step)

    def in_order(self, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield all images once, in the split's order; the last batch may be smaller.

        Of several processes, each gets its share of the batches.
        """
        batches = list(torch.split(torch.arange(len(self.images)), self.batch_size))
        yield from self._read(batches[share.of(len(batches))])

    def _read(self, indices: list[Tensor]) -> Iterator[Batch]:
        if self._stored is not None:
            images, labels = self._stored
            for index in indices:
                if images.device == self.device:
                    index = index.to(self.device, non_blocking=True)
                    yield images.index_select(0, index), labels.index_select(0, index)
                else:  # from pinned memory, so that the copy is made while the device computes
                    pinned = images[index].pin_memory(), labels[index].pin_memory()
                    yield (
                        pinned[0].to(self.device, non_blocking=True),
                        pinned[1].to(self.device, non_blocking=True),
                    )
        else:
            assert isinstance(self.images, FileImages)
            workers = usable_workers(self.images, self.batch_size)
            yield from self._by_readers(_Decoded(self.images), [index.tolist() for index in indices], workers)

    def _read_crops(self, indices: list[Tensor], own: list[slice], epoch: int, start: int) -> Iterator[Batch]:
        """Yield (crops, labels) of parts of the steps from `start` on, by the random numbers of each step."""
        assert self.crops is not None
        labels, side = self.images.labels, self.crops.crop.size
        if self.crops.is_decoded and self.device.type == "cpu":  # where workers would take cores
            for step, (index, part) in enumerate(zip(indices, own, strict=True), start):
                yield self.crops.batch(index, self.seed, epoch, step, part), labels[index[part]]
            return
        keys = []
        for step, (index, part) in enumerate(zip(indices, own, strict=True), start):
            draws = self.crops.crop.draws(len(index), self.seed, epoch, step)
            keys.append(list(zip(index.tolist(), draws, strict=True))[part])
        workers = usable_workers(self.crops.files, self.batch_size, side)
        yield from self._by_readers(_Cropped(self.crops, labels), keys, workers)

    def _by_readers(self, images: Dataset[Any], keys: list[list[Any]], workers: int) -> Iterator[Batch]:
        """Yield the batches of these keys of a data set, read by so many processes."""
        if type(images) not in self._readers:
            self._readers[type(images)] = Readers(images, workers, self.device.type == "cuda")
        for batch, labels in self._readers[type(images)].read(keys):
            yield batch.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


class _Decoded(Dataset[Any]):
    """Map-style data set of (image, label) that decodes image files in worker processes."""

    def __init__(self, images: FileImages):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return self.images.read(index), self.images.labels[index]


class _Cropped(Dataset[Any]):
    """Map-style data set of (crop, label), whose keys are an index and the random numbers of its crop."""

    def __init__(self, crops: FileCrops, labels: Tensor):
        self.crops = crops
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: tuple[int, CropDraws]) -> Batch:
        index, draws = key
        return self.crops.read(index, draws), self.labels[index]


def _to_device(images: MemoryImages, device: torch.device) -> Batch:
    """Return images and labels on the device, or unchanged if they exceed ¼ of free CUDA memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.images.numel() > free // 4:
            return images.images, images.labels
    return images.images.to(device), images.labels.to(device)
