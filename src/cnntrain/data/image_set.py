"""The images and labels of one split: stored in memory, or read from files on access."""

from __future__ import annotations

import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..output_streams import is_quiet
from .cached_images import CachedImages, Decoding
from .image_cache import Stamp
from .image_decoding import DamagedImages, decode, naming_damaged
from .reduced_images import EncodedImage, ReducedImage, unreduced
from .tar_member import changed_at, content_of, size_of


class ImageSet(ABC):
    """One split: N images of one size, and their labels.

    Labels are classes int64 (N,), or attributes (0 or 1) or values, float32 (N, V).
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""

    @property
    @abstractmethod
    def names(self) -> list[str] | None:
        """The path of each image's file in the folder of the data set; None where there are no files."""

    @property
    @abstractmethod
    def groups(self) -> list[str] | None:
        """The group of each image, such as a patient, "" for none; None where no image has one."""

    @abstractmethod
    def sources(self, start: int, stop: int) -> list[str] | list[int]:
        """Return where the images from `start` to `stop` come from.

        Their files' names, else their positions in the data set as stored, such as x_train.
        """

    @abstractmethod
    def subset(self, indices: Tensor) -> ImageSet:
        """Return the images at these indices, in the order of the indices."""

    @abstractmethod
    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, in chunks uint8 (n, H, W, C) of up to `size` images."""

    @abstractmethod
    def relabelled(self, labels: Tensor) -> ImageSet:
        """Return the same images with other labels."""


class MemoryImages(ImageSet):
    """Images stored in memory: uint8 (N, H, W, C), contiguous.

    names: of their files, groups: of the images, if they have any. positions: of the images in the data set
    as stored, int64 (N,). files: those that the images were decoded from.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        names: list[str] | None = None,
        positions: Tensor | None = None,
        groups: list[str] | None = None,
        files: FileImages | None = None,
    ):
        assert images.dtype == torch.uint8
        assert images.ndim == 4
        assert images.is_contiguous()
        _check_labels(labels, len(images))
        self.images = images
        self.labels = labels
        self._names = names
        self._groups = groups
        self.files = files
        self.positions = torch.arange(len(labels)) if positions is None else positions

    @property
    def names(self) -> list[str] | None:
        return self._names

    @property
    def groups(self) -> list[str] | None:
        return self._groups

    @property
    def shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.images.shape
        return height, width, channels

    def sources(self, start: int, stop: int) -> list[str] | list[int]:
        return self.positions[start:stop].tolist() if self._names is None else self._names[start:stop]

    def subset(self, indices: Tensor) -> MemoryImages:
        names, groups = _at(self._names, indices), _at(self._groups, indices)
        files = None if self.files is None else self.files.subset(indices)
        return MemoryImages(
            self.images[indices], self.labels[indices], names, self.positions[indices], groups, files
        )

    def relabelled(self, labels: Tensor) -> MemoryImages:
        return MemoryImages(self.images, labels, self._names, self.positions, self._groups, self.files)

    def chunks(self, size: int) -> Iterator[Tensor]:
        for start in range(0, len(self), size):
            yield self.images[start : start + size]


