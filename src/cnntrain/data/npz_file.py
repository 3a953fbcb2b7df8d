"""Images and labels from an .npz file with x_train, y_train, x_test, y_test, and x_val, y_val if any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..machine_errors import remedy
from ..settings.fields import expanded
from .image_set import MemoryImages
from .label_table import LARGEST_VALUE, values_as_float32
from .splits import SPLITS, Splits

KEYS = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_val", "y_val")
NAMES = "names"


def read_npz(
    path: str,
    class_names: list[str] | None = None,
    shape: tuple[int, int, int] | None = None,
    target: str = "classes",
) -> Splits:
    """Return the splits of an .npz file.

    Images are (N, H, W) or (N, H, W, C), uint8, or floats in [0, 1], which are scaled by 255; labels are
    integers (N,) or (N, 1). Without `class_names` the classes are 0 … the largest training label, and each
    must occur. `shape`: the required (height, width, channels), None for any. For the `target` "attributes"
    labels are 0 or 1, (N, A), for "values" any numbers, (N, V) or (N,); an optional array `names` holds the
    names of the attributes, values or classes. Without x_val and y_val, the validation split is empty.
    Raises DataError if the file cannot be used.
    """
    file = expanded(path)
    arrays, notices = _read_arrays(file)
    splits = {
        split: MemoryImages(
            _images(file, f"x_{split}", arrays[f"x_{split}"]),
            _read_labels(file, f"y_{split}", arrays[f"y_{split}"], len(arrays[f"x_{split}"]), target),
        )
        for split in SPLITS
        if f"x_{split}" in arrays
    }
    train, test = splits["train"], splits["test"]
    for split, images in splits.items():
        if train.shape != images.shape:
            raise DataError(
                f"{file}: x_train has images of {_format_shape(train.shape)}, "
                f"x_{split} of {_format_shape(images.shape)}; make them the same"
            )
    if shape is not None and train.shape != shape:
        raise DataError(
            f"{file}: has images of {_format_shape(train.shape)}, this data set has {_format_shape(shape)}; "
            "replace the file, or use data=npz for your own arrays"
        )
    val = splits.get("val") or train.subset(torch.empty(0, dtype=torch.int64))
    if target != "classes":
        for split, images in splits.items():
            if images.labels.shape[1] != train.labels.shape[1]:
                raise DataError(
                    f"{file}: y_train has {train.labels.shape[1]} columns, y_{split} "
                    f"{images.labels.shape[1]}; "
                    "make them the same"
                )
        columns = [str(column) for column in range(train.labels.shape[1])]
        return Splits(train, val, test, _names_or_default(file, arrays, columns), notices)
    if class_names is None:
        class_names = _names_or_default(file, arrays, _class_names(file, train.labels))
    for split, images in splits.items():
        largest = int(images.labels.max())
        if largest >= len(class_names):
            raise DataError(
                f"{file}: y_{split} has the label {largest}, out of range for {len(class_names)} classes "
                f"(0 … {len(class_names) - 1}); correct the labels"
            )
    return Splits(train, val, test, class_names, notices)


def _read_arrays(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the arrays of the splits, and `names` if present, with a notice of those that are not used.

    Raises DataError for any exception of numpy or zipfile, which raise many kinds for a damaged file.
    """
    if not file.is_file():
        problem = "is not a file" if file.exists() else "does not exist"
        raise DataError(f"{file}: {problem}; specify an .npz file with {', '.join(KEYS)}")
    key = ""
    try:
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{file}: is a single array (.npy); save {', '.join(KEYS)} with numpy.savez")
            missing = [key for key in KEYS if key not in loaded]
            if missing:
                raise DataError(
                    f"{file}: has no {', '.join(missing)} (it has {', '.join(loaded) or 'nothing'}); "
                    f"save {', '.join(KEYS)} with numpy.savez"
                )
            of_val = [key for key in VALIDATION if key in loaded]
            if len(of_val) == 1:
                raise DataError(f"{file}: has {of_val[0]} alone; save {' and '.join(VALIDATION)}, or neither")
            used = [*KEYS, *of_val, *(name for name in (NAMES,) if name in loaded)]
            arrays = {}
            for key in used:
                arrays[key] = loaded[key]
            others = [name for name in loaded if name not in used]
            known = f"{', '.join((*KEYS, *VALIDATION))} and {NAMES} are"
            return arrays, [f"not used of {file}: {', '.join(others)} ({known})"] if others else []
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); {remedy(error)}") from error
    except Exception as error:
        if "allow_pickle" in str(error) and key:
            raise DataError(
                f"{file}: {key} has Python objects inside, which are not read since they could run code; "
                "save it as an array of numbers"
            ) from error
        if "pickle" in str(error):
            raise DataError(f"{file}: is not an .npz file; save the arrays with numpy.savez") from error
        where = f" at {key}" if key else ""
        raise DataError(
            f"{file}: is damaged or not an .npz file{where} ({str(error) or type(error).__name__}); "
            "replace the file"
        ) from error


