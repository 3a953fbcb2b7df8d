"""Curves on one line of text."""

from __future__ import annotations

import math

import pytest

from cnntrain.report.sparkline import BARS, WIDTH, curve_lines, sparkline


def test_the_smallest_value_has_the_lowest_bar_and_the_largest_the_highest() -> None:
    assert sparkline([0.0, 7.0, 3.0, 1.0]) == BARS[0] + BARS[7] + BARS[3] + BARS[1]
    assert sparkline([2.0, math.nan, 2.0, math.inf]) == BARS[0] * 2
    assert sparkline([]) == ""


@pytest.mark.parametrize("count", [WIDTH, WIDTH + 1, 7 * WIDTH - 1])
def test_many_values_are_averaged_and_keep_their_order(count: int) -> None:
    line = sparkline([float(value) for value in range(count)])
    assert len(line) == WIDTH
    assert list(line) == sorted(line)
    assert (line[0], line[-1]) == (BARS[0], BARS[-1])


def test_the_lines_of_a_run_have_its_first_and_last_values() -> None:
    steps = [{"train/data_loss": loss} for loss in (2.0, None, 1.0, 0.5)]
    epochs = [{"val/loss": 1.0, "val/mean_absolute_error": error} for error in (3.5, 0.25)]
    loss, metric = curve_lines(steps, epochs, "mean_absolute_error")
    assert loss == f"train loss     {BARS[7]}{BARS[2]}{BARS[0]}  2.0000 → 0.5000"
    assert metric == f"val mean absolute error {BARS[7]}{BARS[0]}  3.5000 → 0.2500"
    assert curve_lines([], [], None) == []
    # In powers of ten, the bars of a loss that falls evenly by its logarithm fall evenly.
    (line,) = curve_lines([{"train/data_loss": 10.0**-power} for power in range(8)], [], None)
    assert BARS[::-1] in line
