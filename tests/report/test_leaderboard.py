"""The ranking of a sweep's jobs."""

from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import replace

import pytest

from cnntrain.report.leaderboard import leaderboard_csv, leaderboard_lines
from cnntrain.runs.sweep_folder import JobRecord, JobResults
from cnntrain.runs.sweep_ranking import leaderboard
from cnntrain.search.plan import best_jobs


def job(
    settings: dict[str, str], *curve: float, status: str = "finished", metric: str = "accuracy"
) -> JobRecord:
    return JobRecord(settings, status=status, epochs=len(curve), metric=metric, curve=list(curve))


JOBS = {
    "0000": job({}, 0.5, 0.7, 0.6),
    "0001": job({"optim.lr": "0.1"}, 0.5, 0.8, 0.81),
    "0001-seed1": job({"optim.lr": "0.1", "seed": "1"}, 0.5, 0.79, 0.77),
    "0002": job({"optim.lr": "0.2"}, 0.9, 0.95, 0.9),
    "0003": job({"optim.lr": "0.3"}, 0.99, status="paused"),
    "0004": job({"optim.lr": "1e30"}, status="diverged"),
    "0005": job({"optim.lr": "0.4"}, 0.1, 0.1, status="stopped"),
}


def test_seeds_are_one_entry_and_those_trained_farther_come_first() -> None:
    entries = leaderboard(JOBS)
    assert [entry.jobs for entry in entries] == [
        ["0001", "0001-seed1"],
        ["0002"],
        ["0000"],
        ["0005"],
        ["0003"],
        ["0004"],
    ]
    best = entries[0]
    assert best.values == [0.81, 0.79]
    assert best.mean == pytest.approx(statistics.fmean([0.81, 0.79]))
    assert best.deviation == pytest.approx(math.sqrt(2) * 0.01)
    assert best.result() == "80.00% ± 1.41%"
    assert entries[1].deviation is None


def test_a_lower_loss_is_better() -> None:
    entries = leaderboard(
        {"a": job({"x": "1"}, 0.3, 0.4, metric="loss"), "b": job({"x": "2"}, 0.2, 0.9, metric="loss")}
    )
    assert [(entry.jobs[0], entry.mean) for entry in entries] == [("b", 0.2), ("a", 0.3)]


def test_of_equal_results_the_one_of_the_lower_loss_at_its_best_epoch_comes_first() -> None:
    def tied(curve: list[float], losses: list[float | None]) -> JobRecord:
        return replace(job({"optim.lr": str(len(jobs))}, *curve), losses=losses)

    jobs: dict[str, JobRecord] = {}
    jobs["unknown"] = tied([0.5, 0.9], [])
    jobs["late"] = tied([0.9, 0.9, 0.5], [0.6, 0.3, 0.1])
    jobs["early"] = tied([0.5, 0.9], [0.1, 0.5])
    jobs["other"] = tied([0.5, 0.9], [0.1, None])
    assert [entry.jobs[0] for entry in leaderboard(jobs)] == ["late", "early", "unknown", "other"]
    results = JobResults(jobs, frozenset())
    assert best_jobs(list(jobs), 2, results, 2) == ["late", "early"]
    assert best_jobs(list(jobs), 1, results, 1) == ["late"]


def test_the_table_has_a_line_for_each_entry_and_the_csv_all_digits() -> None:
    entries = leaderboard(JOBS)
    lines = leaderboard_lines(entries, 3)
    assert len(lines) == 5
    assert lines[-1] == "… and 3 more"
    assert "80.00% ± 1.41%" in lines[1]
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(entries))))
    assert [row["jobs"] for row in rows] == [" ".join(entry.jobs) for entry in entries]
    assert float(rows[0]["mean"]) == entries[0].mean
    assert rows[0]["optim.lr"] == "0.1"
    assert (rows[-1]["mean"], rows[-1]["status"]) == ("", "diverged")


def test_the_same_settings_drawn_twice_are_one_result_and_the_best_job_is_named_first() -> None:
    jobs = {
        "0001": job({"x": "1"}, 0.6, status="paused"),
        "0002": job({"x": "1"}, 0.6, 0.9),
        "0003": job({"x": "1"}, 0.6, 0.9),
        "0002-seed1": job({"x": "1", "seed": "1"}, 0.5, 0.95),
    }
    (entry,) = leaderboard(jobs)
    assert entry.values == [0.9, 0.95]
    assert entry.jobs == ["0002-seed1", "0002", "0003", "0001"]
    del jobs["0002-seed1"]
    (entry,) = leaderboard(jobs)
    assert entry.values == [0.9]
    assert entry.deviation is None
