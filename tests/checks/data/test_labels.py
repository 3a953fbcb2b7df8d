"""Checks of labels: constant, missing and rare ones, and other proportions in other splits."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2_contingency
from torch import Tensor

from cnntrain.checks.data.labels import (
    check_class_proportions,
    check_class_sizes,
    check_labels,
    label_text,
    proportion_difference,
)
from cnntrain.data.image_set import ImageSet, MemoryImages
from cnntrain.data.splits import Splits

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def splits(train: Tensor, val: Tensor, test: Tensor, names: str = "abc") -> Splits:
    """Return splits of black images with these labels."""
    parts: list[ImageSet] = [
        MemoryImages(torch.zeros(len(labels), 4, 4, 1, dtype=torch.uint8), labels)
        for labels in (train, val, test)
    ]
    return Splits(*parts, names=list(names))


def of_counts(*counts: int) -> Tensor:
    """Return the labels 0, 1, …, each so many times."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def test_classes_in_every_split_pass() -> None:
    result = check_labels(splits(LABELS, LABELS[:3], LABELS[3:]))
    assert (result.passed, result.warns) == (True, False)
    assert result.details["training_images"] == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("train", "val", "test", "parts"),
    [
        (LABELS[:2], LABELS, LABELS, ["no train images of c"]),
        (LABELS, LABELS[:2], LABELS, ["no val images of c"]),
        (LABELS * 0 + 1, LABELS, LABELS, ["all training images are of class b"]),
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), LABELS, LABELS, ["constant", "a"]),
        (LABELS[:0], LABELS, LABELS, ["no training images"]),
    ],
)
def test_constant_labels_and_classes_that_training_lacks_fail(
    train: Tensor, val: Tensor, test: Tensor, parts: list[str]
) -> None:
    names = "ab" if train.ndim > 1 else "abc"
    result = check_labels(splits(train, val, test, names))
    assert result.passed is False
    assert all(part in result.sentence for part in parts)


def test_a_class_that_is_not_measured_is_a_warning() -> None:
    result = check_labels(splits(LABELS, LABELS, LABELS[1:3]))
    assert (result.passed, result.warns) == (True, True)
    assert "no test images of a" in result.sentence


def test_a_split_without_images_lacks_no_class() -> None:
    assert check_labels(splits(LABELS, LABELS[:0], LABELS)).warns is False


@pytest.mark.parametrize(("smallest", "warns"), [(11, False), (10, True)])
def test_a_class_of_an_eighth_of_the_largest_is_rare(smallest: int, warns: bool) -> None:
    result = check_class_sizes(splits(of_counts(80, 40, smallest), LABELS, LABELS))
    assert result.warns is warns
    assert result.details["ratio"] == pytest.approx(80 / smallest, abs=1e-3)


@pytest.mark.parametrize(("train", "other"), [([90, 10], [5, 5]), ([40, 30, 20], [4, 9, 2])])
def test_the_difference_of_proportions_is_cohens_w_and_pearsons_test(
    train: list[int], other: list[int]
) -> None:
    effect, probability = proportion_difference(train, other)
    p, q = torch.tensor(train) / sum(train), torch.tensor(other) / sum(other)
    assert effect == pytest.approx(((q - p) ** 2 / p).sum().sqrt().item(), rel=1e-5)
    assert probability == pytest.approx(chi2_contingency([train, other], correction=False).pvalue, rel=1e-9)


def test_classes_that_training_lacks_are_no_difference_of_proportions() -> None:
    assert proportion_difference([9, 0], [3, 4]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("val", "test", "named"),
    [
        ((10, 10), (50, 50), None),
        ((10, 10), (20, 80), "b is 80% of the test images and 50% of the training images"),
        ((0, 2), (50, 50), None),  # two images are chance
        ((40, 60), (400, 600), None),  # a small effect, however sure
    ],
)
def test_splits_of_other_class_proportions_are_named(
    val: tuple[int, int], test: tuple[int, int], named: str | None
) -> None:
    result = check_class_proportions(
        splits(of_counts(1000, 1000), of_counts(*val), of_counts(*test), names="ab")
    )
    assert result.warns is (named is not None)
    assert named is None or named in result.sentence


def test_labels_as_text() -> None:
    assert label_text(torch.tensor(1), ["a", "b"]) == "b"
    assert label_text(torch.tensor([1.0, 0.0, 1.0]), ["a", "b", "c"]) == "a, c"
    assert label_text(torch.tensor([0.0]), ["a"]) == "none"
    assert label_text(torch.tensor([0.5, -3.0]), ["x", "y"]) == "x 0.5, y -3"
