"""Copies: in one split, across splits, and with labels that contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from cnntrain.checks.check_result import CheckResult
from cnntrain.checks.data.audit import check_labels_and_copies
from cnntrain.checks.data.copies import copies_of_training_images
from cnntrain.data.image_set import FileImages, MemoryImages
from cnntrain.data.splits import Splits


def images(count: int, seed: int, labels: Tensor | None = None) -> MemoryImages:
    """Return random images, of class 0 unless labels are given."""
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 4, 4, 1), dtype=torch.uint8, generator=rng)
    return MemoryImages(pixels, torch.zeros(count, dtype=torch.int64) if labels is None else labels)


def checked(made: Splits, tolerated: float = 0.0) -> dict[str, CheckResult]:
    return {result.name: result for result in check_labels_and_copies(made, None, tolerated)}


@pytest.mark.parametrize(
    ("copies", "tolerated", "mark"),
    [(0, 0.0, "✓"), (1, 0.0, "✗"), (2, 0.01, "!"), (3, 0.01, "✗")],
)
def test_copies_of_training_images_fail_beyond_what_is_tolerated(
    copies: int, tolerated: float, mark: str
) -> None:
    train, test = images(20, 0), images(200, 1)
    test.images[50 : 50 + copies] = train.images[3 : 3 + copies]
    made = Splits(train, images(10, 2), test, ["a"])
    assert copies_of_training_images(made) == {"val": [], "test": list(range(50, 50 + copies))}
    result = checked(made, tolerated)["copies between splits"]
    assert result.mark == mark
    assert f"{copies} of 200 test" in result.sentence
    assert result.details["copies"] == {"val": [], "test": list(range(50, 50 + copies))}
    assert ("train image 3 = test image 50" in result.sentence) is (copies > 0)


def test_a_test_image_that_is_a_validation_image_is_a_copy() -> None:
    val, test = images(10, 1), images(10, 2)
    test.images[4] = val.images[7]
    result = checked(Splits(images(10, 0), val, test, ["a"]))["copies between splits"]
    assert result.details["copies"] == {"val": [], "test": [4]}


def test_an_image_twice_in_a_split_is_a_warning() -> None:
    train = images(10, 0)
    train.images[[6, 8]] = train.images[[2, 2]]
    result = checked(Splits(train, images(5, 1), images(5, 2), ["a"]))["copies in a split"]
    assert result.mark == "!"
    assert result.details == {"surplus": 2}
    assert "train image 2 = train image 6, train image 2 = train image 8" in result.sentence


def test_of_contradictory_copies_those_of_one_label_are_repeated() -> None:
    train = images(6, 0, torch.tensor([0, 0, 1, 1, 1, 0]))
    train.images[:5] = train.images[0]
    found = checked(Splits(train, images(2, 1), images(2, 2), ["a", "b"]))
    assert found["contradictory labels"].details == {"images": 5, "groups": 1}
    assert found["copies in a split"].details == {"surplus": 3}


CLASSES = torch.arange(10) % 2
VALUES = torch.linspace(0, 9, 10)[:, None]


@pytest.mark.parametrize(
    ("labels", "one", "other", "contradicts"),
    [
        (CLASSES, 2, 4, False),
        (CLASSES, 2, 5, True),
        (torch.stack([CLASSES, 1 - CLASSES], 1).float(), 2, 5, True),
        (torch.stack([CLASSES, 1 - CLASSES], 1).float(), 2, 4, False),
        (VALUES, 2, 3, True),
        (VALUES * 0.01 + (torch.arange(10) > 8)[:, None] * 9.0, 2, 3, False),  # a hundredth of a deviation
    ],
)
def test_copies_with_other_labels_fail(labels: Tensor, one: int, other: int, contradicts: bool) -> None:
    train = images(10, 0, labels)
    train.images[other] = train.images[one]
    names = ["a", "b"] if labels.ndim == 1 else [str(column) for column in range(labels.shape[1])]
    made = Splits(train, images(0, 1, labels[:0]), images(3, 2, labels[:3]), names)
    found = checked(made)
    assert found["contradictory labels"].passed is (not contradicts)
    assert found["copies in a split"].warns is (not contradicts)
    assert checked(made, tolerated=0.2)["contradictory labels"].passed is True


def test_copies_of_files_are_found_by_their_content(tmp_path: Path) -> None:
    paths = []
    for number, value in enumerate((10, 20, 10)):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("L", (8, 8), value).save(paths[-1])
    whole = FileImages(paths, torch.tensor([0, 1, 0]), 8, "crop", 1, 0, str(tmp_path))
    train, test = whole.subset(torch.tensor([0, 1])), whole.subset(torch.tensor([2]))
    made = Splits(train, whole.subset(torch.empty(0, dtype=torch.int64)), test, ["a", "b"])
    assert copies_of_training_images(made) == {"test": [0]}
    assert "0.png of train = 2.png of test" in checked(made)["copies between splits"].sentence


def test_images_of_a_few_values_are_not_compared() -> None:
    points = MemoryImages(torch.zeros(9, 1, 1, 2, dtype=torch.uint8), torch.arange(9) % 2)
    found = checked(Splits(points, points, points, ["a", "b"]))
    for name in ("copies between splits", "copies in a split", "contradictory labels"):
        assert found[name].passed is None
