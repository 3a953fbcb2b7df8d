"""Processes that read batches: started at the first epoch, and kept for those that follow."""

from __future__ import annotations

import atexit
import math
import os
import pickle
import signal
import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ..machine_errors import ReaderDied
from .image_set import FileImages, ImageSet

# Seconds to wait for the end of a process whose connection broke.
READER_ENDS = 0.5


class Readers:
    """So many processes that read batches of a data set; none: they are read where they are asked for.

    Each prepares two batches. An epoch that is left before its end, or within which another one is begun,
    is no obstacle to the next.
    """

    def __init__(self, images: Dataset[Any], workers: int, pin_memory: bool):
        self._images = images
        self._workers = workers
        self._pin_memory = pin_memory
        self._keys = _Keys()
        self._loader: _Loader | None = None
        self._is_reading = False

    def read(self, keys: list[list[Any]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of these keys of the data set; raises ReaderDied where a process was killed."""
        if self._is_reading:  # another epoch is being read
            yield from Readers(self._images, self._workers, self._pin_memory).read(keys)
            return
        self._is_reading = True
        try:
            self._keys.keys = keys
            yield from _watched(self._started())
        except Exception:
            self.close()
            raise
        finally:
            self._is_reading = False

    def close(self) -> None:
        """End the processes; others are started for what is read after that."""
        loader, self._loader = self._loader, None
        if loader is not None:
            loader.close()

    def _started(self) -> _Loader:
        if self._loader is None:
            self._loader = _Loader(
                self._images,
                batch_sampler=self._keys,
                num_workers=self._workers,
                pin_memory=self._pin_memory,
                persistent_workers=self._workers > 0,
                generator=torch.Generator(),  # in place of the global one, whose state would change
            )
        return self._loader


class _Loader(DataLoader[Any]):
    """A DataLoader whose processes are ended first of all when the program ends."""

    def __iter__(self) -> Any:
        is_first = self._iterator is None
        read = super().__iter__()
        if is_first and self.persistent_workers:
            # After torch's own function, which therefore runs later; it waits for processes for seconds.
            atexit.register(_close, weakref.ref(self))
        return read

    def close(self) -> None:
        """End the processes."""
        if isinstance(self._iterator, _MultiProcessingDataLoaderIter):
            self._iterator._shutdown_workers()

    def check_worker_number_rationality(self) -> None:
        """Say nothing of more workers than cores: the first lines of the run do."""


class _Keys:
    """The keys of the batches of the epoch that is read."""

    def __init__(self) -> None:
        self.keys = list[list[Any]]()

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def _close(loader: weakref.ref[_Loader]) -> None:
    if (alive := loader()) is not None:
        alive.close()


def _watched(loader: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a DataLoader reads; raises ReaderDied where one of its processes has ended.

    What torch raises then depends on what the process was doing, and may be about a connection or a file.
    """
    try:
        yield from loader
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        for process in getattr(getattr(loader, "_iterator", None), "_workers", []):
            process.join(READER_ENDS)
            if process.exitcode not in (None, 0):
                code = process.exitcode
                name = signal.Signals(-code).name if code < 0 else ""
                cause = f"was killed by signal {name}" if code < 0 else f"ended with {code}"
                raise ReaderDied(str(process.pid), cause) from error
        raise


def usable_workers(images: ImageSet, batch_size: int, side: int | None = None) -> int:
    """Return the number of processes that read batches: none without enough shared memory for the batches.

    Each process prepares two batches, which it hands over in shared memory (/dev/shm on Linux). side: of the
    images in a batch in pixels, None for their own.
    """
    if not isinstance(images, FileImages):
        return 0
    height, width, channels = images.shape if side is None else (side, side, images.channels)
    needed = 2 * images.workers * batch_size * height * width * channels
    return images.workers if needed <= _free_shared_memory() else 0


def _free_shared_memory() -> float:
    """Return the free bytes of shared memory, infinity on systems that do not limit it by a folder."""
    if sys.platform != "linux":
        return math.inf
    try:
        free = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return free.f_bavail * free.f_frsize if os.access("/dev/shm", os.W_OK) else 0
