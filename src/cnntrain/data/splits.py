"""Training, validation and test splits: validation is cut from the training images, stratified (D1)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import DataError
from ..seeding import derive, generator
from ..settings.fields import has_control_characters, shorten
from .image_set import FileImages, ImageSet

SPLITS = ("train", "val", "test")


@dataclass
class Splits:
    """The three splits of a data set, and the names of its classes, attributes or values (D7).

    notices: what a user should know of the files, such as images that are not used. Raises DataError for a
    name that cannot be printed.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    names: list[str]
    notices: list[str] = field(default_factory=list)

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

    def missing_classes(self) -> dict[str, list[str]]:
        """Return the names of the classes without images, by split with images; {} for other targets."""
        missing = {}
        for split, part in self.parts().items():
            if len(part) and part.labels.ndim == 1:
                counts = part.labels.bincount(minlength=len(self.names)).tolist()
                missing[split] = [name for name, count in zip(self.names, counts, strict=True) if not count]
        return missing


def divide(
    stored: Splits, val_fraction: float, limit: int | None, seed: int, by_name: bool = False
) -> Splits:
    """Return the splits of a run: at most `limit` training images, and validation cut from these.

    A validation split stored in the data set is used unchanged. The test split is never changed. by_name:
    whether validation images of files are chosen by a hash of their names.
    """
    train, val = stored.train, stored.val
    if limit is not None and limit < len(train):
        train = train.subset(stratified_subset(train.labels, limit, seed, "limit"))
    if not len(val) and val_fraction > 0:
        if by_name and isinstance(train, FileImages):
            rest, cut = hashed_cut(train.names, val_fraction, seed, "val")
        else:
            rest, cut = stratified_cut(train.labels, val_fraction, seed, "val")
        train, val = train.subset(rest), train.subset(cut)
    return replace(stored, train=train, val=val)


def stratified_cut(labels: Tensor, fraction: float, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return the remaining indices and those cut off, both ascending; round(N · fraction) are cut off.

    A pure function of its arguments; cuts with different `purpose` are independent.
    """
    cut = stratified_subset(labels, round(len(labels) * fraction), seed, purpose)
    remains = torch.ones(len(labels), dtype=torch.bool)
    remains[cut] = False
    return remains.nonzero().flatten(), cut


def hashed_cut(names: list[str], fraction: float, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return the remaining indices and those cut off, both ascending, by a hash of each name.

    A name is cut off if its hash, uniform in [0, 1), is below `fraction`, whatever the other names: an image
    keeps its split when others are added or removed. Only where no hash is below, in a small folder, the one
    of the lowest is cut off, so that there is one.
    """
    hashes = torch.tensor([derive(seed, purpose, name) / 2**63 for name in names], dtype=torch.float64)
    is_cut = hashes < fraction
    if len(names) > 1:
        is_cut[hashes.argmin()] = True
    return (~is_cut).nonzero().flatten(), is_cut.nonzero().flatten()


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
