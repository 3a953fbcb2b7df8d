"""Cuts by hashes: each class in each part, growing folders, groups, and folds."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict

import pytest
import torch

from cnntrain.data.hashed_splits import class_cut, class_folds
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.splits import Splits, Validation, cut, divide

SEEDS = range(12)


def image_set(images: dict[str, tuple[int, str]]) -> MemoryImages:
    """Return images of these names, each with its class and its group."""
    names = sorted(images)
    labels = torch.tensor([images[name][0] for name in names])
    groups = [images[name][1] for name in names]
    pixels = torch.zeros(len(names), 1, 1, 1, dtype=torch.uint8)
    return MemoryImages(pixels, labels, names, groups=groups if any(groups) else None)


def split_of_each(images: dict[str, tuple[int, str]], fraction: float, seed: int) -> dict[str, str]:
    """Return the split of each image: test cut off first, then validation, as of a folder."""
    stored = image_set(images)
    rest, tested = cut(stored, "hash", fraction, 2, 0, "folder test")
    empty = stored.subset(torch.empty(0, dtype=torch.int64))
    classes = [str(label) for label in range(max(label for label, _ in images.values()) + 1)]
    splits = Splits(stored.subset(rest), empty, stored.subset(tested), classes)
    divided = divide(splits, Validation(fraction, "hash"), None, seed)
    return {name: split for split, part in divided.parts().items() for name in part.names or []}


def random_images(rng: random.Random, count: int, classes: int, groups: int) -> dict[str, tuple[int, str]]:
    """Return images in classes of very different sizes; each group, if there are any, in any of them."""
    found = {}
    for _ in range(count):
        label = min(int(rng.expovariate(1.2)), classes - 1)
        found[f"{label}/{rng.getrandbits(40):x}.png"] = (label, f"g{rng.randrange(groups)}" if groups else "")
    return found


def by_class(images: dict[str, tuple[int, str]], split: dict[str, str]) -> dict[int, Counter[str]]:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for name, (label, _) in images.items():
        counts[label][split[name]] += 1
    return counts


@pytest.mark.parametrize("fraction", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("seed", SEEDS)
def test_each_class_is_in_each_split_that_its_images_suffice_for(fraction: float, seed: int) -> None:
    images = random_images(random.Random(seed), 60, 6, 0)
    for counts in by_class(images, split_of_each(images, fraction, seed)).values():
        expected = {1: {"train"}, 2: {"train", "val"}}.get(counts.total(), {"train", "val", "test"})
        assert set(counts) == expected


@pytest.mark.parametrize("grouped", [False, True])
def test_a_growing_folder_moves_no_training_image_into_another_split(grouped: bool) -> None:
    """Unless it, or its group, was the only one of its class in training; groups are of one class each."""
    moved = Counter[tuple[str, str]]()
    for seed in SEEDS:
        rng = random.Random(seed)
        fraction = rng.choice([0.05, 0.1, 0.3])
        images: dict[str, tuple[int, str]] = {}
        before: dict[str, str] = {}
        for _ in range(40):
            training = defaultdict(set)
            for name, (label, group) in images.items():
                if before[name] == "train":
                    training[label].add(group or name)
            new = random_images(rng, rng.randrange(1, 6), 4, 0)
            if grouped:
                new = {name: (label, f"{label}-{rng.randrange(30)}") for name, (label, _) in new.items()}
            larger = images | new
            after = split_of_each(larger, fraction, seed)
            for name, (label, _) in images.items():
                if before[name] != after[name] and len(training[label]) > 1:
                    moved[before[name], after[name]] += 1
            images, before = larger, after
    assert set(moved) == {("test", "train"), ("test", "val"), ("val", "train")}


def test_an_image_of_the_lowest_hash_is_cut_off_until_one_below_the_fraction_is_there() -> None:
    """With hashes computed here: blake2b of "seed/purpose/name", its upper 63 bits of 64."""

    def hashed(name: str) -> float:
        digest = hashlib.blake2b(f"7/val/{name}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 1) / 2**63

    names = [f"{number}.png" for number in range(40)]
    low = [name for name in names if hashed(name) < 0.1]
    high = [name for name in names if hashed(name) >= 0.1][:6]
    assert 1 < len(low) < 9

    def cut_off(names: list[str]) -> set[str]:
        _, cut = class_cut(torch.zeros(len(names), dtype=torch.int64), names, None, 0.1, 1, 7, "val")
        return {names[index] for index in cut.tolist()}

    assert cut_off(high) == {min(high, key=hashed)}
    assert cut_off(high + low) == set(low)


@pytest.mark.parametrize("fraction", [0.03, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_is_in_two_splits_or_folds(fraction: float, seed: int) -> None:
    images = random_images(random.Random(seed), 120, 5, 25)
    split = split_of_each(images, fraction, seed)
    assert len({(group, split[name]) for name, (_, group) in images.items()}) == len(
        {group for _, group in images.values()}
    )
    stored = image_set(images)
    assert stored.groups is not None
    folds = class_folds(stored.labels, stored.names or [], stored.groups, 4, seed).tolist()
    assert len(set(zip(stored.groups, folds, strict=True))) == len(set(stored.groups))
    counts = torch.bincount(stored.labels * 4 + torch.tensor(folds), minlength=20).view(5, 4)
    largest = max(Counter(stored.groups).values())
    assert (counts[0].max() - counts[0].min()) <= 2 * largest
    assert counts.sum(0).min() > 0


def test_images_without_a_group_are_units_of_their_own() -> None:
    names = [f"{number}.png" for number in range(200)]
    labels = torch.zeros(200, dtype=torch.int64)
    grouped = class_cut(labels, names, [""] * 199 + ["a"], 0.5, 1, 0, "val")[1].tolist()
    single = class_cut(labels, names, None, 0.5, 1, 0, "val")[1].tolist()
    assert set(grouped) - {199} == set(single) - {199}


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_without_groups_are_even_in_every_class_and_in_all(folds: int) -> None:
    images = random_images(random.Random(folds), 150, 5, 0)
    stored = image_set(images)
    assigned = class_folds(stored.labels, stored.names or [], None, folds, 1)
    for chosen in (assigned, *(assigned[stored.labels == label] for label in range(5))):
        counts = torch.bincount(chosen, minlength=folds)
        assert counts.max() - counts.min() <= 1
    assert not torch.equal(assigned, class_folds(stored.labels, stored.names or [], None, folds, 2))
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    shuffled = stored.subset(order)
    again = class_folds(shuffled.labels, shuffled.names or [], None, folds, 1)
    assert torch.equal(again, assigned[order])


def test_the_splits_of_stored_runs_are_those_that_they_were() -> None:
    """Indices that the versions before split_by=hash chose of these names and labels, with seed 3."""
    names = [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    images = MemoryImages(
        torch.zeros(20, 1, 1, 1, dtype=torch.uint8), torch.arange(2).repeat_interleave(10), names
    )
    assert cut(images, "name", 0.2, 1, 3, "val")[1].tolist() == [3, 4, 7, 11, 17, 19]
    assert cut(images, "position", 0.2, 1, 3, "val")[1].tolist() == [1, 8, 10, 11]
