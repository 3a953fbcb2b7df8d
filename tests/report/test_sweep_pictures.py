"""What a sweep's page shows of its settings, on records whose answer is known."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.equivalent_command import equivalent_overrides
from cnntrain.config.pipeline import configure
from cnntrain.findings.run_record import RunRecord
from cnntrain.findings.sweep_record import SweepJob, SweepRecord
from cnntrain.report.importance import importances
from cnntrain.report.pictures.parallel_coordinates import parallel_coordinates
from cnntrain.report.pictures.sweep_curves import setting_plot
from cnntrain.search.ranges import Range


def recorded(overrides: list[str], accuracy: float) -> SweepJob:
    config = configure(overrides, Choices()).config
    row = {"step": 10, "epoch": 1, "val/accuracy": accuracy}
    record = RunRecord(config, "finished", [], [row], {}, {"best_epoch": 1})
    return SweepJob(" ".join(overrides), equivalent_overrides(config, Choices()), record)


def test_the_setting_that_decides_is_the_most_important_though_job_0_has_no_number_of_it() -> None:
    chance = random.Random(0)
    jobs = [recorded([], 0.5)]  # regularization.dropout=null
    for _ in range(40):
        dropout, lr = chance.uniform(0, 0.6), 10 ** chance.uniform(-3, 0)
        overrides = [f"regularization.dropout={dropout:.4f}", f"optim.lr={lr:.4g}"]
        jobs.append(recorded(overrides, 0.9 - dropout))
    ranges = {"regularization.dropout": Range(0.0, 0.6), "optim.lr": Range(1e-3, 1.0, log=True)}
    found = importances(SweepRecord(Path("sweep"), jobs, {}, ranges))
    assert list(found) == ["regularization.dropout", "optim.lr"]
    assert found["regularization.dropout"] > 0.7


def heights(svg: str) -> list[list[float]]:
    """The heights of the lines of a picture, from its top down."""
    lines = re.findall(r'd="(M[^"]+)"[^>]*style="fill: none; stroke: #[0-9a-f]{6}; stroke-opacity', svg)
    return [[float(y) for y in re.findall(r"[ML] ?[\d.]+ ([\d.]+)", line)] for line in lines]


def test_parallel_axes_have_scales_of_their_own_and_a_place_for_values_that_are_no_numbers() -> None:
    jobs = [(["0.001", "null", "sgd"], 0.1), (["0.1", "0.5", "adam"], 0.3), (["10", "0.25", "sgd"], 0.2)]
    svg = parallel_coordinates({"optim.lr": True, "dropout": False, "optim": False}, jobs, "accuracy", False)
    worst, middle, best = heights(svg)  # the best is drawn last
    top, bottom = middle[0], worst[0]
    assert [worst[3], best[3]] == [bottom, top]
    assert best[0] == pytest.approx((top + bottom) / 2)  # 0.1 between 0.001 and 10 on a logarithmic axis
    assert middle[3] == pytest.approx((top + bottom) / 2)
    assert (best[1], middle[1]) == (top, bottom)
    assert worst[1] > bottom  # null, below the numbers
    assert (best[2], middle[2], worst[2]) == (bottom, top, top)
    for text in ("0.001", "10", "null", "sgd", "adam", "0.5"):
        assert f">{text}<" in svg


def test_jobs_without_a_number_are_a_line_across_the_picture_of_a_setting() -> None:
    points = [("0.1", 0.5), ("0.2", 0.6), ("0.3", 0.7), ("null", 0.4), ("null", 0.6)]
    assert "null (mean)" in setting_plot(points, "dropout", "accuracy", logarithmic=False)
    assert "null (mean)" not in setting_plot(points[:3], "dropout", "accuracy", logarithmic=False)
