"""Images from folders: one folder per class, named after the class."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import DataError
from ..settings.fields import expanded
from .archive import folder_of
from .folder_scan import NotUsed, folders_in, images_below, images_of_classes, note_images_beside
from .image_decoding import unused_bits
from .image_set import FileImages, ImageSet, concatenated
from .splits import SPLIT_OF, SPLITS, Splits, test_cut

IMAGENET_CLASSES = 1000


def read_folder(
    path: str, test_fraction: float, split_by: str, size: int, resize: str, channels: int, workers: int
) -> Splits:
    """Return the splits of a folder with one folder per class, as `FileImages`.

    If it contains train/, the splits are train/, val/ and test/, or folders with other names of SPLIT_OF,
    each with one folder per class; otherwise the class folders are directly in it. Without test/,
    `test_fraction` of the training images becomes the test split, the same for every seed, chosen as
    `split_by` says; without val/, `val` is empty. path: may be an archive of such a folder. Raises DataError
    if the folder cannot be used.
    """
    root = folder_of(path)
    folders = folders_in(root)
    split_folders = _split_folders(root, folders)
    if "train" in split_folders:
        others = [name for name in folders if name not in split_folders.values()]
        if others:
            raise DataError(
                f"{root}: has {split_folders['train']}/ but also {', '.join(others[:5])}; "
                "keep only train/, val/ and test/, with one folder per class in each"
            )
    elif split_folders:
        splits_found = " and ".join(sorted(split_folders.values()))
        raise DataError(f"{root}: has {splits_found} but no train/; add it")

    not_used = NotUsed()
    if split_folders:
        note_images_beside(root, not_used)
    files = images_of_classes(root / split_folders["train"] if split_folders else root, not_used)
    names = list(files)
    options = (size, resize, channels, workers, str(root))
    splits = {"train": _images(files, names, *options)}
    for split in ("val", "test"):
        if split in split_folders:
            folder = root / split_folders[split]
            files = images_of_classes(folder, not_used, least=1, all_needed=False)
            _check_known(folder, files, names)
            splits[split] = _images(files, names, *options)
    train = splits["train"]
    if "test" not in splits:
        rest, tested = test_cut(train, test_fraction, split_by)
        train, splits["test"] = train.subset(rest), train.subset(tested)
    val = splits.get("val", train.subset(torch.empty(0, dtype=torch.int64)))
    notices = [*not_used.notices(), *filter(None, [unused_bits(train.paths)])]
    return Splits(train, val, splits["test"], names, notices)


def read_part(
    path: str, split: str, size: int, resize: str, channels: int, workers: int
) -> tuple[FileImages, list[str], int] | None:
    """Return the images to evaluate on in one folder or all, their classes, and how many there are in all.

    None if a split must be cut. split: "train", "val" or "test", the folder of that name, which may be the
    only one; or "all", the images of all folders. Raises DataError if the folder cannot be used.
    """
    root = folder_of(path)
    split_folders = _split_folders(root, folders_in(root))
    if split == "all":
        roots = [root / name for name in split_folders.values()] or [root]
    elif split in split_folders:
        roots = [root / split_folders[split]]
    else:
        return None
    found = [images_of_classes(folder, NotUsed(), least=1, all_needed=False) for folder in roots]
    others = [root / name for name in split_folders.values() if root / name not in roots]
    total = sum(len(files) for classes in found for files in classes.values())
    total += sum(1 for folder in others for _ in images_below(folder))
    names = sorted({name for files in found for name in files})
    options = (size, resize, channels, workers, str(root))
    parts: list[ImageSet] = [_images(files, names, *options) for files in found]
    images = concatenated(parts)
    assert isinstance(images, FileImages)
    return images, names, total


def read_imagenet(root: str, size: int, workers: int) -> Splits:
    """Return ImageNet from train/ and val/ below `root`, as `FileImages`; val/ is the test split.

    Raises DataError if the folders cannot be used or do not have 1000 classes.
    """
    folder = expanded(root)
    folders = folders_in(folder)
    missing = [split for split in ("train", "val") if split not in folders]
    if missing:
        raise DataError(
            f"{folder}: has no {' and no '.join(missing)}; download ImageNet from image-net.org "
            "and arrange it as train/ and val/ with one folder per class (n01440764, …)"
        )
    names: list[str] = []
    splits, not_used = {}, NotUsed()
    for split in ("train", "val"):
        files = images_of_classes(folder / split, not_used)
        if len(files) != IMAGENET_CLASSES:
            raise DataError(
                f"{folder / split}: has {len(files)} class folders, ImageNet has {IMAGENET_CLASSES}; "
                "complete it, or use data=folder for a subset"
            )
        names = names or list(files)
        _check_known(folder / split, files, names)
        splits[split] = _images(files, names, size, "crop", 3, workers, str(folder))
    empty = splits["train"].subset(torch.empty(0, dtype=torch.int64))
    return Splits(splits["train"], empty, splits["val"], names, not_used.notices())


def _split_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Return split → its folder; raises DataError if two folders have names of one split."""
    found: dict[str, str] = {}
    for name in folders:
        split = SPLIT_OF.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(f"{root}: has {found[split]}/ and {name}/, both names of one split; keep one")
        found[split] = name
    return {split: found[split] for split in SPLITS if split in found}


def _check_known(root: Path, files: dict[str, list[str]], names: list[str]) -> None:
    """Raise DataError if a split has a class that the training split does not have."""
    unknown = [name for name in files if name not in set(names)]
    if unknown:
        raise DataError(
            f"{root}: has classes that train/ does not have ({', '.join(unknown[:10])}); "
            "give the folders the same names"
        )


def _images(
    files: dict[str, list[str]],
    names: list[str],
    size: int,
    resize: str,
    channels: int,
    workers: int,
    root: str,
) -> FileImages:
    label_of = {name: label for label, name in enumerate(names)}
    paths = [path for name in files for path in files[name]]
    labels = [label_of[name] for name in files for _ in files[name]]
    return FileImages(paths, torch.tensor(labels, dtype=torch.int64), size, resize, channels, workers, root)
