"""What of a run's files is written to a service, in which order, once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from cnntrain.logger import process
from cnntrain.logger.process import LoggerProcess
from cnntrain.logger.sink import End, LoggedRun


class Recording:
    """A sink that stores what it is told; `events` are those of all processes."""

    events: list[Any]
    runs: list[LoggedRun]
    ends: list[End]

    def __init__(self, run: LoggedRun):
        self.runs.append(run)
        self.ids = {"id": "abc"}
        self.where = ""

    def write(self, row: dict[str, Any], of_epoch: bool) -> None:
        self.events.append((row["step"], "epoch" if of_epoch else "step"))

    def write_histograms(self, row: dict[str, Any]) -> None:
        self.events.append((row["step"], "histograms"))

    def flush(self) -> None:
        pass

    def close(self, end: End) -> None:
        self.ends.append(end)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run that is logged to `Recording`."""
    Recording.events, Recording.runs, Recording.ends = [], [], []
    monkeypatch.setattr(process, "_load_sink", lambda path: Recording)
    folder = tmp_path / "2026-11-30" / "19-25-39"
    (folder / "loggers").mkdir(parents=True)
    (folder / "config.yaml").write_text("job: train\noptim: {lr: 0.1}\nlogger: {name: loggers}\n")
    return folder


def log(folder: Path) -> None:
    """Log a run that has ended."""
    ended = threading.Event()
    ended.set()
    LoggerProcess("recording", "", folder, ["cnntrain", "seed=1"], ended).run()


def append(file: Path, rows: list[dict[str, Any]]) -> None:
    """Append JSON lines to a file."""
    with file.open("a") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def steps(*numbers: int) -> list[dict[str, Any]]:
    """Return rows of steps."""
    return [{"step": number, "lr": 0.1} for number in numbers]


def test_rows_and_histograms_are_written_in_the_order_of_training(run: Path) -> None:
    append(run / "metrics.jsonl", [*steps(1, 2), {"step": 2}, *steps(3)])
    append(run / "histograms.jsonl", [{"step": 1}, {"step": 3}])
    log(run)
    first, second, third = [(1, "histograms"), (1, "step")], [(2, "step"), (2, "epoch")], (3, "step")
    assert Recording.events == [*first, *second, (3, "histograms"), third]


def test_steps_repeated_after_a_kill_are_written_once_also_if_others_are_recorded(run: Path) -> None:
    append(run / "metrics.jsonl", [*steps(1, 2, 3, 4), {"step": 4}, *steps(5)])
    log(run)
    assert Recording.runs[0].ids == {}
    # The checkpoint was made after step 2, and now every third step is recorded.
    (run / "metrics.jsonl").write_text("")
    append(run / "metrics.jsonl", [*steps(1, 2, 3), {"step": 4}, *steps(6), {"step": 8}])
    log(run)
    assert Recording.runs[1].ids == {"id": "abc"}
    written = [(step, kind) for step, kind in Recording.events if kind == "step"]
    assert written == [(step, "step") for step in (1, 2, 3, 4, 5, 6)]
    assert [step for step, kind in Recording.events if kind == "epoch"] == [4, 8]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(run: Path) -> None:
    followed = process.FollowedFile(run / "metrics.jsonl")
    assert followed.new_rows() == []
    for text, rows in (('{"step": 1}\n{"st', [{"step": 1}]), ('ep": 2', []), ("}\n", [{"step": 2}])):
        with (run / "metrics.jsonl").open("a") as file:
            file.write(text)
        assert followed.new_rows() == rows


@pytest.mark.parametrize(
    ("status", "checkpoint"), [("finished", True), ("diverged", False), ("interrupted", False)]
)
def test_the_end_has_status_files_and_the_best_checkpoint_of_finished_runs_alone(
    run: Path, status: str, checkpoint: bool
) -> None:
    (run / "checkpoints").mkdir()
    for name in ("checkpoints/best.pt", "images.png", "schedule.png", "report.html"):
        (run / name).touch()
    summary = {"status": status, "best_epoch": 3, "val/loss": 0.5, "test/loss": 0.25, "epochs": 4}
    (run / "summary.json").write_text(json.dumps(summary))
    append(run / "metrics.jsonl", steps(7))
    log(run)
    (end,) = Recording.ends
    assert (end.status, end.step) == (status, 7)
    files = [] if status == "interrupted" else ["images.png", "schedule.png", "report.html"]
    assert [path.name for path in (*end.pictures, *end.pages)] == files
    assert end.checkpoint == (run / "checkpoints" / "best.pt" if checkpoint else None)
    assert end.results() == {"test/loss": 0.25, "best/val/loss": 0.5, "best/epoch": 3}


def test_a_run_is_called_like_its_folder_and_jobs_of_a_sweep_are_a_group(run: Path) -> None:
    log(run)
    (run / "job.json").touch()
    log(run)
    alone, job = Recording.runs
    assert (alone.name, alone.group, alone.sweep) == ("2026-11-30/19-25-39", None, None)
    assert (job.name, job.group, job.sweep) == ("2026-11-30/19-25-39", "2026-11-30", run.parent)
    assert alone.config == {"job": "train", "optim": {"lr": 0.1}}
