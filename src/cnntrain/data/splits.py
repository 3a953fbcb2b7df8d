"""Train, validation and test: validation is cut from the training images, equally from every class (D1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..seeding import generator
from .images import ImageSet


@dataclass
class Splits:
    """The three splits of a data set, and the names of its classes, attributes or values (D7)."""

    train: ImageSet
    val: ImageSet
    test: ImageSet
    names: list[str]


def divide(stored: Splits, val_fraction: float, limit: int | None, seed: int) -> Splits:
    """Return the splits of a run: at most `limit` training images, and validation cut from these.

    A validation split that the data set brings along is kept as it is. The test split is never touched.
    """
    train, val = stored.train, stored.val
    if limit is not None and limit < len(train):
        train = train.subset(stratified_subset(train.labels, limit, seed, "limit"))
    if not len(val) and val_fraction > 0:
        kept, cut = stratified_cut(train.labels, val_fraction, seed, "val")
        train, val = train.subset(kept), train.subset(cut)
    return Splits(train, val, stored.test, stored.names)


def stratified_cut(labels: Tensor, fraction: float, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return the indices kept and those cut off, both ascending; round(N · fraction) are cut off.

    A pure function of its arguments; `purpose` keeps cuts of one seed apart.
    """
    cut = stratified_subset(labels, round(len(labels) * fraction), seed, purpose)
    is_kept = torch.ones(len(labels), dtype=torch.bool)
    is_kept[cut] = False
    return is_kept.nonzero().flatten(), cut


def stratified_subset(labels: Tensor, count: int, seed: int, purpose: str) -> Tensor:
    """Return `count` ascending indices, drawn so that every class keeps its share as exactly as possible.

    Shares are rounded by largest remainder, ties going to the lower class. labels: int64 (N,); attributes
    and values (N, V) have no classes, and are drawn from all alike.
    """
    assert 0 <= count <= len(labels)
    if labels.ndim > 1:
        labels = torch.zeros(len(labels), dtype=torch.int64)
    rng = generator(seed, purpose)
    per_class = torch.bincount(labels)
    # In whole numbers, so that no rounding error decides a tie.
    shares, remainders = per_class * count // max(1, len(labels)), per_class * count % max(1, len(labels))
    missing = count - int(shares.sum())
    shares[remainders.argsort(descending=True, stable=True)[:missing]] += 1
    chosen = []
    for label, share in enumerate(shares.tolist()):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=rng)[:share]])
    return torch.cat(chosen).sort().values if chosen else torch.empty(0, dtype=torch.int64)
