"""Sweeps: continued by the same command, failures kept apart, the test split left alone."""

from __future__ import annotations

import csv
import json
import os
import random
import shlex
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import optuna
import pytest
from PIL import Image

from cnntrain.cli import main
from cnntrain.jobs.report_sweep import report_sweep
from cnntrain.jobs.sweep_job import Work, _write
from cnntrain.jobs.train import train
from cnntrain.runs.sweep_folder import JobRecord
from cnntrain.search.draw import random_settings
from cnntrain.search.ranges import Range
from cnntrain.settings.config_tree import Config

Start = Callable[..., Any]
QUICK = [
    "model=linear",
    "data.limit=200",
    "trainer.epochs=2",
    "trainer.precision=fp32",
    "search.report=false",
]
NETWORK = """
import os, signal
from torch import nn

class Net(nn.Linear):
    calls = 0

    def forward(self, images):
        self.calls += 1
        if self.training and self.calls > 4 and {condition}:
            {action}
        return super().forward(images.flatten(1))

def make(in_channels, classes, width):
    net = Net(64, classes)
    net.width = width
    return net
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*overrides: str) -> int:
    return main(["-m", "hydra.sweep.dir=sweep", *QUICK, *overrides])


def records(path: str = "sweep") -> dict[str, dict[str, Any]]:
    return {file.parent.name: json.loads(file.read_text()) for file in sorted(Path(path).glob("*/job.json"))}


def results(path: str = "sweep") -> dict[str, Any]:
    """What a sweep found, without times: records and rows of all jobs."""
    found = {}
    for name, record in records(path).items():
        record.pop("seconds"), record.pop("seconds_per_epoch")
        lines = (Path(path) / name / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            row.pop("images_per_second", None), row.pop("data_wait", None)
        found[name] = (record, rows)
    return found


@pytest.fixture
def start(start_program: Start) -> Start:
    """Return the function that starts a sweep in a process of its own."""
    return partial(start_program, "-m")


def output(process: Any) -> str:
    text = process.communicate(timeout=120)[0]
    assert "Traceback" not in text
    return text


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_for_another_job(folder: str, process: Any) -> None:
    before = len(list(Path(folder).glob("*/job.json")))
    wait_for(lambda: len(list(Path(folder).glob("*/job.json"))) > before or process.poll() is not None)


def test_a_sweep_killed_at_random_moments_and_continued_equals_one_that_was_not(start: Start) -> None:
    arguments = [
        *QUICK,
        "optim.lr=log(1e-2,1)",
        "search=random",
        "search.jobs=5",
        "search.retrain_best=0",
        "trainer.max_grad_norm=null",
        "trainer.epochs=3",
    ]
    assert output(start(*arguments, "hydra.sweep.dir=whole")).count("\njob ") == 7
    moments = random.Random(1)
    for _ in range(2):
        process = start(*arguments, "hydra.sweep.dir=killed")
        wait_for_another_job("killed", process)
        time.sleep(moments.uniform(0, 0.4))
        with suppress(ProcessLookupError):  # it was through
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert "0 failed" in output(start(*arguments, "hydra.sweep.dir=killed"))
    assert results("killed") == results("whole")


def test_workers_share_a_folder_one_is_killed_and_another_joins_late(start: Start) -> None:
    arguments = [*QUICK, f"seed={','.join(map(str, range(10)))}"]
    first = start(*arguments, "hydra.sweep.dir=shared")
    wait_for(lambda: len(list(Path().glob("shared/*/job.json"))) > 1)
    second = start("run=shared")
    wait_for(
        lambda: any(
            json.loads(f.read_text())["status"] == "finished" for f in Path().glob("shared/*/job.json")
        )
    )
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    third = start("run=shared", "search.workers=2")
    texts = [output(process) for process in (second, third)]
    assert all(record["status"] == "finished" for record in records("shared").values())
    assert len(records("shared")) == 10
    # No job was trained twice: the rows of each are those of one run.
    for name, (record, rows) in results("shared").items():
        assert [row["epoch"] for row in rows if "lr" not in row] == [1, 2], name
        assert record["epochs"] == 2
    assert all("10 jobs in shared, 0 failed" in text for text in texts)


def test_without_a_folder_the_same_command_goes_on_with_the_same_sweep(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "-m",
        *QUICK,
        "optim.lr=log(1e-2,1)",
        "search=random",
        "search.pruning=none",
        "search.retrain_best=0",
    ]
    assert main([*command, "search.jobs=1"]) == 0
    (path,) = Path("outputs/multirun").iterdir()
    before = results(str(path))
    # In another order, and with more jobs.
    assert main(["-m", "search.jobs=3", *command[:0:-1]]) == 0
    assert [*Path("outputs/multirun").iterdir()] == [path]
    assert list(records(str(path))) == ["0000", "0001", "0002"]
    assert results(str(path))["0000"] == before["0000"]
    assert "goes on after 1 jobs" in capsys.readouterr().out
    assert main(["-m", *QUICK, "optim.lr=log(1e-3,1)", "search.jobs=1"]) == 0
    assert len(list(Path("outputs/multirun").iterdir())) == 2


def test_another_sweep_in_the_same_folder_is_refused_and_nothing_is_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep("seed=0,1") == 0
    before = {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()}
    for overrides, key in (
        (["seed=0,1,2"], "seed"),
        (["seed=0,1", "optim.lr=0.01"], "optim.lr"),
        (["seed=0,1", "trainer.epochs=3"], "trainer.epochs"),
        (["seed=0,1", "search=random"], "search"),
        (["seed=0,1", "search.stop_hopeless=false"], "search.stop_hopeless"),
    ):
        assert sweep(*overrides) == 3
        assert f"other settings ({key}: " in capsys.readouterr().err
    assert main(["-m", "run=sweep", "optim.lr=0.01"]) == 2
    assert "keeps the settings" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()} == before
    assert main(["-m", "run=sweep"]) == 0


def test_jobs_are_compared_by_validation_and_the_test_split_is_left_alone() -> None:
    assert sweep("seed=0,1", "trainer.test=true") == 0
    assert "test/accuracy" in json.loads(Path("sweep/0000/summary.json").read_text())
    assert main(["-m", "hydra.sweep.dir=other", *QUICK, "seed=0,1"]) == 0
    for number in range(2):
        summary = json.loads(Path(f"other/000{number}/summary.json").read_text())
        assert not [name for name in summary if name.startswith("test/")]
        assert records("other")[f"000{number}"]["curve"][-1] == pytest.approx(
            json.loads(Path(f"other/000{number}/metrics.jsonl").read_text().splitlines()[-1])["val/accuracy"]
        )
    assert main(["job=evaluate", "run=other/0001"]) == 0


def test_the_objective_may_be_another_metric_of_the_validation_split(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep("seed=0,1", "search.objective=loss") == 0
    for record in records().values():
        assert record["metric"] == "loss"
        assert record["curve"][1] < record["curve"][0]
    assert main(["-m", "hydra.sweep.dir=other", *QUICK, "seed=0,1", "search.objective=f1"]) == 2
    assert "search.objective=f1: must be one of loss, accuracy" in capsys.readouterr().err


def test_the_average_of_the_weights_counts_where_it_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    noisy = ["averaging=none,ema", "optim.lr=0.5", "schedule=constant", "model=mlp", "trainer.epochs=4"]
    assert sweep(*noisy) == 0
    summaries = [json.loads(Path(f"sweep/000{n}/summary.json").read_text()) for n in range(2)]
    assert summaries[1]["best_weights"] == "average"
    for number, summary in enumerate(summaries):
        assert max(records()[f"000{number}"]["curve"]) == summary["val/accuracy"]
    assert summaries[0]["val/accuracy"] < summaries[1]["val/accuracy"]
    capsys.readouterr()
    assert main(["job=report", "run=sweep"]) == 0
    printed = capsys.readouterr().out
    assert "same metrics" not in printed
    assert "averaging=ema" in printed.partition("\nbest ")[2]


def test_jobs_are_compared_by_what_their_best_epochs_are_chosen_by(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep("optim.lr=1e-4,0.1,0.5", "trainer.best_by=macro_f1") == 0
    for name, record in records().items():
        rows = map(json.loads, Path(f"sweep/{name}/metrics.jsonl").read_text().splitlines())
        epochs = [row for row in rows if "lr" not in row]
        assert (record["metric"], record["curve"]) == ("macro_f1", [row["val/macro_f1"] for row in epochs])
        summary = json.loads(Path(f"sweep/{name}/summary.json").read_text())
        assert (summary["best_by"], summary["val/macro_f1"]) == ("macro_f1", max(record["curve"]))
    capsys.readouterr()
    assert main(["run=sweep", "job=leaderboard"]) == 0
    head, first = capsys.readouterr().out.splitlines()[:2]
    assert "val macro F1" in head
    assert f"{max(max(record['curve']) for record in records().values()):.2%}" in first
    # Jobs chosen by several metrics are compared by one.
    other = ["-m", "hydra.sweep.dir=other", *QUICK, "trainer.best_by=loss,accuracy", "search.objective=loss"]
    assert main(other) == 0
    assert {record["metric"] for record in records("other").values()} == {"loss"}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("raise RuntimeError('on purpose')", "RuntimeError: on purpose"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal SIGKILL"),
        ("os._exit(7)", "ended with 7"),
        ("raise SystemExit(3)", "sys.exit(3)"),
        ("raise MemoryError", "out of memory"),
    ],
)
def test_a_job_that_fails_is_reported_and_the_others_go_on(
    action: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_network.py").write_text(NETWORK.format(condition="self.width == 2", action=action))
    overrides = ["model=custom", "model.factory=own_network:make", "model.arguments.width=1,2,3"]
    assert sweep(*QUICK[1:], *overrides) == 1
    found = records()
    assert [record["status"] for record in found.values()] == ["finished", "failed", "finished"]
    assert expected in found["0001"]["reason"]
    captured = capsys.readouterr()
    assert "job 0001 (model.arguments.width=2) failed: " in captured.err
    assert "Traceback" not in captured.err
    assert "3 jobs in sweep, 1 failed: 0001" in captured.out
    # It is kept as failed, and trained again when that is asked for.
    assert main(["-m", "run=sweep"]) == 1
    Path("own_network.py").write_text(NETWORK.format(condition="False", action="pass"))
    assert main(["-m", "run=sweep", "search.retry_failed=true"]) == 0
    assert {record["status"] for record in records().values()} == {"finished"}


def test_jobs_of_a_grid_have_their_own_numbers_of_epochs() -> None:
    assert sweep("trainer.epochs=1,3,2") == 0
    assert [(record["status"], record["epochs"]) for record in records().values()] == [
        ("finished", epochs) for epochs in (1, 3, 2)
    ]


def test_a_value_that_is_listed_twice_is_one_job() -> None:
    assert sweep("seed=1,1,2,1") == 0
    assert [record["settings"]["seed"] for record in records().values()] == ["1", "2"]


def test_the_search_of_an_experiment_is_that_of_the_sweep_and_no_part_of_its_jobs() -> None:
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /search: random\n"
        "search: {jobs: 4, retrain_best: 0, space: {optim.lr: 'log(1e-3,1)'}}\n"
    )
    for name, ranges in (("one", []), ("two", ["regularization.l2=log(1e-5,1e-2)"])):
        command = ["--config-dir", "own", "-m", "experiment=mine", *QUICK, "trainer.epochs=3", *ranges]
        assert main([*command, f"hydra.sweep.dir={name}"]) == 0
        assert sorted(record["epochs"] for record in records(name).values()) == [1, 1, 3, 3]


def test_the_best_of_a_sweep_is_that_of_its_leaderboard(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [
        "optim.lr=1e30,0.1,0.5,1e32",
        "seed=0,1",
        "search.objective=loss",
        "trainer.max_grad_norm=null",
    ]
    assert sweep(*overrides) == 1
    capsys.readouterr()
    report_sweep(Path("sweep"))  # the lowest rate has no result
    best = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("best "))
    assert main(["run=sweep", "job=leaderboard"]) == 0
    job = capsys.readouterr().out.rpartition("run=sweep/")[2].strip()
    rate = records()[job]["settings"]["optim.lr"]
    assert f"optim.lr={rate}" in best or (rate == "0.1" and "optim.lr" not in best)
    header, *rows = Path("sweep/jobs.csv").read_text().splitlines()
    assert "val loss" in header
    assert rows[0].startswith(job)


def test_without_validation_nothing_is_called_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("optim.lr=0.01,0.1", "data.val_fraction=0") == 0
    report_sweep(Path("sweep"))
    assert "best      none, as no job has a result in validation" in capsys.readouterr().out
    assert main(["-m", *QUICK, "optim.lr=log(1e-3,1)", "data.val_fraction=0"]) == 2
    assert "compares jobs by validation; write data.val_fraction" in capsys.readouterr().err
    assert main(["-m", *QUICK[:2], "optim.lr=log(1e-3,1)", "trainer.epochs=int(1,4)"]) == 2
    assert "trainer.epochs: a search trains jobs in stages" in capsys.readouterr().err


def test_equal_failures_and_the_first_one_stop_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own_network.py").write_text(
        NETWORK.format(condition="True", action="raise RuntimeError('on purpose')")
    )
    overrides = [
        *QUICK[1:],
        "model=custom",
        "model.factory=own_network:make",
        "model.arguments.width=range(1,9)",
    ]
    assert sweep(*overrides, "search.max_equal_failures=3") == 1
    assert len(records()) == 3
    captured = capsys.readouterr()
    assert "3 jobs in a row failed with the same message" in captured.err
    assert "continue  cnntrain -m run=sweep" in captured.out
    assert main(["-m", "hydra.sweep.dir=other", *overrides, "search.on_error=stop"]) == 1
    assert len(records("other")) == 1


def test_a_hopeless_job_is_ended_early() -> None:
    overrides = ["trainer.epochs=9", "optim.lr=1e-12,0.1", "regularization=none"]
    assert sweep(*overrides) == 0
    hopeless, sound = records().values()
    assert (hopeless["status"], hopeless["epochs"]) == ("stopped", 3)
    assert "hopeless" in hopeless["reason"]
    assert (sound["status"], sound["epochs"]) == ("finished", 9)


def test_no_job_is_started_once_the_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("search=random", "optim.lr=log(1e-2,1)", "search.minutes=0.00001") == 0
    assert len(records()) == 1
    assert (
        "search.minutes=1e-05 are over before all was trained; with more, it goes on"
        in capsys.readouterr().out
    )
    assert main(["-m", "run=sweep", "search.minutes=100", "search.jobs=3", "search.retrain_best=0"]) == 0
    assert len(records()) == 3


def test_jobs_that_train_nothing_are_done_once_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "hydra.sweep.dir=sweep", "job=summary", "model=linear,mlp", "seed=0"]) == 0
    assert capsys.readouterr().out.count("parameters") >= 2
    assert [record["status"] for record in records().values()] == ["finished", "finished"]
    before = Path("sweep/0001/config.yaml").stat().st_mtime_ns
    assert main(["-m", "run=sweep"]) == 0
    assert Path("sweep/0001/config.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sweep.yaml", "a: ["),
        ("sweep.yaml", "overrides: 3"),
        ("0001/job.json", "{"),
        ("0001/job.json", "[]"),
        ("0001/job.json", '{"status": "done"}'),
        ("0001/job.json", '{"curve": ["a"]}'),
        ("0001/job.json", '{"settings": {"seed": 1}}'),
        ("0001/job.json", '{"other": 1}'),
        ("0001/job.json", '{"epochs": null}'),
    ],
)
def test_a_damaged_file_is_named(file: str, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("seed=0,1") == 0
    (Path("sweep") / file).write_text(content)
    assert main(["-m", "run=sweep"]) == 3
    assert f"sweep/{file}: " in capsys.readouterr().err


def test_a_job_whose_record_is_lost_is_trained_again_to_the_same_end() -> None:
    assert sweep("seed=0,1") == 0
    before = results()
    shutil.rmtree("sweep/0001")
    assert main(["-m", "run=sweep"]) == 0
    assert results() == before


def test_a_stop_signal_saves_all_jobs_and_says_how_to_continue(start: Start) -> None:
    arguments = [*QUICK, "trainer.epochs=400", "seed=0,1", "search.workers=2", "hydra.sweep.dir=sweep"]
    process = start(*arguments)
    wait_for(lambda: len(list(Path().glob("sweep/*/checkpoints/best.pt"))) == 2)
    process.send_signal(signal.SIGTERM)
    text = output(process)
    assert process.returncode == 143
    assert "continue  cnntrain -m run=sweep" in text
    for number in range(2):
        assert "stopped after saving" in Path(f"sweep/000{number}/log.txt").read_text()
        assert records()[f"000{number}"]["status"] == "open"


def test_data_that_do_not_change_are_loaded_once_for_all_jobs(start: Start, folder: Path) -> None:
    text = output(start(*QUICK, "seed=0", "optim.lr=0.1,0.2,0.3", "hydra.sweep.dir=sweep"))
    assert "0 failed" in text
    alone = [*QUICK[:-1], "optim.lr=0.2", "hydra.run.dir=alone", "trainer.threads=1", "trainer.test=false"]
    assert main([*alone, "trainer.pictures=false", "trainer.report=false"]) == 0
    rows = [json.loads(line) for line in Path("alone/metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("images_per_second", None), row.pop("data_wait", None)
    assert results()["0001"][1] == rows


def test_a_leaderboard_is_printed_while_jobs_run_and_afterwards(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(*QUICK, "trainer.epochs=30", "seed=0,1", "optim.lr=0.1,0.2", "hydra.sweep.dir=sweep")
    wait_for(lambda: len(list(Path("sweep").glob("*/job.json"))) > 1)
    assert main(["run=sweep", "job=leaderboard"]) == 0
    assert "jobs, 1 finished" in capsys.readouterr().out
    output(process)
    assert main(["run=sweep", "job=leaderboard"]) == 0
    assert "4 jobs, 4 finished" in capsys.readouterr().out
    assert Path("sweep/leaderboard.csv").read_text().count("\n") == 3
    assert main(["run=sweep", "job=leaderboard", "seed=1"]) == 2
    assert main(["job=leaderboard"]) == 2


def test_a_best_value_near_the_end_of_a_range_is_reported_with_a_wider_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    range_ = Range(1e-4, 1e-2, log=True)
    drawn = (float(random_settings({"optim.lr": range_}, seed, 1)["optim.lr"]) for seed in range(100))
    seed = next(seed for seed, rate in enumerate(drawn) if rate > 8e-3)
    settings = ["search.jobs=2", "search=random", "search.pruning=none", "search.retrain_best=0"]
    overrides = [f"optim.lr={range_.written()}", *settings]
    assert sweep(*overrides, f"search.seed={seed}", "trainer.epochs=3") == 0
    shutil.rmtree("sweep/0000")  # which has the default rate
    report_sweep(Path("sweep"))
    printed = capsys.readouterr().out
    assert "near the upper end of log(0.0001,0.01)" in printed
    command = next(line for line in printed.splitlines() if line.startswith("try ")).removeprefix("try")
    assert "'optim.lr=log(0.0001,0.1)'" in command
    assert main([*shlex.split(command)[1:], "search.jobs=1"]) == 0


def test_a_range_in_a_file_is_searched_and_the_command_line_replaces_it() -> None:
    Path("own/search").mkdir(parents=True)
    Path("own/search/mine.yaml").write_text(
        "defaults: [random, _self_]\njobs: 2\nretrain_best: 0\nspace:\n"
        "  optim.lr: log(1e-3,1)\n  regularization.l2: [1e-4, 1e-3]\n"
    )
    command = ["--config-dir", "own", "-m", "search=mine", *QUICK]
    assert main([*command, "hydra.sweep.dir=sweep"]) == 0
    assert set(records()["0001"]["settings"]) == {"optim.lr", "regularization.l2"}
    assert main([*command, "optim.lr=uniform(0.5,0.6)", "hydra.sweep.dir=other"]) == 0
    assert 0.5 <= float(records("other")["0001"]["settings"]["optim.lr"]) <= 0.6
    assert main(["-m", "run=sweep", "search.jobs=3"]) == 0
    assert len(records()) == 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optim.lr=log(0,1)"], "optim.lr=log(0,1): log(0,1): a logarithmic range begins above 0"),
        (["optim.lr=lg(1e-3,1)"], "optim.lr=lg(1e-3,1): is no function; ranges are log(low,high)"),
        (["optim.lr=log(1e-3,1)", "search=grid"], "search=grid takes lists, as in optim.lr=0.001,1.0"),
        (["search=random"], "nothing varies"),
        (["search=random,grid", "seed=0,1"], "search: has several values"),
        (["optim.lr=log(1e-3,1)", "search.jobs=3,4"], "search.jobs: has several values"),
        (
            ["optim.momentum=uniform(0,2)"],
            "optim.momentum=2.0: must be in [0, 1); the default is 0.9 (an end of optim.momentum=",
        ),
        (["optim.lr=log(1e-3,1)", "search.jobs=2000"], "more than max_jobs=1000"),
        (
            ["optim.lr=log(1e-3,1)", "search=random", "search.first_epochs=2", "search.pruning=none"],
            "search.first_epochs=2: has no",
        ),
        (["seed=0,1", "hydra.sweep.subdir=x"], "jobs are numbered"),
        (["seed=0,1", "search.seed=3"], "search.seed"),
        (
            ["seed=0,1", "hydra.sweep.dir=a/${optim.lr}"],
            "a sweep has one folder, whatever its jobs' settings",
        ),
        (
            ["hydra/launcher=basic", "seed=0,1", "search.workers=2"],
            "search.workers=2: has no effect beside hydra/",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_made(
    overrides: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *QUICK[:3], *overrides]) == 2
    assert expected in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_settings_of_a_search_need_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    for override in ("search=random", "search.jobs=3"):
        assert main([*QUICK[:3], override]) == 2
        assert f"{override}: applies to sweeps only; add -m" in capsys.readouterr().err
    for value in ("log(1e-3,1)", "uniform(0,1)", "int(1,2)"):
        assert main([*QUICK[:3], f"optim.lr={value}"]) == 2
        assert "a range is searched by a sweep; add -m" in capsys.readouterr().err


def test_settings_of_a_group_may_belong_to_the_choices_that_are_tried() -> None:
    # The default network has no classifier whose units could be set.
    assert sweep(*QUICK[1:], "model=mlp,lenet5", "trainer.max_steps_per_epoch=2") == 0
    overrides = [
        *QUICK[1:],
        "model=mlp",
        "model.hidden=[8],[16,8]",
        "optim=adam,adamw",
        "optim.betas=[0.8,0.9]",
    ]
    assert main(["-m", "hydra.sweep.dir=other", *overrides, "trainer.max_steps_per_epoch=2"]) == 0
    assert len(records("other")) == 4


@pytest.mark.parametrize("number", range(3))
def test_a_stop_signal_at_any_moment_of_a_job_ends_it_soon(start: Start, number: int) -> None:
    process = start(*QUICK, "trainer.epochs=100000", "seed=0,1", "hydra.sweep.dir=sweep")
    wait_for(lambda: Path("sweep/0000/job.json").exists())
    time.sleep(0.03 * number)
    process.send_signal(signal.SIGTERM)
    text = output(process)
    assert process.returncode == 143
    assert "continue  cnntrain -m run=sweep" in text
    assert {record["status"] for record in records().values()} == {"open"}


SBATCH = """#!/bin/sh
for argument; do case "$argument" in
    --wrap=*) wrap="${argument#--wrap=}" ;;
    --array=0-*) last="${argument#--array=0-}" ;;
    --partition=none) echo "sbatch: error: invalid partition specified: none" >&2; exit 1 ;;
