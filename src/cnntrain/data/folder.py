"""Images from folders: one folder per class, whose name is the class's, or labelled by a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import DataError
from .decoding import DamagedImages
from .images import FileImages
from .label_table import read_table
from .splits import Splits, stratified_cut

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLITS = ("train", "val", "test")
IMAGENET_CLASSES = 1000
GB = 10**9


def read_folder(
    path: str, test_fraction: float, size: int, resize: str, channels: int, workers: int
) -> Splits:
    """Return the splits of a folder, as files.

    With a folder train/ in it, the splits are train/, val/ and test/, each with one folder per class;
    otherwise the classes lie directly in it. Without test/, `test_fraction` of the training images
    becomes the test split, the same for every seed; without val/, `val` is empty. Raises DataError.
    """
    root = Path(path).expanduser()
    found = _folders(root)
    if "train" in found:
        others = [name for name in found if name not in SPLITS]
        if others:
            raise DataError(
                f"{root}: has train/ but also {', '.join(others[:5])}; "
                "keep only train/, val/ and test/, with one folder per class in each"
            )
    elif any(name in SPLITS for name in found):
        raise DataError(f"{root}: has {' and '.join(sorted(set(found) & set(SPLITS)))} but no train/; add it")

    files = _class_files(root / "train" if "train" in found else root)
    names = list(files)
    splits = {"train": _images(files, names, size, resize, channels, workers)}
    for split in ("val", "test"):
        if "train" in found and split in found:
            files = _class_files(root / split)
            _check_known(root / split, files, names)
            splits[split] = _images(files, names, size, resize, channels, workers)
    train = splits["train"]
    if "test" not in splits:
        kept, cut = stratified_cut(train.labels, test_fraction, seed=0, purpose="folder test")
        train, splits["test"] = train.subset(kept), train.subset(cut)
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
    """Return the splits of the images that a CSV file gives attributes or values, as files.

    Paths in the file are relative to the folder. Those that begin with train/, val/ and test/ say their
    split themselves; otherwise `test_fraction` is cut off, the same for every seed. Raises DataError.
    """
    root = Path(path).expanduser()
    beside = root / table_file
    table = read_table(beside if beside.is_file() else Path(table_file).expanduser(), target)
    absent = [name for name in table.rows if not (root / name).is_file()]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise DataError(
            f"{table_file}: {', '.join(absent[:5])}{more} not found in {root}; paths start at data.path"
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
        kept, cut = stratified_cut(train.labels, test_fraction, seed=0, purpose="folder test")
        train, test = train.subset(kept), train.subset(cut)
    return Splits(train, val, test, table.names)


def read_imagenet(root: str, size: int, workers: int) -> Splits:
    """Return ImageNet from train/ and val/ below `root`, as files; val/ is the test split.

    Raises DataError, also where there are not 1000 classes.
    """
    folder = Path(root).expanduser()
    found = _folders(folder)
    missing = [split for split in ("train", "val") if split not in found]
    if missing:
        raise DataError(
            f"{folder}: has no {' and no '.join(missing)}; ImageNet must be fetched from image-net.org "
            "and laid out as train/ and val/ with one folder per class (n01440764, …)"
        )
    names: list[str] = []
    splits = {}
    for split in ("train", "val"):
        files = _class_files(folder / split)
        if len(files) != IMAGENET_CLASSES:
            raise DataError(
                f"{folder / split}: has {len(files)} class folders, ImageNet has {IMAGENET_CLASSES}; "
                "complete it, or use data=folder for a part"
            )
        names = names or list(files)
        _check_known(folder / split, files, names)
        splits[split] = _images(files, names, size, "crop", 3, workers)
    empty = splits["train"].subset(torch.empty(0, dtype=torch.int64))
    return Splits(splits["train"], empty, splits["val"], names)


def into_memory(splits: Splits, limit_gb: float) -> Splits:
    """Return the splits decoded where all three fit into `limit_gb` GB together, else as they are.

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
    """Return the names of the folders in a folder, ascending, without hidden ones."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise _unreadable(root, error) from error


def _class_files(root: Path) -> dict[str, list[str]]:
    """Return the image files of each class folder below `root`; those of folders within count as its own."""
    files = {name: _image_files(root / name) for name in _folders(root)}
    if not files:
        raise DataError(
            f"{root}: has no folders in it; put the images of each class into a folder of its own"
        )
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        more = f" and {len(empty) - 10} more" if len(empty) > 10 else ""
        raise DataError(
            f"{root}: no images in {', '.join(empty[:10])}{more}; remove these folders, or put images in "
            f"them ({' '.join(ending[1:] for ending in EXTENSIONS)})"
        )
    if len(files) == 1:
        raise DataError(
            f"{root}: has only one class ({next(iter(files))}); two are needed, each in a folder of its own"
        )
    return files


def _image_files(folder: Path) -> list[str]:
    def stop(error: OSError) -> None:
        raise _unreadable(Path(error.filename or folder), error) from error

    found = []
    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [
            os.path.join(parent, name)
            for name in names
            if name[0] != "." and name.lower().endswith(EXTENSIONS)
        ]
    return sorted(found)


def _check_known(root: Path, files: dict[str, list[str]], names: list[str]) -> None:
    """Raise where a split has a class that the training split has not."""
    unknown = [name for name in files if name not in set(names)]
    if unknown:
        raise DataError(
            f"{root}: has classes that train/ has not ({', '.join(unknown[:10])}); "
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
        return DataError(f"{path}: does not exist; name a folder of images")
    if isinstance(error, NotADirectoryError):
        return DataError(f"{path}: is a file; name a folder of images")
    return DataError(f"{path}: cannot be read ({error.strerror}); change its access rights")
