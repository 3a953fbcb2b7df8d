"""MNIST, Fashion-MNIST, CIFAR and SVHN from an .npz file, torchvision's files, or a download (D8)."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..settings.fields import expanded
from .image_set import MemoryImages
from .npz_file import read_npz
from .splits import Splits

TIMEOUT_SECONDS = 30
REMEDY = "delete it to download it again"
IDX_IMAGES, IDX_LABELS = 2051, 2049  # magic numbers of IDX files: unsigned bytes in 3 or 1 dimensions

_DIGITS = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
_NAMES = {
    "mnist": _DIGITS,
    "fashion_mnist": "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot",
    "cifar10": "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck",
    "cifar100": (
        "apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, "
        "bus, butterfly, camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, "
        "cockroach, couch, crab, crocodile, cup, dinosaur, dolphin, elephant, flatfish, forest, fox, "
        "girl, hamster, house, kangaroo, keyboard, lamp, lawn_mower, leopard, lion, lizard, lobster, man, "
        "maple_tree, motorcycle, mountain, mouse, mushroom, oak_tree, orange, orchid, otter, palm_tree, "
        "pear, pickup_truck, pine_tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray, "
        "road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, "
        "streetcar, sunflower, sweet_pepper, table, tank, telephone, television, tiger, tractor, train, "
        "trout, tulip, turtle, wardrobe, whale, willow_tree, wolf, woman, worm"
    ),
    "svhn": _DIGITS,
}
CLASS_NAMES = {name: classes.split(", ") for name, classes in _NAMES.items()}
# torchvision's class for each data set, and its files below the root.
TORCHVISION = {
    "mnist": ("MNIST", "MNIST/raw/*-ubyte"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw/*-ubyte"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py/ or cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "cifar-100-python/ or cifar-100-python.tar.gz"),
    "svhn": ("SVHN", "train_32x32.mat and test_32x32.mat"),
}


def read_set(name: str, root: str, shape: tuple[int, int, int]) -> Splits:
    """Return a data set from <root>/<name>.npz, else from torchvision's files below `root`, else a download.

    `shape` is its (height, width, channels). Raises DataError if a file is damaged or the download fails.
    """
    folder = expanded(root)
    if folder.is_file():
        raise DataError(f"{folder}: is a file; write the folder that holds it, data.root={folder.parent}")
    npz = folder / f"{name}.npz"
    if npz.exists():
        return read_npz(str(npz), CLASS_NAMES[name], shape)
    stored = _stored(name, folder)
    if stored is None:
        _download(name, folder, shape)
        stored = _stored(name, folder)
        assert stored is not None
    train, test = stored
    for part in stored:
        if part.shape != shape:
            raise DataError(f"{folder}: {name} has images of {part.shape}, not of {shape}; delete its files")
    empty = train.subset(torch.empty(0, dtype=torch.int64))
    return Splits(train, empty, test, CLASS_NAMES[name])


def _stored(name: str, folder: Path) -> tuple[MemoryImages, MemoryImages] | None:
    """Return training and test images from torchvision's files, or None if some are missing.

    MNIST and Fashion-MNIST files have a header that is checked. In the other data sets torchvision's
    checksums detect damaged files, which count as missing.
    """
    if name in ("mnist", "fashion_mnist"):
        pairs = [_idx_files(name, folder, split) for split in ("train", "test")]
        if not all(file.is_file() for pair in pairs for file in pair):
            return None
        train, test = (_read_idx_pair(*pair) for pair in pairs)
        return train, test
    try:
        datasets = [_open(name, folder, split, download=False) for split in ("train", "test")]
    except RuntimeError:
        return None
    train, test = (_from_torchvision(name, dataset) for dataset in datasets)
    return train, test


def _from_torchvision(name: str, dataset: Any) -> MemoryImages:
    if name == "svhn":
        pixels, labels = dataset.data.transpose(0, 2, 3, 1), dataset.labels
    else:
        pixels, labels = dataset.data, dataset.targets
    images = torch.from_numpy(np.ascontiguousarray(pixels))
    return MemoryImages(images, torch.from_numpy(np.asarray(labels, dtype=np.int64)))


def _read_idx_pair(images_file: Path, labels_file: Path) -> MemoryImages:
    images, labels = read_idx(images_file, IDX_IMAGES), read_idx(labels_file, IDX_LABELS)
    if len(images) != len(labels):
        raise DataError(
            f"{images_file}: has {len(images)} images, {labels_file} has {len(labels)} labels; "
            "delete both to download them again"
        )
    if len(labels) == 0 or int(labels.max()) > 9:
        raise DataError(f"{labels_file}: has no labels, or one above 9; {REMEDY}")
    return MemoryImages(images[..., None].contiguous(), labels.to(torch.int64))


def _idx_files(name: str, folder: Path, split: str) -> tuple[Path, Path]:
    raw = folder / TORCHVISION[name][0] / "raw"
    prefix = "train" if split == "train" else "t10k"
    return raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte"


def read_idx(file: Path, magic: int) -> Tensor:
    """Return the uint8 array of an IDX file that begins with `magic` (IDX_IMAGES or IDX_LABELS).

    Raises DataError. Source: the file format of LeCun's MNIST page.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); change its access rights") from error
    number = int.from_bytes(content[:4], "big")
    if len(content) < 4 or number != magic:
        raise DataError(f"{file}: begins with {number} instead of the IDX magic number {magic}; {REMEDY}")
    dimensions = magic % 256
    header_size = 4 * (1 + dimensions)
    shape = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header_size, 4)]
    size = header_size + int(np.prod(shape, dtype=object))
    if len(content) != size:
        raise DataError(f"{file}: has {len(content)} bytes instead of the {size} of its header; {REMEDY}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header_size).reshape(shape).copy())


def _open(name: str, folder: Path, split: str, download: bool) -> Any:
    """Return torchvision's data set; raises RuntimeError if files are missing or damaged."""
    from torchvision import datasets

    dataset_type = getattr(datasets, TORCHVISION[name][0])
    if name == "svhn":
        return dataset_type(str(folder), split=split, download=download)
    return dataset_type(str(folder), train=split == "train", download=download)


def _download(name: str, folder: Path, shape: tuple[int, int, int]) -> None:
    """Download torchvision's files into a temporary folder and move them to `folder` when complete."""
    existed = folder.is_dir()
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            _copy_archives(name, folder, Path(scratch))
            for split in ("train", "test"):
                _open(name, Path(scratch), split, download=True)
            for file in sorted(Path(scratch).rglob("*")):
                if file.is_file():
                    target = folder / file.relative_to(scratch)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, target)
    except Exception as error:
        if not existed and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        height, width, channels = shape
        size = f"{height}, {width}" if channels == 1 else f"{height}, {width}, {channels}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        archives = _archives(name, folder)
        if damaged := [str(file) for file, intact in archives if file.is_file() and not intact]:
            raise DataError(
                f"{', '.join(damaged)}: incomplete or damaged (the checksum differs), and a new copy could "
                f"not be downloaded ({reason}); replace it by a whole copy"
            ) from error
        raise DataError(
            f"{folder}: {name} is missing, or not complete, and could not be downloaded "
            f"({reason}).\n"
            f"Put one of these there:\n"
            f"  {folder / name}.npz with x_train (N, {size}) and x_test (uint8), y_train (N) and y_test "
            "(whole numbers)\n"
            f"  torchvision's files: {folder / TORCHVISION[name][1]}\n"
            "or write the folder that has them: data.root=FOLDER"
        ) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)


def _copy_archives(name: str, folder: Path, scratch: Path) -> None:
    """Copy existing archives with correct checksums, so that only the others are downloaded."""
    for file, intact in _archives(name, folder):
        if intact:
            copy = scratch / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _archives(name: str, folder: Path) -> list[tuple[Path, bool]]:
    """Return the archives that torchvision downloads, and whether each is there with its checksum."""
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    dataset_type = getattr(datasets, TORCHVISION[name][0])
    if name in ("mnist", "fashion_mnist"):
        archives = [(f"{dataset_type.__name__}/raw/{file}", md5) for file, md5 in dataset_type.resources]
    elif name == "svhn":
        archives = [
            (dataset_type.split_list[split][1], dataset_type.split_list[split][2])
            for split in ("train", "test")
        ]
    else:
        archives = [(dataset_type.filename, dataset_type.tgz_md5)]
    return [(folder / archive, check_integrity(folder / archive, md5)) for archive, md5 in archives]
