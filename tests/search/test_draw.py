"""Settings drawn by number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest, pearsonr, qmc

from cnntrain.search.draw import quasi_random_settings, random_settings
from cnntrain.search.ranges import Parameter, Range, Values

SPACE: dict[str, Parameter] = {
    "optim.lr": Range(1e-6, 10.0, log=True),
    "model.dropout": Range(0.0, 1.0),
    "optim": Values(("sgd", "adam")),
}
Draw = Callable[[dict[str, Parameter], int, int], dict[str, str]]


def fractions(draw: Draw, count: int, seed: int = 0) -> np.ndarray:
    space: dict[str, Parameter] = {"a": Range(0.0, 1.0), "b": Range(0.0, 1.0)}
    return np.array(
        [[float(value) for value in draw(space, seed, number).values()] for number in range(count)]
    )


def test_random_settings_are_independent_and_each_on_its_scale() -> None:
    points = fractions(random_settings, 2000)
    for column in points.T:
        assert kstest(column, "uniform").pvalue > 0.01
    assert abs(pearsonr(*points.T).statistic) < 0.06
    assert abs(pearsonr(points[:-1, 0], points[1:, 0]).statistic) < 0.06


def test_another_seed_and_another_job_are_other_settings() -> None:
    drawn = [random_settings(SPACE, seed, number) for seed in (0, 1) for number in (1, 2)]
    assert len({entry["optim.lr"] for entry in drawn}) == 4


def test_a_further_setting_leaves_the_others_as_they_were() -> None:
    wider = {"seed": Range(0.0, 9.0, whole=True), **SPACE}
    for number in range(5):
        drawn = random_settings(wider, 3, number)
        assert {key: drawn[key] for key in SPACE} == random_settings(SPACE, 3, number)


def test_quasi_random_settings_cover_the_ranges_more_evenly_than_random_ones() -> None:
    random = [qmc.discrepancy(fractions(random_settings, 64, seed)) for seed in range(5)]
    quasi = [qmc.discrepancy(fractions(quasi_random_settings, 64, seed)) for seed in range(5)]
    assert max(quasi) < min(random) / 3


def test_quasi_random_settings_are_the_points_of_scipys_sequence() -> None:
    points = qmc.Halton(d=2, scramble=True, rng=np.random.default_rng(7)).random(20)
    assert fractions(quasi_random_settings, 20, seed=7) == pytest.approx(points, abs=1e-4)
