"""Images that a CSV file lists with their labels, and perhaps with their splits and groups (D7)."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..settings.fields import expanded
from .archive import folder_of
from .csv_file import LineProblems
from .folder_scan import EXTENSIONS, is_image_name
from .image_decoding import unused_bits
from .image_set import FileImages
from .label_table import LabelTable, read_table
from .splits import SPLIT_OF, SPLITS, Splits, test_cut
from .table_columns import Columns

ENDINGS = " ".join(ending[1:] for ending in EXTENSIONS)


def read_labelled(
    path: str,
    table_file: str,
    target: str,
    columns: Columns,
    test_fraction: float,
    split_by: str,
    size: int,
    resize: str,
    channels: int,
    workers: int,
) -> Splits:
    """Return the splits of images whose classes, attributes or values are listed in a CSV file.

    Paths in the file are relative to the folder `path`, "" for that of the file. Splits are those of a
    column, or train/, val/ and test/ if paths begin with them. Without test images, `test_fraction` of the
    training images becomes the test split, the same for every seed, chosen as `split_by` says. Raises
    DataError, with all problems of the lines, if the file or the images cannot be used.
    """
    listed = _Listed.read(path, table_file, target, columns, split_by)
    table = listed.table
    parts = {split: listed.of_split(split) for split in SPLITS}
    if target == "classes":
        _check_classes(table, parts)
    options = (size, resize, channels, workers)
    train, val, test = (listed.images(parts[split], *options) for split in SPLITS)
    if not len(test):
        rest, tested = test_cut(train, test_fraction, split_by)
        train, test = train.subset(rest), train.subset(tested)
    notices = [*table.notices, *listed.without_line(), *filter(None, [unused_bits(train.paths)])]
    return Splits(train, val, test, table.names, notices)


def read_labelled_part(
    path: str,
    table_file: str,
    target: str,
    columns: Columns,
    split_by: str,
    split: str,
    size: int,
    resize: str,
    channels: int,
    workers: int,
) -> tuple[FileImages, list[str], int] | None:
    """Return the listed images of a split, or "all", the names of labels, and how many images are listed.

    None if a split must be cut. Raises DataError if the file or the images cannot be used.
    """
    listed = _Listed.read(path, table_file, target, columns, split_by)
    indices = listed.of_split(split) if split != "all" else list(range(len(listed.paths)))
    has_splits = listed.splits is not None and split in listed.splits
    if split != "all" and not has_splits:
        return None
    images = listed.images(indices, size, resize, channels, workers)
    return images, listed.table.names, len(listed.paths)


@dataclass(frozen=True)
class _Listed:
    """A table and the files of its images, in the order in which they are used.

    order: their positions in the table. paths: of all images. splits: of all images, None without splits.
    """

    root: Path
    table: LabelTable
    order: list[int]
    paths: list[str]
    splits: list[str] | None

    @classmethod
    def read(cls, path: str, table_file: str, target: str, columns: Columns, split_by: str) -> _Listed:
        """Return what a table lists; raises DataError."""
        file = expanded(table_file)
        if path:
            root = folder_of(path)
            file = root / table_file if (root / table_file).is_file() else file
        else:
            root = file.parent
        table = read_table(file, target, columns)
        if not root.is_dir():
            raise DataError(f"{root}: is no folder; write data.path=FOLDER, that of the images")
        paths = _files(root, table, file.name, any_name=target != "classes")
        splits = table.splits
        if splits is None:
            splits = _splits_of_paths(table, SPLIT_OF if split_by == "hash" else {s: s for s in SPLITS})
        if table.groups is not None and splits is not None:
            _check_groups(table, splits)
        table.problems.check()
        order = list(range(len(paths)))
        if target == "classes":  # whatever the order of the lines
            order.sort(key=lambda index: table.images[index])
        return cls(root, table, order, paths, splits)

    def of_split(self, split: str) -> list[int]:
        """Return the positions of the images of a split; all are for training where there are no splits."""
        if self.splits is None:
            return self.order if split == "train" else []
        return [index for index in self.order if self.splits[index] == split]

    def images(self, indices: list[int], size: int, resize: str, channels: int, workers: int) -> FileImages:
        """Return the images at these positions of the table."""
        groups = None if self.table.groups is None else [self.table.groups[index] for index in indices]
        paths, labels = [self.paths[index] for index in indices], self.table.labels_of(indices)
        return FileImages(paths, labels, size, resize, channels, workers, str(self.root), groups)

    def without_line(self) -> list[str]:
        """Return a notice of the images beside listed ones that have no line."""
        listed = {os.path.abspath(path) for path in self.paths}
        others = [
            os.path.join(folder, name)
            for folder in sorted({os.path.dirname(path) for path in listed})
            for name in _names_in(folder)
            if is_image_name(name) and os.path.join(folder, name) not in listed
        ]
        if not others:
            return []
        first = ", ".join(os.path.relpath(path, self.root) for path in others[:5])
        file = self.table.problems.file.name
        return [f"not used, as {file} has no line for them: {len(others)} images ({first})"]


def _files(root: Path, table: LabelTable, table_name: str, any_name: bool) -> list[str]:
    """Return the file of each image; those that cannot be used are problems of the table.

    any_name: whether files may have other endings than images have.
    """
    for cell in table.columns:
        if cell and is_image_name(cell) and (root / cell).is_file():
            raise DataError(
                f"{table_name}: its first line is that of the image {cell}; write one with the "
                f"names of the columns above it: {'file,happy,outdoors' if any_name else 'image,label'}"
            )
    folders = _Folders(root)
    paths, first = list[str](), dict[str, int]()
    for line, name in zip(table.lines, table.images, strict=True):
        found = folders.find(name) if name else None
        paths.append(found or "")
        if found is None:
            if name:
                folders.describe(line, name, table.problems)
        elif not any_name and not is_image_name(os.path.basename(found)):
            table.problems.add(line, f"{name} is no image by its name ({ENDINGS})")
        else:
            other = first.setdefault(os.path.realpath(found), len(paths) - 1)
            if table.images[other] != name:  # one name twice is said already
                twice = (
                    f"{name} and {table.images[other]} in line {table.lines[other]} are one file; keep one"
                )
                table.problems.add(line, twice)
    return paths


class _Folders:
    """Finds the files of names in a folder, each of its folders being listed once at most."""

    def __init__(self, root: Path):
        self.root = root
        self._listed: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """Return the path of a file, whose ending may be left out; None if there is none or more than one."""
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            path = os.path.join(self.root, written)
            if os.path.isfile(path):
                return path
            folder, last = os.path.split(path)
            found = self._entries(folder).get(unicodedata.normalize("NFC", last), [])
            if len(found) == 1:
                return os.path.join(folder, found[0])
        return None

    def describe(self, line: int, name: str, problems: LineProblems) -> None:
        """Add the problem of a name that is not found."""
        folder, last = os.path.split(os.path.join(self.root, name))
        several = self._entries(folder).get(unicodedata.normalize("NFC", last), [])
        if several:
            problems.add(line, f"{name} may be {' or '.join(several)}; write it with its ending")
            return
        within = None
        if not problems.remedies:
            folders = filter(os.path.isdir, (self.root / sub for sub in _names_in(self.root)))
            within = next((folder for folder in folders if _Folders(folder).find(name)), None)
        remedy = f"write data.path={within}" if within else "write paths relative to data.path"
        problems.add(line, f"{name} not found in {self.root}", None if problems.remedies else remedy)

    def _entries(self, folder: str) -> dict[str, list[str]]:
        """Return the names of the images in a folder by their names, with and without ending, in NFC."""
        if folder not in self._listed:
            entries: dict[str, list[str]] = {}
            for name in filter(is_image_name, _names_in(folder)):
                for key in (name, os.path.splitext(name)[0]):
                    entries.setdefault(unicodedata.normalize("NFC", key), []).append(name)
            self._listed[folder] = entries
        return self._listed[folder]


def _names_in(folder: str | Path) -> list[str]:
    """Return the sorted names of what is in a folder, none if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _splits_of_paths(table: LabelTable, split_of: dict[str, str]) -> list[str] | None:
    """Return the split of each image by the first folder of its path; None unless some are in train/."""
    first = [name.replace("\\", "/").partition("/") for name in table.images]
    found = [split_of.get(folder.lower() if split_of is SPLIT_OF else folder) for folder, _, rest in first]
    if "train" not in found:
        return None
    for line, name, split in zip(table.lines, table.images, found, strict=True):
        if split is None and name:
            table.problems.add(
                line, f"{name} is in none of train/, val/ and test/, as others are", "put each image into one"
            )
    return [split or "train" for split in found]


