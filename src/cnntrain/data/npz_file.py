"""Images and labels from an .npz file with x_train, y_train, x_test, y_test, and x_val, y_val if any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..machine_errors import remedy
from ..settings.fields import expanded
from .arrays import ArraySource, checked_arrays
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
    given = {
        split: (arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in SPLITS if f"x_{split}" in arrays
    }
    source = ArraySource(str(file))
    parts, names = checked_arrays(source, given, arrays.get(NAMES), target, class_names, shape)
    train = parts["train"]
    val = parts.get("val") or train.subset(torch.empty(0, dtype=torch.int64))
    return Splits(train, val, parts["test"], names, notices)


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
