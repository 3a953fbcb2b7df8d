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
EMPTY = np.zeros(0, np.int64)
COLUMNS = ("size", "time", "offset", "height", "width", "first", "last")


class Stamp(NamedTuple):
    """What tells one version of an image's file from another: its name, bytes and time of change in ns."""

    name: str
    size: int
    time: int


class ImageCache:
    """The images in one folder of the cache, in rows that stay theirs when others are added.

    channels: of all images. Their pixels are views of the files.
    """

    def __init__(self, folder: Path, channels: int):
        self.folder = folder
        self.channels = channels
        self._files: list[Tensor] = []
        self._names: list[bytes] = []
        columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*COLUMNS, "file")}
        for index in sorted(folder.glob(f"[0-9]*{INDEX}")):
            with suppress(*DAMAGED):
                self._add(index, columns)
        self._columns = {name: np.concatenate([EMPTY, *parts]) for name, parts in columns.items()}

    def __reduce__(self) -> Any:
        # For a process that is not a copy of this one: it maps the files itself.
        return type(self), (self.folder, self.channels)

    @property
    def nbytes(self) -> int:
        """The bytes of all pixels."""
        return sum(file.numel() for file in self._files)

    def rows_of(self, stamps: list[Stamp], factors: Callable[[int, int], list[int]]) -> NDArray[np.int64]:
        """Return the row of each image, -1 where it is not there.

        Nor is an image without a factor of those that one of its height and width needs.
        """
        names = (name for content in self._names for name in content.decode().split("\0"))
        row_of = {name: row for row, name in enumerate(names)}  # the last one of a name
        columns = [
            self._columns[name].tolist() for name in ("size", "time", "height", "width", "first", "last")
        ]
        rows = np.full(len(stamps), -1, np.int64)
        for number, stamp in enumerate(stamps):
            if (row := row_of.get(stamp.name)) is None:
                continue
            size, time, height, width, first, last = (column[row] for column in columns)
            needed = factors(height, width)
            if (size, time) == stamp[1:] and first <= needed[0] and needed[-1] <= last:
                rows[number] = row
        return rows

    def image(self, row: int) -> ReducedImage:
        """Return the image in a row."""
        columns = {name: int(values[row]) for name, values in self._columns.items()}
        pixels, start, factor = {}, columns["offset"], columns["first"]
        while factor <= columns["last"]:
            shape = (-(-columns["height"] // factor), -(-columns["width"] // factor), self.channels)
            stop = start + shape[0] * shape[1] * shape[2]
            pixels[factor] = self._files[columns["file"]][start:stop].view(shape)
            start, factor = stop, 2 * factor
        return ReducedImage(columns["height"], columns["width"], pixels)

    def _add(self, index: Path, columns: dict[str, list[NDArray[np.int64]]]) -> None:
        """Add the rows of an index to the columns."""
        with index.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            found = {name: stored[name] for name in COLUMNS}
            names, total = stored["names"].tobytes(), int(stored["total"])
        file = _mapped(index.with_suffix(IMAGES), total)
        found["file"] = np.full(len(found["size"]), len(self._files), np.int64)
        for name, values in found.items():
            columns[name].append(values)
        self._files.append(file)
        self._names.append(names)


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