esac; done
for number in $(seq 0 "$last"); do sh -c "$wrap" > "slurm-$number.txt" 2>&1 & echo $! >> pids; done
echo "17;cluster"
"""
SQUEUE = """#!/bin/sh
for pid in $(cat pids); do if kill -0 "$pid" 2> /dev/null; then echo 17; fi; done
"""


def test_workers_are_placed_by_slurm_and_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["hydra.sweep.dir=sweep", *QUICK, "seed=0,1,2,3", "search.launcher=slurm", "search.workers=2"]
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(folder))
    assert main(["-m", *command]) == 2
    assert "there is no sbatch here" in capsys.readouterr().err
    commands = folder / "bin"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{path}")
    assert main(["-m", *command, "search.slurm=--partition=none"]) == 2
    assert "invalid partition specified" in capsys.readouterr().err
    assert main(["-m", *command]) == 0
    assert "slurm     job 17, 2 workers" in capsys.readouterr().out
    assert [record["status"] for record in records().values()] == ["finished"] * 4
    assert "job 000" in Path("slurm-0.txt").read_text() + Path("slurm-1.txt").read_text()
    # Workers that end before the sweep are noticed.
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    (commands / "sbatch").write_text("#!/bin/sh\necho 18\n")
    Path("pids").write_text("")
    assert main(["-m", *command, "seed=5,6", "hydra.sweep.dir=other"]) == 1
    assert "the workers ended before the sweep" in capsys.readouterr().err


class ThreadsAsRay(ModuleType):
    """The functions of Ray that are called, on threads of this process."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.options: dict[str, int] = {}
        self.pool = ThreadPoolExecutor()

    def init(self, **options: Any) -> None: ...

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}, {"Alive": True}, {"Alive": False}]

    def remote(self, **options: int) -> Callable[[Any], Any]:
        self.options = options
        return lambda function: SimpleNamespace(remote=partial(self.pool.submit, function))

    def wait(self, tasks: list[Any], **_: int) -> tuple[list[Any], list[Any]]:
        return [task for task in tasks if task.done()], [task for task in tasks if not task.done()]


