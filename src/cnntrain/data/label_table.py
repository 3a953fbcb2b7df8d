"""Labels from a CSV file: attributes or values, one line per image (D7)."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError

# Of values; the largest power of ten whose square float32 holds, as losses square them.
LARGEST_VALUE = 1e18
# Rounding errors of values beside their deviation.
ROUNDING = 1e-3
YES, NO = ("1", "yes", "true"), ("0", "no", "false")


@dataclass(frozen=True)
class LabelTable:
    """The names of the label columns, and the labels of each image by its path, as written in the file.

    first_cell: what stands above the paths in the first line.
    """

    names: list[str]
    rows: dict[str, list[float]]
    first_cell: str


def read_table(file: Path, target: str) -> LabelTable:
    """Return the labels of a CSV file, for the target "attributes" or "values".

    The first line names the columns; the first column is the path of an image, the others are numbers, or
    for attributes yes/no, true/false or 1/0. Raises DataError naming the file and the line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); write data.csv=FILE") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text; save it as CSV in UTF-8") from error
    reader = csv.reader(lines)
    header = next(reader, [])
    names = [name.strip() for name in header[1:]]
    if not names or "" in names or len(set(names)) != len(names):
        raise DataError(
            f"{file}: its first line must name the columns, each once, with commas: file,happy,outdoors"
        )
    rows: dict[str, list[float]] = {}
    for cells in reader:
        if not cells:
            continue
        where = f"{file}, line {reader.line_num}"
        if len(cells) != len(header):
            raise DataError(f"{where}: has {len(cells)} cells, the first line {len(header)}")
        path = cells[0].strip()
        path = os.path.normpath(path) if path else path
        if path in rows:
            raise DataError(f"{where}: {path} has a line already; keep one")
        rows[path] = [_number(cell.strip(), target, where) for cell in cells[1:]]
    if not rows:
        raise DataError(f"{file}: has no lines below the first; write one for each image")
    return LabelTable(names, rows, header[0].strip())


def values_as_float32(values: NDArray[np.float64], names: list[str], where: str) -> Tensor:
    """Return values (N, V) as float32; raises DataError where their differences would be lost.

    where: what messages begin with.
    """
    rounded = values.astype(np.float32)
    if not len(values):
        return torch.from_numpy(rounded)
    errors, deviations = np.abs(rounded - values).max(0), values.std(0)
    for name, error, deviation, mean in zip(names, errors, deviations, values.mean(0), strict=True):
        if error > ROUNDING * deviation > 0:
            raise DataError(
                f"{where}: the values of {name} ({mean:.6g} ± {deviation:.2g}) need more digits than float32 "
                "has; subtract a constant from them"
            )
    return torch.from_numpy(rounded)


def _number(cell: str, target: str, where: str) -> float:
    if target == "attributes":
        if cell.lower() in YES:
            return 1.0
        if cell.lower() in NO:
            return 0.0
        raise DataError(f"{where}: {cell or 'an empty cell'} is no attribute; write 1 or 0, yes or no")
    try:
        value = math.nan if "_" in cell else float(cell)  # Python reads 1_000 as 1000
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {cell or 'an empty cell'} is no number")
    if abs(value) > LARGEST_VALUE:
        raise DataError(f"{where}: {cell} is more than {LARGEST_VALUE:g}; write the values in another unit")
    return value
