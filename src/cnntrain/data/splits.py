"""Training, validation and test splits: validation is cut from the training images, stratified (D1)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..seeding import generator
from ..settings.fields import has_control_characters, shorten
from .file_crops import FileCrops
from .hashed_splits import class_cut, class_folds, hashed_cut, hashed_folds
from .image_set import ImageSet

SPLITS = ("train", "val", "test")
# Names of splits, in any case: of folders, which are then no classes, and in tables.
SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


# Images that cannot be read and are left out: the name of each → its path, and why.
Unreadable = dict[str, tuple[str, str]]


class LoadedSplit(NamedTuple):
    """The images of a split to evaluate on, the names of their labels, and what a user should know."""

    images: ImageSet
    names: list[str]
    notices: list[str]


@dataclass
class Splits:
    """The three splits of a data set, and the names of its classes, attributes or values (D7).

    notices: what a user should know of the files, such as images that are not used. unreadable: images of any
    split that cannot be read and are left out of the splits of a run; None where that was not looked for.
    crops: of the files of the training images, where runs share them. Raises DataError for a name that cannot
    be printed.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    names: list[str]
    notices: list[str] = field(default_factory=list)
    unreadable: Unreadable | None = None
    crops: FileCrops | None = None

    def __post_init__(self) -> None:
        # An accented letter is one character or two, by the system on which a folder was made.
        self.names = [unicodedata.normalize("NFC", name) for name in self.names]
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise DataError(
                f"{twice[0]}: several classes have this name, in Unicode characters that look the same; put "
                "their images into one folder"
            )
        for name in self.names:
            if not name or has_control_characters(name):
                kind = "class" if self.train.labels.ndim == 1 else "column"
                raise DataError(
                    f"the name '{shorten(name)}' of a {kind} is empty or has characters that cannot be "
                    "printed, such as line breaks; rename it"
                )

    def parts(self) -> dict[str, ImageSet]:
        """Return the splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def unreadable_notices(self) -> list[str]:
        """Return a notice of the images that are left out as they cannot be read, if there are any."""
        return unreadable_notices(self.unreadable or {})

    def missing_classes(self) -> dict[str, list[str]]:
        """Return the names of the classes without images, by split with images; {} for other targets."""
        missing = {}
        for split, part in self.parts().items():
            if len(part) and part.labels.ndim == 1:
                counts = part.labels.bincount(minlength=len(self.names)).tolist()
                missing[split] = [name for name, count in zip(self.names, counts, strict=True) if not count]
        return missing


def unreadable_notices(unreadable: Unreadable) -> list[str]:
    """Return a notice of images that are left out as they cannot be read, if there are any."""
    if not unreadable:
        return []
    first = ", ".join(sorted(unreadable)[:5]) + (", …" if len(unreadable) > 5 else "")
    return [f"not used, as they cannot be read (data.on_bad=skip): {len(unreadable)} images ({first})"]


@dataclass(frozen=True)
class Validation:
    """Which training images are the validation split.

    fraction: of the training images. split_by: how images of files are chosen, "hash", "name" or "position".
    folds, fold: one of so many parts of equal size in place of the fraction, None for the fraction.
    """

    fraction: float
    split_by: str = "position"
    folds: int | None = None
    fold: int = 0


def divide(stored: Splits, validation: Validation, limit: int | None, seed: int) -> Splits:
    """Return the splits of a run: at most `limit` training images, and validation cut from these.

    A validation split stored in the data set is used unchanged; ConfigError is raised for folds of such a
    data set. The test split is never changed.
    """
    train, val = stored.train, stored.val
    if limit is not None and limit < len(train):
        train = train.subset(stratified_subset(train.labels, limit, seed, "limit"))
    if len(val) and validation.folds is not None:
        raise ConfigError(
            [f"data.folds={validation.folds}: the data set has a validation split of its own; leave it out"]
        )
    if not len(val) and (validation.fraction > 0 or validation.folds is not None):
        rest, validated = _validation_cut(train, validation, seed)
        train, val = train.subset(rest), train.subset(validated)
    return replace(stored, train=train, val=val)


def cut(
    images: ImageSet, split_by: str, fraction: float, kept: int, seed: int, purpose: str
) -> tuple[Tensor, Tensor]:
    """Return the indices that remain and those cut off, both ascending; cuts of other purposes differ.

    split_by: "hash" as in `class_cut`, "name" as in `hashed_cut`, or "position" as in `stratified_cut`, also
    for images without names. kept: of "hash", how many images or groups of each class remain.
    """
    names = images.names if split_by != "position" else None
    if names is None:
        return stratified_cut(images.labels, fraction, seed, purpose)
    if split_by == "name":
        return hashed_cut(names, fraction, seed, purpose)
    return class_cut(images.labels, names, images.groups, fraction, kept, seed, purpose)


def test_cut(images: ImageSet, fraction: float, split_by: str) -> tuple[Tensor, Tensor]:
    """Return the indices that stay training images and those of the test split, the same for every seed.

    By hash, two images or groups of each class stay, of which one may be for validation.
    """
    return cut(images, split_by, fraction, 2, 0, "folder test")


def _validation_cut(train: ImageSet, validation: Validation, seed: int) -> tuple[Tensor, Tensor]:
    if validation.folds is None:
        return cut(train, validation.split_by, validation.fraction, 1, seed, "val")
    is_cut = _folds(train, validation.split_by, validation.folds, seed) == validation.fold
    if not is_cut.any():
        raise DataError(f"data.fold={validation.fold}: is empty; write a smaller data.folds")
    return (~is_cut).nonzero().flatten(), is_cut.nonzero().flatten()


def _folds(train: ImageSet, split_by: str, folds: int, seed: int) -> Tensor:
    names = train.names if split_by != "position" else None
    if names is None:
        return stratified_folds(train.labels, folds, seed)
    if split_by == "name":
        return hashed_folds(names, folds, seed)
    return class_folds(train.labels, names, train.groups, folds, seed)


def stratified_folds(labels: Tensor, folds: int, seed: int) -> Tensor:
    """Return the fold of each image, 0 … folds - 1, int64 (N,): k-fold cross-validation.

    Folds differ by one image at most, in every class and in all. A pure function of its arguments. labels:
    int64 (N,); attributes and values (N, V) have no classes and are divided evenly.
    """
    if labels.ndim > 1:
        labels = torch.zeros(len(labels), dtype=torch.int64)
    order = torch.randperm(len(labels), generator=generator(seed, "folds"))
    order = order[labels[order].argsort(stable=True)]
    assigned = torch.empty(len(labels), dtype=torch.int64)
    # Dealt out class after class without a break, so that what a class leaves over is made up by the next.
    assigned[order] = torch.arange(len(labels)) % folds
    return assigned


def stratified_cut(labels: Tensor, fraction: float, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return the remaining indices and those cut off, both ascending; round(N · fraction) are cut off.

    A pure function of its arguments; cuts with different `purpose` are independent.
    """
    chosen = stratified_subset(labels, round(len(labels) * fraction), seed, purpose)
    remains = torch.ones(len(labels), dtype=torch.bool)
    remains[chosen] = False
    return remains.nonzero().flatten(), chosen


def stratified_subset(labels: Tensor, count: int, seed: int, purpose: str) -> Tensor:
    """Return `count` ascending indices, drawn so that class proportions are kept as exactly as possible.

    The number per class is rounded by largest remainder, ties going to the lower class. labels: int64 (N,);
    attributes and values (N, V) have no classes and are drawn uniformly from all images.
    """
    assert 0 <= count <= len(labels)
    if labels.ndim > 1:
        labels = torch.zeros(len(labels), dtype=torch.int64)
    rng = generator(seed, purpose)
    per_class = torch.bincount(labels)
    # Integer arithmetic, so that no rounding error decides a tie.
    quotas, remainders = per_class * count // max(1, len(labels)), per_class * count % max(1, len(labels))
    missing = count - int(quotas.sum())
    quotas[remainders.argsort(descending=True, stable=True)[:missing]] += 1
    chosen = []
    for label, quota in enumerate(quotas.tolist()):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=rng)[:quota]])
    return torch.cat(chosen).sort().values if chosen else torch.empty(0, dtype=torch.int64)
