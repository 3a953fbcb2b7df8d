"""The images of an .npz file, a block at a time, without labels."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from ..errors import DataError
from .arrays import ArraySource, images_as_uint8
from .splits import SPLITS

IMAGES = "images"
# Images that are read at once.
BLOCK = 64


def stream_images(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each image, as images[0], and its pixels, uint8 (H, W, C).

    They are those of the array `images`, else those of x_train, x_val and x_test, as data=npz has them.
    Raises DataError if there are none, or the file cannot be used.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            stored = [name.removesuffix(".npy") for name in archive.namelist()]
            keys = [IMAGES] if IMAGES in stored else [f"x_{name}" for name in SPLITS if f"x_{name}" in stored]
            if not keys:
                raise DataError(
                    f"{file}: has no array {IMAGES} or x_test (it has {', '.join(stored) or 'nothing'}); "
                    "save images=… with numpy.savez"
                )
            source = ArraySource(str(file))
            for key in keys:
                with archive.open(f"{key}.npy") as stream:
                    for first, block in _blocks(stream, file, key):
                        for number, image in enumerate(images_as_uint8(source, key, block), first):
                            yield f"{key}[{number}]", image
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{file}: is damaged or not an .npz file ({reason}); save the images with numpy.savez"
        ) from error


def _blocks(stream: Any, file: Path, key: str) -> Iterator[tuple[int, Any]]:
    """Yield the number of the first image of each block of an .npy file, and the block."""
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(
            f"{file}: {key} has Python objects inside, which are not read since they could run code; save it "
            "as an array of numbers"
        )
    if is_fortran or len(shape) < 3 or 0 in shape:  # the first axis is not that of images in the file
        count = int(np.prod(shape, dtype=object))
        array = np.frombuffer(_read(stream, count * dtype.itemsize), dtype)
        yield 0, array.reshape(shape, order="F" if is_fortran else "C")
        return
    size = int(np.prod(shape[1:], dtype=object))
    for first in range(0, shape[0], BLOCK):
        count = min(BLOCK, shape[0] - first)
        content = _read(stream, count * size * dtype.itemsize)
        yield first, np.frombuffer(content, dtype).reshape(count, *shape[1:])


def _read(stream: Any, size: int) -> bytearray:
    """Return so many bytes; raises ValueError where the file has fewer."""
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = stream.readinto(view[done : done + (1 << 24)])
        if not count:
            raise ValueError("it ends too early")
        done += count
    return content


def identity(file: Path) -> str:
    """Return a text that differs when a file was replaced: its size and the time of its last change."""
    try:
        found = os.stat(file)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