class FileImages(ImageSet):
    """Images read from files on access and resized to size x size pixels.

    names: the paths relative to the folder of the data set, `root`, the same on every system. `resize` is
    crop, squash or pad and `channels` 1 or 3, as in `decode`; `workers` is the number of processes that read
    batches. groups: of the images, if they have any. cached: the images as decoded, where data.cache keeps
    them.
    """

    def __init__(
        self,
        paths: list[str],
        labels: Tensor,
        size: int,
        resize: str,
        channels: int,
        workers: int,
        root: str = "",
        groups: list[str] | None = None,
        cached: CachedImages | None = None,
    ):
        _check_labels(labels, len(paths))
        self.paths = paths
        self._groups = groups
        self.root = root
        self.labels = labels
        self.size = size
        self.resize = resize
        self.channels = channels
        self.workers = workers
        self.cached = cached

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.size, self.size, self.channels

    @property
    def names(self) -> list[str]:
        return self.sources(0, len(self))

    def sources(self, start: int, stop: int) -> list[str]:
        root = self.root or os.curdir
        paths = (Path(os.path.relpath(path, root)).as_posix() for path in self.paths[start:stop])
        return [unicodedata.normalize("NFC", path) for path in paths]

    @property
    def groups(self) -> list[str] | None:
        return self._groups

    def subset(self, indices: Tensor) -> FileImages:
        positions = indices.tolist()
        paths = [self.paths[index] for index in positions]
        cached = None if self.cached is None else self.cached.subset(positions)
        return self._with(paths, self.labels[indices], _at(self._groups, indices), cached)

    def relabelled(self, labels: Tensor) -> FileImages:
        return self._with(self.paths, labels, self._groups, self.cached)

    def with_cached(self, cached: CachedImages) -> FileImages:
        """Return the same images, read from a cache as far as they are in it."""
        return self._with(self.paths, self.labels, self._groups, cached)

    def _with(
        self,
        paths: list[str],
        labels: Tensor,
        groups: list[str] | None = None,
        cached: CachedImages | None = None,
    ) -> FileImages:
        return FileImages(
            paths, labels, self.size, self.resize, self.channels, self.workers, self.root, groups, cached
        )

    def stamps(self) -> list[Stamp]:
        """Return what tells the files from others of their names; raises DataError where one is gone."""
        root, stamps = self.root or os.curdir, list[Stamp]()
        inside = os.path.join(root, "")
        for path in self.paths:
            with naming_damaged(path):
                # relpath takes longer than all else.
                name = path[len(inside) :] if path.startswith(inside) else os.path.relpath(path, root)
                stamps.append(Stamp(name, size_of(path), changed_at(path)))
        return stamps

    def decoding(self) -> Decoding:
        """Return how images are decoded, for a cache."""

        def decoded(index: int) -> ReducedImage:
            return ReducedImage(self.size, self.size, {1: self.read(index)})

        words = f"{self.size}x{self.size}, {self.resize}"
        return Decoding(self.root, words, self.channels, decoded, unreduced)

    def read(self, index: int) -> Tensor:
        """Return one image, uint8 (H, W, C); raises DataError naming its file if it cannot be read."""
        if self.cached is not None and (found := self.cached.find(index)) is not None:
            return found.reduced(1).clone()  # memory of the cache cannot be written
        with naming_damaged(self.paths[index]) as path:
            return decode(path, self.shape, self.resize)

    @contextmanager
    def opened(self, index: int) -> Iterator[EncodedImage]:
        """Yield one image at its own aspect ratio; raises DataError naming its file if it cannot be read."""
        with naming_damaged(self.paths[index]) as path:
            yield EncodedImage(content_of(path), self.channels)

    def chunks(self, size: int) -> Iterator[Tensor]:
        for start in range(0, len(self), size):
            images, damaged = self.decode_all(range(start, min(start + size, len(self))), progress=False)
            if damaged:
                raise DamagedImages.of(damaged)
            yield images

    def to_memory(self, progress: bool) -> MemoryImages:
        """Return all images decoded; raises DataError naming all files that cannot be read."""
        images, damaged = self.decode_all(range(len(self)), progress)
        if damaged:
            raise DamagedImages.of(damaged)
        return self.in_memory(images)

    def in_memory(self, images: Tensor) -> MemoryImages:
        """Return these images in memory, with the pixels uint8 (N, H, W, C) that were decoded."""
        return MemoryImages(images, self.labels, self.names, groups=self._groups, files=self)

    def decode_all(
        self, indices: Sequence[int], progress: bool, keep: bool = True
    ) -> tuple[Tensor, list[tuple[str, str]]]:
        """Return the images at these indices, uint8 (N, H, W, C), and (file, reason) of each unreadable one.

        Pillow releases the GIL while decoding, so threads use all cores. `progress` shows a progress bar if
        standard error is a terminal. keep: false only tries to decode them, and returns no images.
        """
        with torch.inference_mode(False):  # threads of the pool may not change what that mode makes
            images = torch.empty((len(indices) if keep else 0, *self.shape), dtype=torch.uint8)

        def fill(position: int) -> list[tuple[str, str]]:
            try:
                image = self.read(indices[position])
                if keep:
                    images[position] = image
            except DamagedImages as error:
                return error.files
            return []

        damaged = []
        pool = ThreadPoolExecutor()
        hidden = True if is_quiet() or not progress else None
        bar = tqdm(total=len(indices), desc="reading images", leave=False, disable=hidden)
        try:
            for errors in pool.map(fill, range(len(indices))):
                damaged += errors
                bar.update()
        finally:
            bar.close()
            pool.shutdown(cancel_futures=True)
        return images, damaged


def concatenated(parts: list[ImageSet]) -> ImageSet:
    """Return the images of several splits of one data set, all in memory or all in files, as one."""
    labels = torch.cat([part.labels for part in parts])
    files = [part for part in parts if isinstance(part, FileImages)]
    if files:
        return files[0]._with([path for part in files for path in part.paths], labels)
    images = torch.cat([part.images for part in parts if isinstance(part, MemoryImages)])
    names = [name for part in parts for name in part.names or []]
    return MemoryImages(images, labels, names if len(names) == len(labels) else None)


def _at(entries: list[str] | None, indices: Tensor) -> list[str] | None:
    return None if entries is None else [entries[index] for index in indices.tolist()]


def _check_labels(labels: Tensor, images: int) -> None:
    assert len(labels) == images
    assert (labels.dtype, labels.ndim) in ((torch.int64, 1), (torch.float32, 2))
