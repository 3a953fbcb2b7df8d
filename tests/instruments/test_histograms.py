"""Histograms against numpy; their cadence; rows of a continued run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.errors import DataError
from cnntrain.instruments.histograms import BINS, LEAST_STEPS, MAX_VALUES, Histograms, histogram, spread
from cnntrain.instruments.instrument import Instruments
from cnntrain.report.pictures.histogram_maps import common_range, histogram_maps, rebinned
from cnntrain.runs.metrics_file import append_row, remove_later_rows


def test_a_histogram_equals_that_of_numpy() -> None:
    values = torch.randn(3, 5, 7, 11, generator=torch.Generator().manual_seed(0))
    counts, edges = np.histogram(values.numpy(), BINS)
    found = histogram(values)
    assert found is not None
    assert found["counts"] == counts.tolist()
    assert (found["low"], found["high"]) == pytest.approx((edges[0], edges[-1]))


def test_values_that_are_not_finite_are_left_out_and_large_tensors_sampled() -> None:
    found = histogram(torch.tensor([math.nan, 1.0, math.inf, 3.0, -math.inf]))
    assert found is not None
    assert (found["low"], found["high"], sum(found["counts"])) == (1.0, 3.0, 2)
    assert histogram(torch.tensor([math.nan, math.inf])) is None
    large = histogram(torch.arange(3 * MAX_VALUES + 1))
    assert large is not None
    assert MAX_VALUES / 2 < sum(large["counts"]) <= MAX_VALUES
    assert max(large["counts"]) <= 1.1 * min(large["counts"])
    constant = histogram(torch.full((9,), 2.0))
    assert constant is not None
    assert sum(constant["counts"]) == 9


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3), nn.Tanh())


@pytest.mark.parametrize("steps_per_epoch", [1, 20, 49, 50, 120])
def test_whole_epochs_lie_between_measurements_and_many_updates(steps_per_epoch: int, tmp_path: Path) -> None:
    instrument = Histograms(network(), tmp_path / "file", steps_per_epoch)
    due = [step for step in range(1000) if instrument.due(step, recording=False)]
    assert due[0] == 0
    assert all(step % steps_per_epoch == 0 for step in due)
    assert LEAST_STEPS <= due[1] < LEAST_STEPS + steps_per_epoch


def test_rows_have_the_activations_of_the_step_and_its_gradients_before_clipping(tmp_path: Path) -> None:
    net, file = network(), tmp_path / "histograms.jsonl"
    instruments = Instruments([Histograms(net, file, 50)])
    images = torch.randn(4, 1, 4, 4)
    for step in (49, 50, 51):
        net.zero_grad()
        with instruments.around_step(step, recording=True):
            net(images).square().sum().backward()
            gradients = {name: weight.grad.clone() for name, weight in net.named_parameters()}
            with instruments.around_update(step, recording=True):
                nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
    (row,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert row == {
        "step": 51,
        "activation/1": histogram(F.relu(net[0](images))),
        "activation/4": histogram(net(images)),
        "gradient/0.weight": histogram(gradients["0.weight"]),
        "gradient/3.weight": histogram(gradients["3.weight"]),
    }
    assert instruments.step_row() == {}


def test_a_continued_run_keeps_the_rows_until_its_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "histograms.jsonl"
    remove_later_rows(file, 3)
    assert not file.exists()
    for step in (1, 51, 101):
        append_row(file, {"step": step})
    written = file.read_text()
    for damage in ("", '{"step": 1', '{"step": "x"}\n', "[]\n", "\n", "\x00\n"):
        for last, count in ((0, 0), (1, 1), (100, 2), (101, 3)):
            file.write_text(written + damage)
            remove_later_rows(file, last)
            assert file.read_text().splitlines() == written.splitlines()[:count]
    with pytest.raises(DataError, match="could not be written"):
        append_row(tmp_path, {})


def test_layers_are_evenly_spread_with_the_first_and_the_last() -> None:
    assert spread(list("abc"), 3) == list("abc")
    assert spread([str(number) for number in range(21)], 5) == ["0", "5", "10", "15", "20"]


def test_histograms_in_other_bins_keep_their_mass() -> None:
    one = {"low": -1.0, "high": 1.0, "counts": [1, 2, 3, 4]}
    again = rebinned(one, -1.0, 1.0)
    assert again.sum() == pytest.approx(10)
    quarters = again.reshape(4, -1).sum(1)
    assert quarters.tolist() == pytest.approx([1, 2, 3, 4])
    assert rebinned(one, 0.0, 3.0).sum() == pytest.approx(7)  # half of its width
    assert rebinned({"low": 2.0, "high": 2.0, "counts": [5, 0]}, 0, 3).sum() == pytest.approx(5)
    low, high = common_range([one, {"low": 0.0, "high": 100.0, "counts": [1000, 0, 0, 1]}])
    assert -1 <= low < high < 50


def test_a_picture_needs_two_rows_and_has_each_layer() -> None:
    rows = [
        {"step": step, **{f"activation/layer{n}": histogram(torch.rand(50) - n) for n in range(9)}}
        for step in (1, 51, 101)
    ]
    assert histogram_maps(rows[:1], "activation", 50, 4) is None
    assert histogram_maps(rows, "gradient", 50, 4) is None
    svg = histogram_maps(rows, "activation", 50, 4)
    assert svg is not None
    assert all(f"layer{n}" in svg for n in (0, 8))
    assert svg.count("<image") == 6
