"""The report of a sweep, after it and of an earlier one."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import statistics
from pathlib import Path

import pytest

from cnntrain.cli import main

SWEEP = ["-m", "model=linear", "optim.lr=0.01,0.1,1e6", "seed=0,1", "trainer.epochs=2", "trainer.threads=1"]
QUICK = ["trainer.pictures=false", "trainer.max_grad_norm=null", "data.limit=300"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnntrain.jobs.train._report", lambda *arguments: None)
        assert main([*SWEEP, *QUICK, f"hydra.sweep.dir={folder}"]) == 1
    return folder


@pytest.fixture
def sweep(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "sweep")
    return tmp_path / "sweep"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "jobs.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_ends_with_its_jobs_compared(finished: Path) -> None:
    rows = table(finished)
    accuracies = {}
    for number in range(6):
        lines = [
            json.loads(line) for line in (finished / f"{number:04d}/metrics.jsonl").read_text().splitlines()
        ]
        values = [row["val/accuracy"] for row in lines if "val/accuracy" in row]
        if json.loads((finished / f"{number:04d}/summary.json").read_text())["status"] == "finished":
            accuracies[f"{number:04d}"] = max(values)
    assert len(accuracies) == 4
    # Seeds of one rate stand together, the rate with the better mean first.
    means = [statistics.fmean(float(row["val accuracy"]) for row in pair) for pair in (rows[:2], rows[2:4])]
    assert means == sorted(means, reverse=True)
    assert all(one["optim.lr"] == other["optim.lr"] for one, other in (rows[:2], rows[2:4]))
    assert all(float(row["val accuracy"]) == accuracies[row["job"]] for row in rows[:4])
    assert {row["status"] for row in rows[4:]} == {"diverged"}
    assert {(row["optim.lr"], row["seed"]) for row in rows} == {
        (lr, seed) for lr in ("0.01", "0.1", "1000000.0") for seed in "01"
    }
    names = [finding["name"] for finding in json.loads((finished / "findings.json").read_text())]
    assert "jobs failed" in names
    text = (finished / "report.html").read_text()
    for part in ("Jobs, best first", "all with optim.lr=1000000.0", "optim.lr: every job"):
        assert part in text
    assert 'src="http' not in text


def test_an_earlier_sweep_is_compared_and_its_best_command_gives_the_best_job(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("jobs.csv", "findings.json", "report.html"):
        (sweep / name).unlink()
    (sweep / "0003" / "metrics.jsonl").write_text("{")
    (sweep / "0004" / "config.yaml").write_text("nothing: true")
    assert main([f"run={sweep}", "job=report"]) == 0
    printed = capsys.readouterr().out
    assert "warning   job 0003 is not compared: " in printed
    assert "warning   job 0004 is not compared: " in printed
    best = table(sweep)[0]
    (command,) = [line.removeprefix("best ") for line in printed.splitlines() if line.startswith("best ")]
    again = sweep.with_name("again")
    assert main([*shlex.split(command)[1:], f"hydra.run.dir={again}"]) == 0
    summary = json.loads((again / "summary.json").read_text())
    assert repr(summary["val/accuracy"]) == best["val accuracy"]


def test_what_is_no_sweep_or_no_job_of_one_is_refused_in_words(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code, expected in (
        ([f"run={sweep}"], 3, "is the folder of a sweep; name one of its jobs"),
        ([f"run={sweep}", "job=evaluate"], 3, "is the folder of a sweep"),
        ([f"run={sweep}", "job=report", "seed=3"], 2, "has no settings"),
    ):
        assert main(arguments) == code
        assert expected in capsys.readouterr().err
    for number in range(6):
        shutil.rmtree(sweep / f"{number:04d}")
    assert main([f"run={sweep}", "job=report"]) == 3
    assert "no job of this sweep can be read" in capsys.readouterr().err


def test_without_reports_nothing_is_compared(tmp_path: Path) -> None:
    overrides = ["-m", "model=linear", "seed=0,1", "trainer.epochs=1", "search.report=false", *QUICK]
    assert main([*overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert not (tmp_path / "sweep" / "report.html").exists()


def test_jobs_that_train_nothing_are_not_compared_with_those_that_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["model=linear", "data.limit=200", "trainer.epochs=1"]
    assert main(["-m", "hydra.sweep.dir=sweep", *quick, "job=train,summary"]) == 0
    assert [row["job"] for row in table(Path("sweep"))] == ["0000"]


def test_jobs_that_failed_before_their_first_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [
        "from torch import nn",
        "def make(in_channels, classes, mode):",
        "    assert mode == 'good', 'bad mode'",
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))",
    ]
    Path("mine.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    network = ["model=custom", "model.factory=mine:make", "+model.arguments.mode=good,bad"]
    assert main(["-m", "hydra.sweep.dir=sweep", *network, "data.limit=200", "trainer.epochs=1"]) == 1
    assert "warning   job 0001 is not compared: failed: " in capsys.readouterr().out
