"""Data of the user's own: their function is called, and what it returns is checked and read into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..errors import DataError
from ..output_streams import is_quiet
from ..user_code import UserFunction, kind_of
from .arrays import ArraySource, checked_arrays, with_test_split
from .image_loading import GB
from .splits import SPLITS, Splits

NAMES = "names"
EXPECTED = "a mapping {'train': (images, labels)}, and 'val', 'test' and 'names' if any"


def read_custom(function: UserFunction, target: str, test_fraction: float, memory_limit_gb: float) -> Splits:
    """Return the splits of the user's function; `val` is empty unless it returns one.

    Without a test split, test_fraction of the training images are cut off, the same for every seed. Raises
    ConfigError where it cannot be called or fails, DataError where it returns what is no data set.
    """
    returned = function.call()
    if problem := _problem(returned):
        raise DataError(f"{function.prefix}: {problem}")
    with function.running("reading the data that it returned", DataError):
        arrays = {
            split: _arrays(function, split, returned[split], memory_limit_gb)
            for split in SPLITS
            if returned.get(split) is not None
        }
    source = ArraySource(function.prefix, "return", "images of {}", "labels of {}")
    names = returned.get(NAMES)
    class_names = None if names is None or target != "classes" else [str(name) for name in names]
    parts, names = checked_arrays(source, arrays, names, target, class_names)
    return with_test_split(parts, names, test_fraction)


def _problem(returned: object) -> str | None:
    """Return what is wrong with what the user's function returned as a whole, or None."""
    if not isinstance(returned, Mapping):
        return f"returned {kind_of(returned)}; it must return {EXPECTED}"
    unknown = [key for key in returned if key not in (*SPLITS, NAMES)]
    if unknown or returned.get("train") is None:
        what = f"the key {unknown[0]!r}" if unknown else "no 'train'"
        return f"returned a mapping with {what}; it must return {EXPECTED}"
    for split in SPLITS:
        part = returned.get(split)
        is_dataset = hasattr(part, "__getitem__") and hasattr(part, "__len__")
        if part is not None and not (is_dataset or isinstance(part, tuple | list)):
            return f"returned {kind_of(part)} as {split}; it must be a pair (images, labels) or a Dataset"
    names = returned.get(NAMES)
    if names is not None and (isinstance(names, str) or not hasattr(names, "__len__")):
        return f"returned {kind_of(names)} as names; it must be a list of names"
    return None


def _arrays(function: UserFunction, split: str, part: Any, memory_limit_gb: float) -> tuple[Any, Any]:
    """Return images and labels of a split as NumPy arrays."""
    if isinstance(part, tuple | list) and len(part) == 2 and getattr(part[0], "ndim", 0) >= 3:
        return _array(part[0]), _array(part[1])
    return _read_dataset(function, split, part, memory_limit_gb)


def _read_dataset(function: UserFunction, split: str, dataset: Any, limit_gb: float) -> tuple[Any, Any]:
    """Return all images uint8 (N, H, W, C) and labels of a Dataset of (image, label) pairs."""
    count = len(dataset)
    if not count:
        raise DataError(f"{function.prefix}: {split} has no images")
    pixels: Any = None
    labels = []
    bar = tqdm(range(count), desc=f"reading {split}", leave=False, disable=True if is_quiet() else None)
    for index in bar:
        item = dataset[index]
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise DataError(
                f"{function.prefix}: {split}[{index}] is {kind_of(item)}; it must be a pair (image, label)"
            )
        image = _image(function, f"{split}[{index}]", item[0])
        if pixels is None:
            _check_memory(function, split, count, image, limit_gb)
            pixels = np.empty((count, *image.shape), dtype=np.uint8)
        if image.shape != pixels.shape[1:]:
            first, other = ("x".join(map(str, shape)) for shape in (pixels.shape[1:], image.shape))
            raise DataError(
                f"{function.prefix}: {split}[{index}] is an image of {other}, {split}[0] of {first}; resize "
                "all to one size"
            )
        pixels[index] = image
        labels.append(_array(item[1]))
    return pixels, np.asarray(labels)


def _check_memory(function: UserFunction, split: str, count: int, image: Any, limit_gb: float) -> None:
    gigabytes = count * image.size / GB
    if gigabytes > limit_gb:
        raise DataError(
            f"{function.prefix}: {split} has {count} images, {gigabytes:.3g} GB, more than "
            f"data.memory_limit_gb={limit_gb:g}; write a larger one, or make the images smaller"
        )


def _image(function: UserFunction, key: str, image: Any) -> Any:
    """Return an image of a Dataset as uint8 (H, W, C).

    It is one of Pillow, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W), as of torchvision.
    """
    is_tensor = isinstance(image, Tensor)
    array = _array(image)
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and is_tensor and array.shape[0] in (1, 2, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3:
        raise DataError(
            f"{function.prefix}: {key} has an image of shape {array.shape}; make it an array (H, W, C), a "
            "tensor (C, H, W), or an image of Pillow"
        )
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"{function.prefix}: {key} has numbers from {low:g} to {high:g}; floats must lie in [0, 1], "
                "so leave normalization to the program (preprocessing=standardize)"
            )
        return np.rint(array * np.float32(255)).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(
            f"{function.prefix}: {key} has an image of type {array.dtype}; make it uint8 (0 … 255)"
        )
    return array


def _array(value: Any) -> Any:
    """Return a tensor, an image of Pillow, a list or a number as a NumPy array."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return np.asarray(value)
