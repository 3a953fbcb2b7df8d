"""Images and labels given as arrays: checked, and converted to uint8 images and labels of one kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..settings.fields import shorten
from .image_set import MemoryImages
from .label_table import LARGEST_VALUE, values_as_float32
from .splits import Splits, test_cut


@dataclass(frozen=True)
class ArraySource:
    """How messages call the arrays: name of their source, of the images and labels of a split.

    verb: what the user does to change them, such as "save".
    """

    name: str
    verb: str = "save"
    images: str = "x_{}"
    labels: str = "y_{}"


def checked_arrays(
    source: ArraySource,
    arrays: dict[str, tuple[Any, Any]],
    names: Any = None,
    target: str = "classes",
    class_names: list[str] | None = None,
    shape: tuple[int, int, int] | None = None,
) -> tuple[dict[str, MemoryImages], list[str]]:
    """Return the splits of NumPy arrays (images, labels) by name, and the names of classes or columns.

    arrays: at least of "train". names: an array of names, None for numbers. class_names, shape: those that
    are required, None for any. Raises DataError for arrays that cannot be used; see `read_npz`.
    """
    splits = {
        split: MemoryImages(
            images_as_uint8(source, source.images.format(split), images),
            _labels(source, split, labels, len(images), target),
        )
        for split, (images, labels) in arrays.items()
    }
    _check_shapes(source, splits, shape)
    train = splits["train"]
    if target != "classes":
        for split, part in splits.items():
            if part.labels.shape[1] != train.labels.shape[1]:
                raise DataError(
                    f"{source.name}: {source.labels.format('train')} has {train.labels.shape[1]} columns, "
                    f"{source.labels.format(split)} {part.labels.shape[1]}; make them the same"
                )
        columns = [str(column) for column in range(train.labels.shape[1])]
        return splits, _names_or_default(source, names, columns)
    if class_names is None:
        class_names = _names_or_default(source, names, _class_names(source, train.labels))
    for split, part in splits.items():
        largest = int(part.labels.max())
        if largest >= len(class_names):
            raise DataError(
                f"{source.name}: {source.labels.format(split)} has the label {largest}, out of range for "
                f"{len(class_names)} classes (0 … {len(class_names) - 1}); correct the labels"
            )
    return splits, class_names


def _check_shapes(
    source: ArraySource, splits: dict[str, MemoryImages], shape: tuple[int, int, int] | None
) -> None:
    """Raise DataError unless the images of all splits have one shape, and the required one."""
    first = splits["train"].shape
    for split, part in splits.items():
        if part.shape != first:
            raise DataError(
                f"{source.name}: {source.images.format('train')} has images of {_format_shape(first)}, "
                f"{source.images.format(split)} of {_format_shape(part.shape)}; make them the same"
            )
    if shape is not None and first != shape:
        raise DataError(
            f"{source.name}: has images of {_format_shape(first)}, this data set has "
            f"{_format_shape(shape)}; replace the file, or use data=npz for your own arrays"
        )


def with_test_split(
    parts: dict[str, MemoryImages], names: list[str], test_fraction: float, notices: list[str] | None = None
) -> Splits:
    """Return splits of which "train" is given; without "test", it is cut from the training images."""
    train = parts["train"]
    val = parts.get("val") or train.subset(torch.empty(0, dtype=torch.int64))
    if "test" in parts:
        return Splits(train, val, parts["test"], names, notices or [])
    rest, test = test_cut(train, test_fraction, "position")
    return Splits(train.subset(rest), val, train.subset(test), names, notices or [])


def images_as_uint8(source: ArraySource, key: str, array: Any) -> Tensor:
    """Return an array of images as uint8 (N, H, W, C); raises DataError naming the source and the key."""
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"{source.name}: {key} has the shape {array.shape}; {source.verb} it as (N, height, width) or "
            "(N, height, width, channels), none of them 0"
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3, 4):
        raise DataError(
            f"{source.name}: {key} has the shape {array.shape}, channels first; {source.verb} it as "
            "(N, height, width, channels): x.transpose(0, 2, 3, 1)"
        )
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not np.isfinite([low, high]).all():
            raise DataError(f"{source.name}: {key} has values that are NaN or infinite; correct them")
        if low < 0 or high > 1:
            raise DataError(
                f"{source.name}: {key} has numbers from {low:g} to {high:g}; floats must lie in [0, 1], "
                "and pixels 0 … 255 must be uint8"
            )
        array = np.rint(array * np.float32(255)).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"{source.name}: {key} is of type {array.dtype}; {source.verb} it as uint8 (0 … 255)")
    # torch warns of memory that it could write to, such as that of a file.
    images = np.require(array if array.ndim == 4 else array[..., None], requirements=["C", "W"])
    return torch.from_numpy(images)


def _labels(source: ArraySource, split: str, array: Any, images: int, target: str) -> Tensor:
    """Return an array of labels as int64 (N,), or as float32 (N, V) for attributes and values."""
    key = source.labels.format(split)
    labels = _classes(source, key, array) if target == "classes" else _columns(source, key, array, target)
    if len(labels) != images:
        raise DataError(
            f"{source.name}: {key} has {len(labels)} labels, {source.images.format(split)} has {images} "
            f"images; {source.verb} one label per image"
        )
    return labels


def _columns(source: ArraySource, key: str, array: Any, target: str) -> Tensor:
    """Return attributes or values as float32 (N, V)."""
    if array.ndim == 1 and target == "values":
        array = array[:, None]
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"{source.name}: {key} has the shape {array.shape}; {source.verb} {target} as "
            f"(N, number of {target})"
        )
    if array.dtype.kind not in "iufb":
        raise DataError(f"{source.name}: {key} is of type {array.dtype}; {source.verb} {target} as numbers")
    if not np.isfinite(array).all():
        raise DataError(f"{source.name}: {key} has values that are NaN or infinite; correct them")
    largest = max(abs(float(array.min())), abs(float(array.max())))
    if largest > LARGEST_VALUE:
        raise DataError(
            f"{source.name}: {key} has values of up to {largest:.2g}, more than {LARGEST_VALUE:g}; "
            f"{source.verb} them in another unit"
        )
    columns = [f"column {number}" for number in range(array.shape[1])]
    labels = values_as_float32(array.astype(np.float64), columns, f"{source.name}: {key}")
    if target == "attributes" and not ((labels == 0) | (labels == 1)).all():
        raise DataError(f"{source.name}: {key} has other numbers than 0 and 1; attributes are 0 or 1")
    return labels


def _names_or_default(source: ArraySource, given: Any, default: list[str]) -> list[str]:
    """Return the names given, which must be as many as `default` and distinct, else `default`."""
    if given is None:
        return default
    names = [str(name) for name in np.asarray(given).flatten().tolist()]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{source.name}: names has {shorten(twice[0])!r} {Counter(names)[twice[0]]} times; give each "
            "label a name of its own"
        )
    if len(names) != len(default):
        raise DataError(
            f"{source.name}: names has {len(names)} entries, the labels need {len(default)}; name each, or "
            "leave names out"
        )
    return names


def _classes(source: ArraySource, key: str, array: Any) -> Tensor:
    """Return an array of classes as int64 (N,)."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{source.name}: {key} has the shape {array.shape}; {source.verb} one whole number per image, of "
            "shape (N,)"
        )
    if array.dtype.kind not in "iu":
        raise DataError(
            f"{source.name}: {key} is of type {array.dtype}; {source.verb} labels as whole numbers (int64)"
        )
    if len(array) and int(array.min()) < 0:
        raise DataError(f"{source.name}: {key} has the negative label {int(array.min())}; labels start at 0")
    if int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{source.name}: {key} has the label {int(array.max())}; labels are 0 … classes - 1")
    return torch.from_numpy(array.astype(np.int64))


def _class_names(source: ArraySource, labels: Tensor) -> list[str]:
    """Return the names of the classes 0 … largest label; raises DataError if one of them does not occur."""
    key = source.labels.format("train")
    present = np.unique(labels.numpy()).tolist()
    if len(present) == 1:
        raise DataError(f"{source.name}: {key} has only one class ({present[0]}); at least two are needed")
    classes = present[-1] + 1
    if classes != len(present):
        absent = next(label for label, value in enumerate(present) if label != value)
        raise DataError(
            f"{source.name}: {key} goes up to {classes - 1} but has no label {absent}; "
            "number the classes from 0 without gaps"
        )
    return [str(label) for label in range(classes)]


def _format_shape(shape: tuple[int, int, int]) -> str:
    return "x".join(str(length) for length in shape)
