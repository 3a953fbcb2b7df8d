"""Cuts and folds by a hash of each image's name or group, for folders that grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..seeding import derive

# Stands between a group's name and what sets it apart from names of files, which cannot contain it.
NUL = "\0"


def hashed_cut(names: list[str], fraction: float, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return the remaining indices and those cut off, both ascending, by a hash of each name.

    A name is cut off if its hash, uniform in [0, 1), is below `fraction`, whatever the other names: an image
    keeps its split when others are added or removed. Only where no hash is below, in a small folder, the one
    of the lowest is cut off, so that there is one. Classes have no influence.
    """
    hashes = _hashes(names, seed, purpose)
    is_cut = hashes < fraction
    if len(names) > 1:
        is_cut[hashes.argmin()] = True
    return _parted(is_cut)


def hashed_folds(names: list[str], folds: int, seed: int) -> Tensor:
    """Return the fold of each image by a hash of its name, int64 (N,), whatever the other names."""
    return torch.tensor([derive(seed, "folds", name) % folds for name in names], dtype=torch.int64)


def class_cut(
    labels: Tensor,
    names: list[str],
    groups: list[str] | None,
    fraction: float,
    kept: int,
    seed: int,
    purpose: str,
) -> tuple[Tensor, Tensor]:
    """Return the remaining indices and those cut off, both ascending: by hashes, some images of each class.

    A unit, which is an image or all images of a group, is cut off if the hash of its name, uniform in [0, 1),
    is below `fraction`; and of each class with more than `kept` units the one of the lowest hash, so that
    each class is in both parts. Of each class at least `kept` units remain, those of the highest hashes; only
    where nothing would be cut off, one unit is, of a class of two.

    When images and groups are added, a unit that was cut off may remain, but none that remained is cut off
    unless a class of it had no more than `kept` remaining units, or a group got images of another class.
    labels: int64 (N,); attributes and values (N, V) count as one class.
    """
    units = _Units.of(labels, names, groups)
    hashes = _hashes(units.names, seed, purpose)
    is_cut = hashes < fraction
    for members in units.by_class(hashes):
        if len(members) > kept:
            is_cut[members[0]] = True
    returned, alone = torch.zeros_like(is_cut), torch.zeros_like(is_cut)
    for members in units.by_class(hashes):
        lacking = min(kept, len(members)) - int((~is_cut[members]).sum())
        if lacking > 0:
            returned[members[is_cut[members]][-lacking:]] = True
        if len(members) == 1:
            alone[members] = True
    is_cut &= ~returned
    if not is_cut.any() and not alone.all():
        is_cut[hashes.where(~alone, torch.inf).argmin()] = True
    return _parted(is_cut[units.of_image])


def class_folds(labels: Tensor, names: list[str], groups: list[str] | None, folds: int, seed: int) -> Tensor:
    """Return the fold of each image, int64 (N,): even in every class, in an order drawn by hashes of names.

    Without groups, folds differ by one image at most, in every class and in all. A group is in one fold: the
    largest first, each goes to the fold that has the smallest part of its classes (the greedy rule of
    scikit-learn's StratifiedGroupKFold). Folds that are even for every folder cannot also keep each image
    where it is when others are added: these are drawn anew.
    """
    units = _Units.of(labels, names, groups)
    hashes = _hashes(units.names, seed, "folds")
    if groups is None:
        assigned = torch.empty(len(names), dtype=torch.int64)
        # Dealt out class after class without a break: what a class leaves over is made up by the next.
        assigned[torch.cat(list(units.by_class(hashes)))] = torch.arange(len(names)) % folds
        return assigned
    return _greedy_folds(units, hashes, folds)[units.of_image]


@dataclass(frozen=True)
class _Units:
    """The units of a split: images, or groups of images.

    names: of the units. of_image: the unit of each image, int64 (N,). units, classes, images: the pairs of a
    unit and a class of its images, and their number, int64 (P,).
    """

    names: list[str]
    of_image: Tensor
    units: Tensor
    classes: Tensor
    images: Tensor

    @classmethod
    def of(cls, labels: Tensor, names: list[str], groups: list[str] | None) -> _Units:
        """Return the units of a split; an image whose group is empty is a unit of its own."""
        keys = names
        if groups is not None:
            keys = [f"group{NUL}{g}" if g else name for g, name in zip(groups, names, strict=True)]
        number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        of_image = torch.tensor([number_of[key] for key in keys], dtype=torch.int64)
        if labels.ndim > 1:
            labels = torch.zeros(len(labels), dtype=torch.int64)
        classes = int(labels.max()) + 1 if len(labels) else 1
        pairs, images = torch.unique(of_image * classes + labels, return_counts=True)
        return cls(list(number_of), of_image, pairs // classes, pairs % classes, images)

    def by_class(self, hashes: Tensor) -> Iterator[Tensor]:
        """Yield the units of each class in the order of their hashes, class after class."""
        order = hashes[self.units].argsort(stable=True)
        order = order[self.classes[order].argsort(stable=True)]
        yield from torch.split(self.units[order], self.classes.bincount().tolist())


def _greedy_folds(units: _Units, hashes: Tensor, folds: int) -> Tensor:
    """Return the fold of each unit, int64 (U,)."""
    sizes = units.of_image.bincount(minlength=len(units.names)).tolist()
    of_class = torch.zeros(int(units.classes.max()) + 1, dtype=torch.int64)
    totals = of_class.index_add(0, units.classes, units.images).tolist()
    content: list[list[tuple[int, int]]] = [[] for _ in units.names]
    pairs = zip(units.units.tolist(), units.classes.tolist(), units.images.tolist(), strict=True)
    for unit, label, images in pairs:
        content[unit].append((label, images))
    counts = [[0] * len(totals) for _ in range(folds)]
    in_fold = [0] * folds
    assigned = [0] * len(units.names)
    order = sorted(range(len(units.names)), key=lambda unit: (-sizes[unit], float(hashes[unit])))
    for unit in order:
        # The growth of the sum of squared parts of classes, without what all folds have in common.
        growth = [
            sum(images * counts[fold][label] / totals[label] ** 2 for label, images in content[unit])
            for fold in range(folds)
        ]
        chosen = min(range(folds), key=lambda fold: (growth[fold], in_fold[fold], fold))
        assigned[unit] = chosen
        in_fold[chosen] += sizes[unit]
        for label, images in content[unit]:
            counts[chosen][label] += images
    return torch.tensor(assigned, dtype=torch.int64)


def _hashes(names: list[str], seed: int, purpose: str) -> Tensor:
    return torch.tensor([derive(seed, purpose, name) / 2**63 for name in names], dtype=torch.float64)


def _parted(is_cut: Tensor) -> tuple[Tensor, Tensor]:
    return (~is_cut).nonzero().flatten(), is_cut.nonzero().flatten()
