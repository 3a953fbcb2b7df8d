"""Decoded images in memory-mapped files, found by the names, sizes and times of the files they come from.

A folder of the cache has pairs of files that are never changed: NUMBER.images with the pixels of one image
after another, and NUMBER.npz, which says where each is. The pixels are written and flushed first, the index
is renamed into place last: what has no index is not there.
"""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from .reduced_images import ReducedImage

IMAGES, INDEX, LOCK, PARTIAL = ".images", ".npz", ".lock", ".writing"
# What a file that cannot be read as an index raises.
DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)
COLUMNS = ("size", "time", "offset", "height", "width", "first", "last")


class Stamp(NamedTuple):
    """What tells one version of an image's file from another: its name, bytes and time of change in ns."""

    name: str
    size: int
    time: int


class ImageCache:
    """The images in one folder of the cache, whose pixels are views of the files.

    channels: of all images.
    """

    def __init__(self, folder: Path, channels: int):
        self.folder = folder
        self.channels = channels
        self._rows = dict[Stamp, tuple[int, int]]()
        self._files: list[Tensor] = []
        self._columns: list[dict[str, NDArray[np.int64]]] = []
        for index in sorted(folder.glob(f"[0-9]*{INDEX}")):
            with suppress(*DAMAGED):
                self._add(index)

    def __reduce__(self) -> Any:
        # For a process that is not a copy of this one: it maps the files itself.
        return type(self), (self.folder, self.channels)

    @property
    def nbytes(self) -> int:
        """The bytes of all pixels."""
        return sum(file.numel() for file in self._files)

    def has(self, stamp: Stamp, factors: Callable[[int, int], list[int]]) -> bool:
        """Return whether an image is there, with all factors that one of its height and width needs."""
        found = self._rows.get(stamp)
        if found is None:
            return False
        columns, row = self._columns[found[0]], found[1]
        needed = factors(int(columns["height"][row]), int(columns["width"][row]))
        return bool(columns["first"][row] <= needed[0] and columns["last"][row] >= needed[-1])

    def image(self, stamp: Stamp) -> ReducedImage:
        """Return an image that is there."""
        file, row = self._rows[stamp]
        columns = {name: int(values[row]) for name, values in self._columns[file].items()}
        pixels, start, factor = {}, columns["offset"], columns["first"]
        while factor <= columns["last"]:
            shape = (-(-columns["height"] // factor), -(-columns["width"] // factor), self.channels)
            stop = start + shape[0] * shape[1] * shape[2]
            pixels[factor] = self._files[file][start:stop].view(shape)
            start, factor = stop, 2 * factor
        return ReducedImage(columns["height"], columns["width"], pixels)

    def _add(self, index: Path) -> None:
        with index.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in COLUMNS}
            names = stored["names"].tobytes().decode().split("\0")
            total = int(stored["total"])
        file = _mapped(index.with_suffix(IMAGES), total)
        number = len(self._files)
        self._files.append(file)
        self._columns.append(columns)
        stamps = zip(names, columns["size"].tolist(), columns["time"].tolist(), strict=True)
        self._rows |= {Stamp(*stamp): (number, row) for row, stamp in enumerate(stamps)}


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Let one process at a time write into a folder of the cache; raises OSError where there are no locks.

    What a process that was killed has left there is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that writes into {folder}", flush=True)
        lock.acquire()
    try:
        indexed = {index.stem for index in folder.glob(f"[0-9]*{INDEX}")}
        left = [file for file in folder.glob(f"[0-9]*{IMAGES}") if file.stem not in indexed]
        for file in [*left, *folder.glob(f".*{PARTIAL}")]:
            file.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_images(folder: Path, images: Iterable[tuple[Stamp, ReducedImage]]) -> None:
    """Add images to a folder that is claimed; raises OSError, and leaves nothing, where that fails."""
    number = 1 + max((int(file.stem) for file in folder.glob(f"[0-9]*{INDEX}")), default=0)
    target, partial = folder / f"{number:06}{INDEX}", folder / f".{number:06}{PARTIAL}"
    names, rows, offset = list[str](), list[tuple[int, ...]](), 0
    try:
        with partial.open("wb") as file:
            for stamp, image in images:
                factors = sorted(image.pixels)
                names.append(stamp.name)
                rows.append((*stamp[1:], offset, image.height, image.width, factors[0], factors[-1]))
                for factor in factors:
                    offset += file.write(image.pixels[factor].contiguous().numpy().data)
            _flush(file)
        if not rows:
            return
        partial.rename(target.with_suffix(IMAGES))
        columns = dict(zip(COLUMNS, np.array(rows, np.int64).T, strict=True))
        encoded = np.frombuffer("\0".join(names).encode(), np.uint8)
        with partial.open("wb") as file:
            np.savez(file, names=encoded, total=np.int64(offset), **columns)
            _flush(file)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        if not target.exists():
            target.with_suffix(IMAGES).unlink(missing_ok=True)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _mapped(path: Path, total: int) -> Tensor:
    """Return the bytes of a file, read when they are used; raises ValueError unless they are `total`."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != total:
            raise ValueError(f"{path} is incomplete")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        return torch.frombuffer(mapped, dtype=torch.uint8)
