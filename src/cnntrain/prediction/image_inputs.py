"""Images as Python programs have them: paths, Pillow images, arrays and tensors, one or many."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from ..data.image_decoding import decode, fitted, reason
from ..errors import DataError
from .prediction_stream import as_stored, read_ahead

Image = str | Path | Pillow.Image | NDArray[np.uint8] | Tensor
Images = Image | Iterable[Image]
Shape = tuple[int, int, int]
# Channels of grey, RGB and RGBA images.
CHANNELS = (1, 3, 4)
# Held while a Pillow image reads its file, which two threads must not do at once.
LOADING = threading.Lock()


def image_batches(images: Images, shape: Shape, resize: str, batch_size: int) -> Iterator[Tensor]:
    """Yield images as a network takes them, uint8 (n, H, W, C) of this shape, n being `batch_size` at most.

    Of pixels that have this shape, they are a view. Raises ValueError for what is no image, DataError for a
    file that cannot be read.
    """
    if isinstance(images, np.ndarray | Tensor):
        pixels = _many(_as_uint8(images), shape[2])
        if tuple(pixels.shape[1:]) == shape:
            yield from torch.split(pixels, batch_size)
            return
        items: Iterable[Any] = pixels
    elif isinstance(images, str | Path | Pillow.Image):
        items = [images]
    elif isinstance(images, Iterable):
        items = images
    else:
        raise _no_image(images)
    for batch in read_ahead(items, lambda item: _read(item, shape, resize), batch_size):
        if batch.errors:
            raise _named(*batch.errors[0])
        yield batch.images


def one_image(image: Images, shape: Shape, resize: str) -> Tensor:
    """Return a single image as a network takes it, uint8 of this shape; raises as `image_batches`."""
    batches = list(image_batches(image, shape, resize, 2))
    count = sum(map(len, batches))
    if count != 1:
        raise ValueError(f"explain takes one image at a time, got {count}")
    return batches[0][0]


def _read(image: Any, shape: Shape, resize: str) -> Tensor:
    if isinstance(image, str | Path):
        return decode(str(image), shape, resize)
    if isinstance(image, Pillow.Image):
        with LOADING:
            image.load()
        return fitted(image, shape, resize)
    if not isinstance(image, np.ndarray | Tensor):
        raise _no_image(image)
    pixels = _many(_as_uint8(image), shape[2])
    if len(pixels) != 1:
        raise ValueError(f"each entry must be one image, got {len(pixels)} of them in an array")
    return as_stored(pixels[0], shape, resize)


def _as_uint8(images: NDArray[Any] | Tensor) -> Tensor:
    """Return an array or a tensor as a tensor uint8 on the CPU; raises ValueError for other types."""
    dtype = str(images.dtype).removeprefix("torch.")
    if dtype != "uint8":
        remedy = "; of 0…1, write (255 * images).round() as uint8" if "float" in dtype else ""
        raise ValueError(f"images must be uint8 of 0…255, got {dtype}{remedy}")
    if isinstance(images, Tensor):
        return images.cpu()
    # torch warns about memory that it could write to, and reads none backwards.
    is_plain = images.flags.writeable and min(images.strides, default=0) >= 0
    return torch.from_numpy(images if is_plain else images.copy())


def _many(pixels: Tensor, channels: int) -> Tensor:
    """Return pixels (H, W), (H, W, C) or (N, H, W, C) as (N, H, W, C); raises ValueError for other shapes."""
    shape = tuple(pixels.shape)
    if 0 in shape[-3:] if pixels.ndim == 4 else 0 in shape:
        raise ValueError(f"images must have pixels, got {shape}")
    if pixels.ndim == 2:
        return pixels[None, :, :, None]
    if pixels.ndim not in (3, 4):
        raise ValueError(f"images must have the shape (H, W, C) or (N, H, W, C), got {shape}")
    if shape[-1] not in (*CHANNELS, channels):
        if shape[-3] in CHANNELS:
            axes = "(1, 2, 0)" if pixels.ndim == 3 else "(0, 2, 3, 1)"
            raise ValueError(f"images must have their channels last, got {shape}; permute axes {axes}")
        raise ValueError(
            f"images must have {channels} channels in the last axis, got {shape}; for grey ones, "
            "write images[..., None]"
        )
    return pixels[None] if pixels.ndim == 3 else pixels


def _no_image(image: Any) -> ValueError:
    return ValueError(
        f"images must be paths, Pillow images, or arrays or tensors of uint8, got {type(image).__name__}"
    )


def _named(image: Any, error: Exception) -> Exception:
    """Return the error of an image, that of a file naming it."""
    if not isinstance(image, str | Path):
        return error
    why = "is a folder; list its files" if os.path.isdir(image) else reason(str(image), error)
    return DataError(f"{image}: {why}")
