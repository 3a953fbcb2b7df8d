"""Predictions of any number of images, in order, of which a few batches are in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from ..data.image_decoding import decode, fitted, reason
from .image_sources import Source
from .predictor import Predictor

# Batches that are being read while one is predicted.
AHEAD = 2
Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """Images that could be read, uint8 (N, H, W, C), the items they come from, and the errors of others."""

    items: list[Item]
    images: Tensor
    errors: list[tuple[Item, Exception]]


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Tensor], batch_size: int
) -> Iterator[Batch[Item]]:
    """Yield batches of images, which threads on all cores read while the ones before are used.

    Pillow releases the GIL while it decodes and resizes. Errors of `read` are those of single images.
    """
    remaining, pending = iter(items), deque[tuple[list[Item], list[Future[Tensor]]]]()
    pool = ThreadPoolExecutor(cores())
    try:
        while True:
            while len(pending) <= AHEAD and (batch := list(islice(remaining, batch_size))):
                pending.append((batch, [pool.submit(read, item) for item in batch]))
            if not pending:
                return
            yield _collect(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def predictions(predictor: Predictor, sources: Iterable[Source]) -> Iterator[tuple[Batch[Source], Tensor]]:
    """Yield the batches of images and what the predictor says of them, (N, K)."""
    shape, resize = predictor.image_shape, predictor.resize
    for batch in read_ahead(sources, lambda source: read_source(source, shape, resize), predictor.batch_size):
        yield batch, predictor.predict(batch.images) if batch.items else torch.empty(0, len(predictor.names))


def read_source(source: Source, shape: tuple[int, int, int], resize: str) -> Tensor:
    """Return an image, uint8 of this shape; raises almost any exception where it cannot be read."""
    if source.no_image is not None:
        raise ValueError(source.no_image)
    if source.pixels is None:
        return decode(source.name, shape, resize)
    return as_stored(source.pixels, shape, resize)


def as_stored(pixels: Tensor, shape: tuple[int, int, int], resize: str) -> Tensor:
    """Return pixels uint8 (H, W, C) as they are if they have this shape, else as an image file would be.

    Raises ValueError where they are neither grey, RGB nor RGBA.
    """
    if tuple(pixels.shape) == shape:
        return pixels
    channels = pixels.shape[2]
    if channels not in (1, 3, 4) or shape[2] not in (1, 3):
        sizes = ["x".join(map(str, size)) for size in (pixels.shape, shape)]
        raise ValueError(f"has the shape {sizes[0]}, from which none of {sizes[1]} can be made")
    array = pixels.numpy()
    return fitted(Image.fromarray(array[..., 0] if channels == 1 else array), shape, resize)


def why(source: Source, error: Exception) -> str:
    """Return why an image could not be read, for a message."""
    if source.pixels is not None or source.no_image is not None:
        return str(error)
    if os.path.isdir(source.name):
        return "is a folder"
    return reason(source.name, error)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(items: list[Item], futures: list[Future[Tensor]]) -> Batch[Item]:
    read, images, errors = [], [], []
    for item, future in zip(items, futures, strict=True):
        error = future.exception()
        if error is None:
            read.append(item)
            images.append(future.result())
        elif isinstance(error, Exception):
            errors.append((item, error))
        else:
            raise error
    return Batch(read, torch.stack(images) if images else torch.empty(0), errors)