def _check_groups(table: LabelTable, splits: list[str]) -> None:
    """Add a problem for each image whose group has an image in another split."""
    first: dict[str, int] = {}
    for index, group in enumerate(table.groups or []):
        if not group:
            continue
        other = first.setdefault(group, index)
        if splits[other] != splits[index]:
            where = f"in {splits[index]} here and in {splits[other]} in line {table.lines[other]}"
            remedy = "put each group into one split"
            table.problems.add(table.lines[index], f"group {group} is {where}", remedy)


def _check_classes(table: LabelTable, parts: dict[str, list[int]]) -> None:
    """Raise DataError unless there are two classes, each in the training split."""
    where = table.problems.file
    if len(table.names) < 2:
        raise DataError(f"{where}: has only one class ({table.names[0]}); at least two are needed")
    if len(table.names) == len(table.images) > 2:
        raise DataError(
            f"{where}: each of its {len(table.images)} lines has a class of its own; write "
            "data.csv_label=COLUMN, or data.target=values for numbers"
        )
    if not parts["train"]:
        raise DataError(f"{where}: has no training images; write train in the column of splits")
    trained = {table.labels[index] for index in parts["train"]}
    unknown = [name for number, name in enumerate(table.names) if number not in trained]
    if unknown:
        raise DataError(
            f"{where}: no training image is of {_listed(unknown)}, as those of other splits are; give the "
            "classes the same names"
        )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
