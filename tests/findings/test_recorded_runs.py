"""Rules on the course of a run, on runs that were trained (benchmarks/findings/recorded.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.findings.course import gain_in, is_flat, tail
from cnntrain.findings.finding import Finding
from cnntrain.findings.judge import findings_of
from cnntrain.findings.run_record import RunRecord

RUNS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("recorded_runs.json").read_text())


def recorded(name: str, *overrides: str) -> RunRecord:
    run = RUNS[name]
    config = configure([*run["overrides"], *overrides], Choices()).config
    return RunRecord(config, run["status"], run["steps"], run["epochs"], run["evidence"], run["summary"])


def found(run: RunRecord) -> Finding:
    (finding,) = findings_of(run)
    return finding


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("healthy")])
def test_healthy_runs_have_no_finding(name: str) -> None:
    assert findings_of(recorded(name)) == []


@pytest.mark.parametrize(
    ("name", "finding", "changes"),
    [
        ("milestone early", "schedule lowers the rate too early", {"schedule": "cosine"}),
        ("milestone early, learned", "schedule lowers the rate too early", {"schedule": "cosine"}),
        ("rate next to nothing", "epochs without gain", {"schedule": "cosine"}),
        ("stuck", "stuck after a fast fall", {"schedule": "cosine"}),
        ("two units", "underfitting", {"model.hidden": [128]}),
        ("two units, then 64", "underfitting", {"model.hidden": [128, 128]}),
        ("weights faint", "initial weights too small", {"initialization": "default"}),
    ],
)
def test_each_fault_is_found_first_with_what_mends_it(
    name: str, finding: str, changes: dict[str, Any]
) -> None:
    first = findings_of(recorded(name))[0]
    assert (first.name, first.changes) == (finding, changes)


@pytest.mark.parametrize(
    ("name", "factor", "part"),
    [
        ("healthy", 0.01, 0.06),  # a cosine from 1/10 of the run on: acos(-0.98) / pi of the rest is above
        ("healthy, constant schedule", 0.1, 0.0),
        ("healthy, step schedule", 0.01, 0.25),
        ("rate next to nothing", 0.01, 1 - 6 / 40),
        ("milestone early", 0.1, 1 - 0.1 / 20),
    ],
)
def test_the_tail_of_a_schedule_is_known_to_an_interval_between_records(
    name: str, factor: float, part: float
) -> None:
    run = recorded(name)
    interval = run.steps[1]["step"] / run.epochs[-1]["step"]
    assert part - 1.5 * interval <= tail(run, factor) <= part + 1e-3


def test_a_loss_is_flat_where_it_stayed_for_the_later_epochs_only() -> None:
    assert is_flat([2.0, 1.0, *[0.5] * 10])
    assert is_flat([2.0, 1.0, *[0.5, 0.52] * 5])
    assert not is_flat([1 / epoch for epoch in range(1, 13)])
    assert not is_flat([2.0, 1.0, *[0.5] * 5])  # too few epochs to tell


def test_what_was_gained_is_measured_by_the_smallest_losses_of_both_parts() -> None:
    run = recorded("rate next to nothing")
    losses = run.val_losses
    assert gain_in(run, 0.85) == pytest.approx(1 - min(losses[6:]) / min(losses[:6]))
    assert gain_in(run, 0.0) is None
    assert gain_in(run, 1.0) is None


def test_a_network_with_enough_weights_to_learn_its_images_by_heart_is_not_too_small() -> None:
    run = recorded("two units")
    wide = recorded("two units", "model.hidden=[64]")
    assert found(wide).name == "underfitting"  # 160 weights, whatever their layers
    enough = replace(wide, summary={"parameters": 2 * run.evidence["train_images"]})
    assert "underfitting" not in [finding.name for finding in findings_of(enough)]
    assert found(replace(run, summary=enough.summary)).name == "underfitting"  # two units are too few anyway


def test_epochs_without_gain_are_no_fault_of_a_run_that_still_gained_in_them() -> None:
    run = recorded("rate next to nothing")
    falling = [row | {"val/loss": row["val/loss"] * 0.95 ** row["epoch"]} for row in run.epochs]
    names = [finding.name for finding in findings_of(replace(run, epochs=falling))]
    assert "epochs without gain" not in names


def test_weights_that_are_outgrown_at_once_are_not_too_small() -> None:
    run = recorded("weights faint")
    at_once = [row | {"train/data_loss": min(row["train/data_loss"], 2.0)} for row in run.epochs]
    assert "initial weights too small" not in [f.name for f in findings_of(replace(run, epochs=at_once))]
