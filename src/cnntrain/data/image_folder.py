"""Images from folders: one folder per class, named after the class, or images labelled by a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import DataError
from .image_decoding import DamagedImages
from .image_set import FileImages
from .label_table import read_table
from .splits import Splits, stratified_cut

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLITS = ("train", "val", "test")
IMAGENET_CLASSES = 1000
GB = 10**9


def read_folder(
    path: str, test_fraction: float, size: int, resize: str, channels: int, workers: int
) -> Splits:
    """Return the splits of a folder with one folder per class, as `FileImages`.

    If it contains train/, the splits are train/, val/ and test/, each with one folder per class; otherwise
    the class folders are directly in it. Without test/, `test_fraction` of the training images becomes the
    test split, the same for every seed; without val/, `val` is empty. Raises DataError if the folder cannot
    be used.
    """
    root = Path(path).expanduser()
    folders = _folders(root)
    if "train" in folders:
        others = [name for name in folders if name not in SPLITS]
        if others:
            raise DataError(
                f"{root}: has train/ but also {', '.join(others[:5])}; "
                "keep only train/, val/ and test/, with one folder per class in each"
            )
    elif any(name in SPLITS for name in folders):
        splits_found = " and ".join(sorted(set(folders) & set(SPLITS)))
        raise DataError(f"{root}: has {splits_found} but no train/; add it")

    files = _class_files(root / "train" if "train" in folders else root)
    names = list(files)
    splits = {"train": _images(files, names, size, resize, channels, workers)}
    for split in ("val", "test"):
        if "train" in folders and split in folders:
            files = _class_files(root / split)
            _check_known(root / split, files, names)
            splits[split] = _images(files, names, size, resize, channels, workers)
    train = splits["train"]
    if "test" not in splits:
        rest, cut = stratified_cut(train.labels, test_fraction, seed=0, purpose="folder test")
        train, splits["test"] = train.subset(rest), train.subset(cut)
    val = splits.get("val", train.subset(torch.empty(0, dtype=torch.int64)))
    return Splits(train, val, splits["test"], names)


def read_labelled(
    path: str,
    table_file: str,
    target: str,
    test_fraction: float,
    size: int,
    resize: str,
    channels: int,
    workers: int,
) -> Splits:
    """Return the splits of images whose attributes or values are listed in a CSV file, as `FileImages`.

    Paths in the file are relative to the folder. If they begin with train/, val/ and test/, these are the
    splits. Without test images, `test_fraction` of the training images becomes the test split, the same for
    every seed. Raises DataError if the file or the images cannot be used.
    """
    root = Path(path).expanduser()
    in_root = root / table_file
    table = read_table(in_root if in_root.is_file() else Path(table_file).expanduser(), target)
    missing = [name for name in table.rows if not (root / name).is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{table_file}: {', '.join(missing[:5])}{more} not found in {root}; "
            "write paths relative to data.path"
        )
    names = {split: [name for name in table.rows if name.startswith(f"{split}/")] for split in SPLITS}
    if not names["train"]:
        names = {"train": list(table.rows), "val": [], "test": []}
    elif outside := [name for name in table.rows if not name.startswith(tuple(f"{s}/" for s in SPLITS))]:
        raise DataError(
            f"{table_file}: has train/ but also {outside[0]}; put each image into train/, val/ or test/"
        )

    def images(chosen: list[str]) -> FileImages:
        labels = torch.tensor([table.rows[name] for name in chosen]).view(len(chosen), len(table.names))
        return FileImages([str(root / name) for name in chosen], labels, size, resize, channels, workers)

    train, val, test = (images(names[split]) for split in SPLITS)
    if not len(test):
        rest, cut = stratified_cut(train.labels, test_fraction, seed=0, purpose="folder test")
        train, test = train.subset(rest), train.subset(cut)
    return Splits(train, val, test, table.names)


def read_imagenet(root: str, size: int, workers: int) -> Splits:
    """Return ImageNet from train/ and val/ below `root`, as `FileImages`; val/ is the test split.

    Raises DataError if the folders cannot be used or do not have 1000 classes.
    """
    folder = Path(root).expanduser()
    folders = _folders(folder)
    missing = [split for split in ("train", "val") if split not in folders]
    if missing:
        raise DataError(
            f"{folder}: has no {' and no '.join(missing)}; download ImageNet from image-net.org "
            "and arrange it as train/ and val/ with one folder per class (n01440764, …)"
        )
    names: list[str] = []
    splits = {}
    for split in ("train", "val"):
        files = _class_files(folder / split)
        if len(files) != IMAGENET_CLASSES:
            raise DataError(
                f"{folder / split}: has {len(files)} class folders, ImageNet has {IMAGENET_CLASSES}; "
                "complete it, or use data=folder for a subset"
            )
        names = names or list(files)
        _check_known(folder / split, files, names)
        splits[split] = _images(files, names, size, "crop", 3, workers)
    empty = splits["train"].subset(torch.empty(0, dtype=torch.int64))
    return Splits(splits["train"], empty, splits["val"], names)


def into_memory(splits: Splits, limit_gb: float) -> Splits:
    """Return the splits decoded into memory if all three together fit into `limit_gb` GB, else unchanged.

    Raises DataError naming the damaged files of all splits.
    """
    parts = [splits.train, splits.val, splits.test]
    height, width, channels = splits.train.shape
    if sum(len(part) for part in parts) * height * width * channels > limit_gb * GB:
        return splits
    decoded, damaged = [], []
    for part in parts:
        assert isinstance(part, FileImages)
        try:
            decoded.append(part.to_memory(progress=True))
        except DamagedImages as error:
            damaged.extend(error.files)
    if damaged:
        raise DamagedImages.of(damaged)
    train, val, test = decoded
    return Splits(train, val, test, splits.names)


def _folders(root: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise _unreadable(root, error) from error


def _class_files(root: Path) -> dict[str, list[str]]:
    """Return the image files of each class folder in `root`, including those in its subfolders."""
    files = {name: _image_files(root / name) for name in _folders(root)}
    if not files:
        raise DataError(f"{root}: has no folders in it; put the images of each class into a separate folder")
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        more = f" and {len(empty) - 10} more" if len(empty) > 10 else ""
        raise DataError(
            f"{root}: no images in {', '.join(empty[:10])}{more}; remove these folders, or put images in "
            f"them ({' '.join(ending[1:] for ending in EXTENSIONS)})"
        )
    if len(files) == 1:
        raise DataError(
            f"{root}: has only one class ({next(iter(files))}); at least two are needed, in a folder each"
        )
    return files


def _image_files(folder: Path) -> list[str]:
    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename or folder), error) from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        files += [
            os.path.join(parent, name)
            for name in names
            if name[0] != "." and name.lower().endswith(EXTENSIONS)
        ]
    return sorted(files)


def _check_known(root: Path, files: dict[str, list[str]], names: list[str]) -> None:
    """Raise DataError if a split has a class that the training split does not have."""
    unknown = [name for name in files if name not in set(names)]
    if unknown:
        raise DataError(
            f"{root}: has classes that train/ does not have ({', '.join(unknown[:10])}); "
            "give the folders the same names"
        )


def _images(
    files: dict[str, list[str]], names: list[str], size: int, resize: str, channels: int, workers: int
) -> FileImages:
    label_of = {name: label for label, name in enumerate(names)}
    paths = [path for name in files for path in files[name]]
    labels = [label_of[name] for name in files for _ in files[name]]
    return FileImages(paths, torch.tensor(labels, dtype=torch.int64), size, resize, channels, workers)


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: does not exist; specify a folder of images")
    if isinstance(error, NotADirectoryError):
        return DataError(f"{path}: is a file; specify a folder of images")
    return DataError(f"{path}: cannot be read ({error.strerror}); change its access rights")