def _images(file: Path, key: str, array: Any) -> Tensor:
    """Return an array of images as uint8 (N, H, W, C)."""
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"{file}: {key} has the shape {array.shape}; save it as (N, height, width) or "
            "(N, height, width, channels), none of them 0"
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3, 4):
        raise DataError(
            f"{file}: {key} has the shape {array.shape}, channels first; save it as "
            "(N, height, width, channels): x.transpose(0, 2, 3, 1)"
        )
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not np.isfinite([low, high]).all():
            raise DataError(f"{file}: {key} has values that are NaN or infinite; correct them")
        if low < 0 or high > 1:
            raise DataError(
                f"{file}: {key} has numbers from {low:g} to {high:g}; floats must lie in [0, 1], "
                "and pixels 0 … 255 must be saved as uint8"
            )
        array = np.rint(array * np.float32(255)).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"{file}: {key} is of type {array.dtype}; save it as uint8 (0 … 255)")
    images = np.ascontiguousarray(array if array.ndim == 4 else array[..., None])
    return torch.from_numpy(images)


def _read_labels(file: Path, key: str, array: Any, images: int, target: str) -> Tensor:
    """Return an array of labels as int64 (N,), or as float32 (N, V) for attributes and values."""
    labels = _classes(file, key, array) if target == "classes" else _columns(file, key, array, target)
    if len(labels) != images:
        raise DataError(
            f"{file}: {key} has {len(labels)} labels, {key.replace('y', 'x')} has {images} images; "
            "save one label per image"
        )
    return labels


def _columns(file: Path, key: str, array: Any, target: str) -> Tensor:
    """Return attributes or values as float32 (N, V)."""
    if array.ndim == 1 and target == "values":
        array = array[:, None]
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"{file}: {key} has the shape {array.shape}; save {target} as (N, number of {target})"
        )
    if array.dtype.kind not in "iufb":
        raise DataError(f"{file}: {key} is of type {array.dtype}; save {target} as numbers")
    if not np.isfinite(array).all():
        raise DataError(f"{file}: {key} has values that are NaN or infinite; correct them")
    largest = max(abs(float(array.min())), abs(float(array.max())))
    if largest > LARGEST_VALUE:
        raise DataError(
            f"{file}: {key} has values of up to {largest:.2g}, more than {LARGEST_VALUE:g}; save them in "
            "another unit"
        )
    columns = [f"column {number}" for number in range(array.shape[1])]
    labels = values_as_float32(array.astype(np.float64), columns, f"{file}: {key}")
    if target == "attributes" and not ((labels == 0) | (labels == 1)).all():
        raise DataError(f"{file}: {key} has other numbers than 0 and 1; attributes are 0 or 1")
    return labels


def _names_or_default(file: Path, arrays: dict[str, Any], default: list[str]) -> list[str]:
    """Return the names in the file, which must be as many as `default` and distinct, else `default`."""
    if NAMES not in arrays:
        return default
    names = [str(name) for name in arrays[NAMES].flatten().tolist()]
    if len(names) != len(default) or len(set(names)) != len(names):
        raise DataError(
            f"{file}: names has {len(names)} entries ({len(set(names))} different), the labels need "
            f"{len(default)}; name each once, or leave names out"
        )
    return names


def _classes(file: Path, key: str, array: Any) -> Tensor:
    """Return an array of classes as int64 (N,)."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{file}: {key} has the shape {array.shape}; save one whole number per image, of shape (N,)"
        )
    if array.dtype.kind not in "iu":
        raise DataError(f"{file}: {key} is of type {array.dtype}; save labels as whole numbers (int64)")
    if len(array) and int(array.min()) < 0:
        raise DataError(f"{file}: {key} has the negative label {int(array.min())}; labels start at 0")
    if int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{file}: {key} has the label {int(array.max())}; labels are 0 … classes - 1")
    return torch.from_numpy(array.astype(np.int64))


def _class_names(file: Path, labels: Tensor) -> list[str]:
    """Return the names of the classes 0 … largest label; raises DataError if one of them does not occur."""
    present = np.unique(labels.numpy()).tolist()
    if len(present) == 1:
        raise DataError(f"{file}: y_train has only one class ({present[0]}); at least two are needed")
    classes = present[-1] + 1
    if classes != len(present):
        absent = next(label for label, value in enumerate(present) if label != value)
        raise DataError(
            f"{file}: y_train goes up to {classes - 1} but has no label {absent}; "
            "number the classes from 0 without gaps"
        )
    return [str(label) for label in range(classes)]


def _format_shape(shape: tuple[int, int, int]) -> str:
    return "x".join(str(length) for length in shape)
