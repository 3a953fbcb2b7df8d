"""trainer.budget_minutes: the number of epochs that fits into a time, with the schedule over all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cnntrain.assemble import time_budget
from cnntrain.assemble.time_budget import Durations, epochs_within
from cnntrain.cli import main

QUICK = ["trainer.pictures=false", "trainer.report=false", "model=linear", "trainer.threads=1"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (100.0, (8, None)),
        (24.1, (2, None)),
        (23.9, (2, 99)),  # 22.9 s for two epochs: 1.5 s of each for what follows it, 9.95 s for updates
        (18.0, (2, 70)),
        (7.55, (1, 50)),
        (2.4, (1, 1)),
        (0.0, (1, 1)),
    ],
)
def test_epochs_are_what_fits_into_the_time_with_validation_saving_and_the_test(
    seconds: float, expected: tuple[int, int | None]
) -> None:
    # An epoch takes 100 updates of 0.1 s, 50 images of 0.02 s and 0.5 s to save: 11.5 s; the end 1 s.
    found = epochs_within(seconds, Durations(0.1, 0.02, 0.5), 100, 50, 50)
    assert found == expected


def test_the_run_is_that_of_so_many_epochs_and_ends_with_a_finished_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # A step of 5 s: 18 of them and the rest take 100 s, so three epochs fit into 308 s.
    monkeypatch.setattr(time_budget, "_measured", lambda *arguments: Durations(5.0, 0.0, 10.0))
    assert main([*QUICK, "trainer.budget_minutes=5.4", "hydra.run.dir=budget"]) == 0
    assert "budget    5.4 min: 3 epochs of 18 updates" in capsys.readouterr().out
    assert main([*QUICK, "trainer.epochs=3", "hydra.run.dir=epochs"]) == 0
    assert yaml.safe_load(Path("budget/config.yaml").read_text())["trainer"]["epochs"] == 3
    assert Path("budget/checkpoints/last.pt").exists()

    def without_times(run: str) -> list[dict[str, float]]:
        rows = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if k not in ("images_per_second", "data_wait")} for row in rows]

    # The copy that was timed has left nothing behind.
    assert without_times("budget") == without_times("epochs")
    monkeypatch.setattr(time_budget, "_measured", lambda *arguments: pytest.fail("timed again"))
    assert main(["run=budget", "trainer.epochs=4"]) == 0


def test_the_time_of_updates_is_measured_on_the_run_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time_budget, "PLANNED", 0.0)  # no time: the fewest updates
    assert main([*QUICK, "trainer.budget_minutes=0.001", "hydra.run.dir=short"]) == 0
    assert json.loads(Path("short/summary.json").read_text())["steps"] == 1


def test_it_is_refused_where_it_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "seed=0,1", "trainer.budget_minutes=5"]) == 2
    assert "write trainer.epochs, or search.minutes" in capsys.readouterr().err
    assert main(["trainer.budget_minutes=5", "trainer.max_minutes=5"]) == 2
    assert "keep one of the two" in capsys.readouterr().err
