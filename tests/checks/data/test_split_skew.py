"""Differences between splits: Cohen's d, large and sure ones alone are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from cnntrain.checks.check_result import CheckResult
from cnntrain.checks.data.image_records import measure
from cnntrain.checks.data.split_skew import check_appearance, check_label_means, difference
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.splits import Splits


def test_the_difference_is_cohens_d_and_its_errors_are_students_t() -> None:
    rng = np.random.default_rng(0)
    train, other = rng.normal(100, 10, 80), rng.normal(107, 12, 30)
    found = difference("brightness", "test", train, other, least=1.0)
    pooled = np.sqrt((79 * train.var(ddof=1) + 29 * other.var(ddof=1)) / 108)
    assert found.effect == pytest.approx((other.mean() - train.mean()) / pooled)
    assert found.errors == pytest.approx(ttest_ind(other, train).statistic)


def checked(test_shift: tuple[int, int, int], test_images: int = 60) -> CheckResult:
    """Return the check of random images, those of the test split with other channel means."""
    rng = np.random.default_rng(1)
    parts = []
    for count, shift in ((100, (0, 0, 0)), (0, (0, 0, 0)), (test_images, test_shift)):
        levels = rng.normal(120, 8, (count, 1, 1, 3)) + np.array(shift)
        pixels = (levels + rng.normal(0, 20, (count, 8, 8, 3))).clip(0, 255).astype(np.uint8)
        parts.append(MemoryImages(torch.from_numpy(pixels), torch.arange(count) % 2))
    return check_appearance(measure(Splits(*parts, names=["a", "b"])))


@pytest.mark.parametrize(
    ("shift", "images", "named"),
    [
        ((0, 0, 0), 60, []),
        ((30, 30, 30), 60, ["brightness of test"]),
        ((30, 0, 0), 60, ["red of test"]),
        ((4, 4, 4), 3, []),  # three images are chance
    ],
)
def test_brighter_and_redder_test_images_are_named(
    shift: tuple[int, int, int], images: int, named: list[str]
) -> None:
    result = checked(shift, images)
    assert result.warns is bool(named)
    assert all(name in result.sentence for name in named)
    if not named and images == 3:
        assert abs(result.details["effects"]["test"]["brightness"]) > 0.5


def test_values_of_another_range_are_named() -> None:
    rng = torch.Generator().manual_seed(0)
    parts = []
    for count, mean in ((100, 0.0), (50, 0.0), (50, 2.0)):
        pixels = torch.zeros(count, 4, 4, 1, dtype=torch.uint8)
        parts.append(MemoryImages(pixels, torch.randn(count, 1, generator=rng) + mean))
    result = check_label_means(Splits(*parts, names=["angle"]))
    assert result.warns
    assert result.sentence.startswith("angle of test is +")
    assert abs(result.details["effects"]["val"]["angle"]) < 0.5
