"""Images and labels from an .npz file: x_train, y_train, x_test, y_test, as Keras lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .images import MemoryImages
from .splits import Splits

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(
    path: str, class_names: list[str] | None = None, shape: tuple[int, int, int] | None = None
) -> Splits:
    """Return the splits of an .npz file.

    Images are (N, H, W) or (N, H, W, C), uint8, or floats in [0, 1], which are scaled by 255; labels are
    whole numbers (N,) or (N, 1). Without `class_names` the classes are 0 … the largest training label,
    and each must occur. `shape` is the (height, width, channels) the images must have, if it is known.
    Raises DataError.
    """
    file = Path(path).expanduser()
    arrays = _read_arrays(file)
    train, test = (
        MemoryImages(
            _images(file, f"x_{split}", arrays[f"x_{split}"]),
            _labels(file, f"y_{split}", arrays[f"y_{split}"], len(arrays[f"x_{split}"])),
        )
        for split in ("train", "test")
    )
    if train.shape != test.shape:
        raise DataError(
            f"{file}: x_train has images of {_spelt(train.shape)}, x_test of {_spelt(test.shape)}; "
            "make them the same"
        )
    if shape is not None and train.shape != shape:
        raise DataError(
            f"{file}: has images of {_spelt(train.shape)}, this data set has {_spelt(shape)}; "
            "replace the file, or use data=npz for your own arrays"
        )
    if class_names is None:
        class_names = _classes_found(file, train.labels)
    for key, images in (("y_train", train), ("y_test", test)):
        largest = int(images.labels.max())
        if largest >= len(class_names):
            raise DataError(
                f"{file}: {key} has the label {largest}, out of range for {len(class_names)} classes "
                f"(0 … {len(class_names) - 1}); correct the labels"
            )
    return Splits(train, train.subset(torch.empty(0, dtype=torch.int64)), test, class_names)


def _read_arrays(file: Path) -> dict[str, Any]:
    """Return the four arrays; numpy and zipfile raise many kinds of errors for a damaged file."""
    if not file.is_file():
        what = "is not a file" if file.exists() else "does not exist"
        raise DataError(f"{file}: {what}; name an .npz file with {', '.join(KEYS)}")
    key = ""
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{file}: is a single array (.npy); save {', '.join(KEYS)} with numpy.savez")
            missing = [key for key in KEYS if key not in loaded]
            if missing:
                raise DataError(
                    f"{file}: has no {', '.join(missing)} (it has {', '.join(loaded) or 'nothing'}); "
                    f"save {', '.join(KEYS)} with numpy.savez"
                )
            arrays = {}
            for key in KEYS:
                arrays[key] = loaded[key]
            return arrays
    except DataError:
        raise
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
                "and pixels 0 … 255 be saved as uint8"
            )
        array = np.rint(array * np.float32(255)).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"{file}: {key} is of type {array.dtype}; save it as uint8 (0 … 255)")
    images = np.ascontiguousarray(array if array.ndim == 4 else array[..., None])
    return torch.from_numpy(images)


def _labels(file: Path, key: str, array: Any, images: int) -> Tensor:
    """Return an array of labels as int64 (N,)."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{file}: {key} has the shape {array.shape}; save one whole number per image, of shape (N,)"
        )
    if array.dtype.kind not in "iu":
        raise DataError(f"{file}: {key} is of type {array.dtype}; save labels as whole numbers (int64)")
    if len(array) != images:
        raise DataError(
            f"{file}: {key} has {len(array)} labels, {key.replace('y', 'x')} has {images} images; "
            "save one label per image"
        )
    if int(array.min()) < 0:
        raise DataError(f"{file}: {key} has the negative label {int(array.min())}; labels start at 0")
    if int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{file}: {key} has the label {int(array.max())}; labels are 0 … classes - 1")
    return torch.from_numpy(array.astype(np.int64))


def _classes_found(file: Path, labels: Tensor) -> list[str]:
    """Return a name for each label 0 … the largest, all of which must occur."""
    present = np.unique(labels.numpy()).tolist()
    if len(present) == 1:
        raise DataError(f"{file}: y_train has only one class ({present[0]}); there is nothing to tell apart")
    classes = present[-1] + 1
    if classes != len(present):
        absent = next(label for label, found in enumerate(present) if label != found)
        raise DataError(
            f"{file}: y_train goes up to {classes - 1} but has no label {absent}; "
            "number the classes from 0 without gaps"
        )
    return [str(label) for label in range(classes)]


def _spelt(shape: tuple[int, int, int]) -> str:
    return "x".join(str(length) for length in shape)
