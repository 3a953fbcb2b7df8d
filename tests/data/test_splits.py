"""Splits have exact sizes, are stratified and disjoint, and depend only on labels, fraction and seed."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from cnntrain.data.hashed_splits import hashed_folds
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.splits import (
    Splits,
    Validation,
    divide,
    stratified_cut,
    stratified_folds,
    stratified_subset,
)
from cnntrain.errors import ConfigError


def labels_of(*counts: int) -> Tensor:
    """Return `counts[i]` labels of each class i, shuffled."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(4))]


def indexed_splits(labels: Tensor, val: int = 0) -> Splits:
    """Return splits whose image i has the value i."""

    def numbered(labels: Tensor) -> MemoryImages:
        return MemoryImages(torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1), labels)

    return Splits(numbered(labels), numbered(labels[:val]), numbered(labels[:7]), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("counts", "count", "expected"),
    [
        ((50, 30, 20), 10, (5, 3, 2)),
        ((5, 3, 2), 5, (3, 1, 1)),  # quotas 2.5, 1.5, 1: two remainders of a half, the lower class first
        ((7, 2, 1), 4, (3, 1, 0)),  # quotas 2.8, 0.8, 0.4
        ((1, 1, 98), 10, (0, 0, 10)),
        ((4, 0, 4), 3, (2, 0, 1)),
        ((3, 3), 0, (0, 0)),
        ((3, 4), 7, (3, 4)),
    ],
)
def test_class_proportions_are_kept_by_the_largest_remainder_method(
    counts: tuple[int, ...], count: int, expected: tuple[int, ...]
) -> None:
    labels = labels_of(*counts)
    subset = stratified_subset(labels, count, 0, "test")
    selected = Counter(labels[subset].tolist())
    assert tuple(selected[label] for label in range(len(counts))) == expected


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.5, 0.999])
def test_a_split_has_the_exact_size_and_is_sorted_and_disjoint(fraction: float) -> None:
    labels = labels_of(13, 101, 57, 2)
    remaining, cut = stratified_cut(labels, fraction, 1, "val")
    assert len(cut) == round(173 * fraction)
    assert sorted(remaining.tolist() + cut.tolist()) == list(range(173))
    assert remaining.tolist() == sorted(remaining.tolist())
    assert cut.tolist() == sorted(cut.tolist())
    for label, size in enumerate((13, 101, 57, 2)):
        quota = Fraction(len(cut) * size, 173)
        assert abs(int((labels[cut] == label).sum()) - quota) < 1


def test_splits_depend_on_the_seed_and_not_on_torchs_random_state() -> None:
    labels = labels_of(40, 40, 40)
    first = stratified_cut(labels, 0.2, 5, "val")[1].tolist()
    torch.manual_seed(99)
    torch.rand(7)
    assert stratified_cut(labels, 0.2, 5, "val")[1].tolist() == first
    assert stratified_cut(labels, 0.2, 6, "val")[1].tolist() != first
    assert stratified_cut(labels, 0.2, 5, "limit")[1].tolist() != first


def test_the_limit_applies_before_the_validation_split_and_not_to_the_test_split() -> None:
    labels = labels_of(100, 60, 40)
    splits = divide(indexed_splits(labels), Validation(0.25), limit=40, seed=3)
    assert torch.bincount(splits.train.labels).tolist() == [15, 9, 6]
    assert torch.bincount(splits.val.labels).tolist() == [5, 3, 2]
    assert len(splits.test) == 7
    train, val = splits.train, splits.val
    assert isinstance(train, MemoryImages)
    assert isinstance(val, MemoryImages)
    indices = train.images.flatten().tolist() + val.images.flatten().tolist()
    assert len(set(indices)) == 40
    for part in (train, val):
        assert torch.equal(labels[part.images.flatten().long()], part.labels)


def test_a_limit_above_the_number_of_images_keeps_all_of_them() -> None:
    assert len(divide(indexed_splits(labels_of(9, 9, 9)), Validation(0.0), 1000, 0).train) == 27


def test_a_validation_fraction_of_0_gives_no_validation_images() -> None:
    splits = divide(indexed_splits(labels_of(9, 9, 9)), Validation(0.0), None, 0)
    assert (len(splits.train), len(splits.val)) == (27, 0)
    assert splits.val.shape == (1, 1, 1)


def test_a_validation_split_of_the_data_set_is_kept() -> None:
    splits = divide(indexed_splits(labels_of(9, 9, 9), val=6), Validation(0.5), None, 0)
    assert (len(splits.train), len(splits.val)) == (27, 6)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_are_even_in_every_class_and_together_all_images(folds: int) -> None:
    labels = labels_of(13, 101, 57, 2)
    assigned = stratified_folds(labels, folds, 1)
    for chosen in (assigned, *(assigned[labels == label] for label in range(4))):
        counts = [(chosen == fold).sum().item() for fold in range(folds)]
        assert max(counts) - min(counts) <= 1
    assert not torch.equal(assigned, stratified_folds(labels, folds, 2))
    assert torch.equal(assigned, stratified_folds(labels, folds, 1))


def test_each_image_is_validated_on_in_one_fold_and_trained_on_in_the_others() -> None:
    labels = labels_of(9, 10, 11)
    seen = Counter[int]()
    for fold in range(4):
        splits = divide(indexed_splits(labels), Validation(0.1, folds=4, fold=fold), None, 0)
        val, train = (part.images.flatten().tolist() for part in (splits.val, splits.train))  # type: ignore[attr-defined]
        assert sorted(val + train) == list(range(30))
        seen.update(val)
    assert seen == Counter(range(30))


def test_the_fold_of_a_file_does_not_change_when_others_are_added() -> None:
    names = [f"a/{number}.png" for number in range(200)]
    before, after = hashed_folds(names[:100], 5, 0), hashed_folds(names, 5, 0)
    assert torch.equal(before, after[:100])
    assert all(20 <= (after == fold).sum() <= 60 for fold in range(5))


def test_folds_of_a_data_set_with_its_own_validation_split_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.folds=3: the data set has a validation split of its own"):
        divide(indexed_splits(labels_of(9, 9, 9), val=6), Validation(0.1, folds=3), None, 0)


def test_images_keep_their_position_in_the_stored_arrays_through_limit_and_validation_cut() -> None:
    labels = labels_of(30, 30, 40)
    splits = divide(indexed_splits(labels), Validation(0.3), limit=60, seed=5)
    for part in (splits.train, splits.val):
        assert isinstance(part, MemoryImages)
        assert part.positions.tolist() == part.images.flatten().tolist()  # image i has the value i
        assert torch.equal(part.labels, labels[part.positions])