def test_workers_are_placed_by_ray_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["hydra.sweep.dir=sweep", *QUICK, "seed=0,1,2,3", "search.launcher=ray", "search.workers=2"]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["-m", *command]) == 2
    assert "needs Ray; pip install 'cnntrain[ray]'" in capsys.readouterr().err
    ray = ThreadsAsRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert main(["-m", *command, "trainer.threads=1"]) == 0
    assert ray.options == {"num_cpus": 1, "num_gpus": 0, "max_retries": -1, "max_calls": 1}
    assert "ray       2 workers on 2 nodes" in capsys.readouterr().out
    assert [record["status"] for record in records().values()] == ["finished"] * 4
    assert "job 000" in Path("sweep/ray-0.txt").read_text() + Path("sweep/ray-1.txt").read_text()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert main(["-m", *command, "seed=5,6", "hydra.sweep.dir=other"]) == 1
    assert "the workers ended before the sweep" in capsys.readouterr().err


def test_cross_validation_trains_on_every_fold_and_ranks_by_the_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep("optim.lr=0.001,0.1", "search.folds=3") == 0
    assert list(records()) == [f"000{job}-fold{fold}" for job in (0, 1) for fold in (0, 1, 2)]
    alone = [*QUICK[:-1], "optim.lr=0.1", "data.folds=3", "data.fold=2", "trainer.threads=1"]
    assert main([*alone, "hydra.run.dir=alone", "trainer.pictures=false", "trainer.report=false"]) == 0
    rows = [json.loads(line) for line in Path("alone/metrics.jsonl").read_text().splitlines()]
    expected = [row["val/accuracy"] for row in rows if "val/accuracy" in row]
    assert records()["0001-fold2"]["curve"] == expected
    capsys.readouterr()
    assert main(["job=leaderboard", "run=sweep"]) == 0
    best = next(csv.DictReader(Path("sweep/leaderboard.csv").read_text().splitlines()))
    assert (best["optim.lr"], best["seeds"]) == ("0.1", "3")
    of_folds = [max(records()[f"0001-fold{fold}"]["curve"]) for fold in range(3)]
    assert float(best["mean"]) == pytest.approx(sum(of_folds) / 3)
    assert float(best["deviation"]) == pytest.approx(statistics.stdev(of_folds))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.fold=1"], "data.fold: search.folds sets it for every job; leave it out"),
        (["data.val_fraction=0.3"], "data.val_fraction=0.3: has no effect with data.folds=3"),
    ],
)
def test_folds_that_contradict_other_settings_are_refused(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("optim.lr=0.1,0.2", "search.folds=3", *overrides) == 2
    assert message in capsys.readouterr().err
    assert not Path("sweep").exists()


def test_a_sweep_is_written_into_an_optuna_storage(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{Path('study.db').absolute()}"
    command = ["search=random", "optim.lr=log(1e-3,0.05)", "optim=choice(sgd,adam)", "search.jobs=6"]
    command += ["trainer.epochs=3", "search.retrain_best=0"]
    for _ in range(2):  # the second time, the study is replaced
        assert sweep(*command, f"search.export={url}") == 0
    assert "optuna    study sweep in sqlite" in capsys.readouterr().out
    study = optuna.load_study(study_name="sweep", storage=url)
    trials = {trial.user_attrs["job"]: trial for trial in study.trials}
    assert trials.keys() == records().keys()
    assert study.direction.name == "MAXIMIZE"
    states = {"finished": "COMPLETE", "paused": "PRUNED"}
    for name, record in records().items():
        trial = trials[name]
        assert trial.state.name == states[record["status"]]
        assert list(trial.intermediate_values.values()) == record["curve"]
        assert trial.value == max(record["curve"])
        if name != "0000":
            assert trial.params["optim.lr"] == float(record["settings"]["optim.lr"])
    assert trials["0000"].params == {"optim.lr": 0.1, "optim": "sgd"}  # the defaults, beyond the range
    assert trials["0001"].distributions["optim.lr"] == optuna.distributions.FloatDistribution(
        1e-3, 0.1, log=True
    )
    Path("other").mkdir()
    shutil.move("sweep", "other")
    assert main(["-m", "run=other/sweep", f"search.export={url}"]) == 2
    assert "has a study sweep that is not of this sweep" in capsys.readouterr().err


def test_a_storage_that_cannot_be_is_refused_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for url in ("study.db", "nothing://x", "sqlite:////nowhere/study.db"):
        assert sweep("optim.lr=0.1,0.2", f"search.export={url}") == 2
        assert f"search.export={url}: " in capsys.readouterr().err
        assert not Path("sweep").exists()


def test_a_job_of_a_sweep_is_not_trained_on_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("optim.lr=0.05,0.1") == 0
    before = results()
    assert main(["run=sweep/0000", "trainer.epochs=5"]) == 3
    error = capsys.readouterr().err
    assert "is a job of a sweep" in error
    assert "cnntrain -m run=sweep" in error
    assert results() == before
    command = shlex.split(error[error.index("own: ") :])[2:]
    assert main([*command, "hydra.run.dir=alone"]) == 0
    assert main(["run=sweep/0000", "job=evaluate", "evaluate.split=val"]) == 0


def test_a_key_with_two_values_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("seed=1,2", "seed=3") == 0
    assert "notice    seed: is given 2 times; 3, the last value, holds" in capsys.readouterr().out
    assert len(records()) == 1


def test_images_that_cannot_be_read_are_left_out_of_every_job() -> None:
    for number in range(110):
        file = Path("photos") / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (2 * number, 0, 0)).save(file)
    Path("photos/a/8.png").write_bytes(b"")
    photos = ["data=folder", "data.path=photos", "data.image_size=8", "optim.lr=0.1,0.2"]
    assert sweep(*photos, "search.max_equal_failures=3") == 1
    assert all("data.on_bad=skip" in record["reason"] for record in records().values())
    assert sweep(*photos, "data.on_bad=skip", "hydra.sweep.dir=skipping") == 0
    for name, record in records("skipping").items():
        assert record["status"] == "finished"
        assert "a/8.png" in (Path("skipping") / name / "unreadable_images.txt").read_text()


def test_a_job_that_another_worker_ends_before_this_one_has_its_lock_is_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_late(*arguments: Any, **options: Any) -> None:
        train(*arguments, **options)
        train(*arguments, **options)

    monkeypatch.setattr("cnntrain.jobs.sweep_job.train", too_late)
    assert sweep("seed=0,1") == 0
    for name, record in records().items():
        assert (record["status"], record["epochs"]) == ("finished", 2), name
    work = Work(Path("sweep"), "0000", Config(), JobRecord(), 2, False, None)
    before = records()["0000"]
    _write(JobRecord(status="failed", seconds=0.0), work)
    assert records()["0000"] == before
