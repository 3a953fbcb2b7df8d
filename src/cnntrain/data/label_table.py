"""Labels from a CSV file, one line per image: classes, attributes or values, its split and its group (D7)."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .csv_file import CsvFile, LineProblems, read_csv
from .splits import SPLIT_OF
from .table_columns import GUESSED, Columns, chosen_columns, named_column

# Of values; the largest power of ten whose square float32 holds, as losses square them.
LARGEST_VALUE = 1e18
# Rounding errors of values beside their deviation.
ROUNDING = 1e-3
YES, NO = ("1", "yes", "true"), ("0", "no", "false")


@dataclass(frozen=True)
class LabelTable:
    """The images that a file lists, and their labels.

    columns: all names in the first line. names: of the classes, attributes or values. images: the path of
    each as written, normalized, "" where it is missing; lines: of the file. labels: of each image, a class or
    numbers. splits, groups: of each image, if there are columns of them. problems: of the lines so far.
    notices: which columns were taken.
    """

    columns: list[str]
    names: list[str]
    lines: list[int]
    images: list[str]
    labels: list[int] | list[list[float]]
    splits: list[str] | None
    groups: list[str] | None
    problems: LineProblems
    notices: list[str]

    def labels_of(self, indices: list[int]) -> Tensor:
        """Return the labels of some images: int64 (N,) or float32 (N, V); raises DataError."""
        labels = [self.labels[index] for index in indices]
        if not isinstance(self.labels[0], list):
            return torch.tensor(labels, dtype=torch.int64)
        values = np.array(labels, dtype=np.float64).reshape(len(labels), len(self.names))
        return values_as_float32(values, self.names, str(self.problems.file))


def read_table(file: Path, target: str, columns: Columns = GUESSED) -> LabelTable:
    """Return what a CSV file says of images, for the target "classes", "attributes" or "values".

    The first line names the columns. Classes are text, in the order of their numbers if all are numbers.
    Attributes are 1/0, yes/no or true/false and values numbers, in all columns but the first, which has the
    images, and those that `columns` names. Raises DataError where the file or its columns cannot be used;
    problems of its lines are collected.
    """
    problems = LineProblems(file)
    content = read_csv(file, problems)
    labels: list[int] | list[list[float]]
    if target == "classes":
        chosen, notices = chosen_columns(content, columns)
        image, split, group = chosen["image"], chosen["split"], chosen["group"]
        names, labels = _classes(content, chosen["label"], problems)
    else:
        image = named_column(content, "image", columns.image) if columns.image else 0
        split = named_column(content, "split", columns.split)
        group = named_column(content, "group", columns.group)
        names, labels = _numbers(content, target, (image, split, group), problems)
        notices = []
    assert image is not None
    groups = None if group is None else [cells[group] for _, cells in content.rows]
    if groups and (alone := groups.count("")):
        notices.append(f"{file.name}: {alone} images without a group are in none with others")
    if not content.rows:
        problems.check()
        raise DataError(f"{file}: has no lines below the first; write one for each image")
    return LabelTable(
        content.columns,
        names,
        [line for line, _ in content.rows],
        _images(content, image, labels, problems),
        labels,
        None if split is None else _splits(content, split, problems),
        groups,
        problems,
        notices,
    )


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


def _images(content: CsvFile, column: int, labels: Sequence[Any], problems: LineProblems) -> list[str]:
    """Return the path of each image; an image without a path or with two lines is a problem."""
    paths = list[str]()
    first: dict[str, int] = {}
    for index, (line, cells) in enumerate(content.rows):
        path = os.path.normpath(cells[column]) if cells[column] else ""
        paths.append(path)
        if not path:
            problems.add(line, f"{content.columns[column] or 'the image'} is empty")
            continue
        before = first.setdefault(path, index)
        if before == index:
            continue
        with_label = " with another label" if labels[before] != labels[index] else ""
        problems.add(
            line, f"{path} has a line already{with_label} (line {content.rows[before][0]}); keep one"
        )
    return paths


def _classes(content: CsvFile, column: int | None, problems: LineProblems) -> tuple[list[str], list[int]]:
    """Return the names of the classes, and the class of each image."""
    assert column is not None
    cells = [unicodedata.normalize("NFC", cells[column]) for _, cells in content.rows]
    for (line, _), cell in zip(content.rows, cells, strict=True):
        if not cell:
            problems.add(line, f"{content.columns[column]} is empty")
    names = _sorted(cells)
    number_of = {name: number for number, name in enumerate(names)}
    return names, [number_of[cell] for cell in cells]


def _sorted(cells: Iterable[str]) -> list[str]:
    """Return the different names: by number if all of them are numbers, else as text."""
    names = sorted(set(cells))
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return names
    if not all(map(math.isfinite, numbers.values())):
        return names
    return sorted(names, key=lambda name: (numbers[name], name))


def _numbers(
    content: CsvFile, target: str, others: tuple[int | None, ...], problems: LineProblems
) -> tuple[list[str], list[list[float]]]:
    """Return the names of the columns of labels, all but `others`, and the numbers of each image in them."""
    columns = [column for column in range(len(content.columns)) if column not in others]
    names = [content.columns[column] for column in columns]
    if not names or "" in names or len(set(names)) != len(names):
        raise DataError(
            f"{content.file}: its first line must name the columns, each once, with commas: "
            "file,happy,outdoors"
        )
    labels = []
    for line, cells in content.rows:
        numbers = []
        for column in columns:
            try:
                numbers.append(_number(cells[column], target))
            except ValueError as error:
                numbers.append(math.nan)
                problems.add(line, str(error))
        labels.append(numbers)
    return names, labels


def _number(cell: str, target: str) -> float:
    """Return the number in a cell; raises ValueError."""
    written = cell or "an empty cell"
    if cell.lower() in SPLIT_OF:
        written += " (if it is the image's split: data.csv_split=COLUMN)"
    if target == "attributes":
        if cell.lower() in YES:
            return 1.0
        if cell.lower() in NO:
            return 0.0
        raise ValueError(f"{written} is no attribute; write 1 or 0, yes or no")
    try:
        value = math.nan if "_" in cell else float(cell)  # Python reads 1_000 as 1000
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{written} is no number")
    if abs(value) > LARGEST_VALUE:
        raise ValueError(f"{cell} is more than {LARGEST_VALUE:g}; write the values in another unit")
    return value


def _splits(content: CsvFile, column: int, problems: LineProblems) -> list[str]:
    """Return the split of each image, "train" where it has none or an unknown one, as a problem."""
    found = []
    for line, cells in content.rows:
        cell = cells[column]
        split = SPLIT_OF.get(cell.lower())
        if split is None:
            name = content.columns[column]
            problem = f"{name}={cell} is no split" if cell else f"{name} is empty"
            remedy = f"write train, val or test in each line, or data.csv_split=none to ignore {name}"
            problems.add(line, problem, remedy)
        found.append(split or "train")
    return found
