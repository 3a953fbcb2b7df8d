"""Loggers that fail, hang, are slow or lose their run: training does not notice, its user does, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main
from cnntrain.logger.processes import RunLoggers
from cnntrain.logger.settings import Loggers

SINKS = """
import json, os, sys, time

class Sink:
    ids, where = {}, "nowhere"
    def __init__(self, run):
        self.folder, self.rows = run.folder, []
    def write(self, row, of_epoch):
        self.rows.append(row["step"])
    def write_histograms(self, row): pass
    def flush(self): pass
    def close(self, end):
        (self.folder / "closed.json").write_text(json.dumps([end.status, self.rows]))

class FailsToOpen(Sink):
    def __init__(self, run): raise ConnectionError("no network")

class FailsToWrite(Sink):
    def write(self, row, of_epoch):
        super().write(row, of_epoch)
        if len(self.rows) == 3: raise OSError(28, "No space left on device")

class FailsToClose(Sink):
    def close(self, end): raise KeyError("token")

class Exits(Sink):
    def write(self, row, of_epoch): sys.exit("logged out")

class Dies(Sink):
    def write(self, row, of_epoch): os.kill(os.getpid(), 9)

class Prints(Sink):
    def __init__(self, run):
        super().__init__(run)
        print("a banner", flush=True)
        os.write(2, b"a warning of a C library")

class Slow(Sink):
    def write(self, row, of_epoch):
        super().write(row, of_epoch)
        time.sleep(0.02)

class Hangs(Sink):
    def write(self, row, of_epoch):
        (self.folder / "hangs").touch()
        time.sleep(1000)
"""
QUICK = ["model=mlp", "trainer.epochs=2", "trainer.pictures=false", "trainer.record_every_steps=1"]


@pytest.fixture
def sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the sinks of the next run by their names."""
    (tmp_path / "sinks.py").write_text(SINKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def set_sinks(*names: str) -> None:
        paths = {name: f"sinks:{name}" for name in names}
        monkeypatch.setattr(Loggers, "sinks", lambda self: paths)
        monkeypatch.setattr(Loggers, "missing_packages", lambda self: ())

    return set_sinks


def recorded(folder: str) -> list[dict[str, Any]]:
    """Return the rows of a run without its times."""
    rows = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    times = ("images_per_second", "data_wait")
    return [{name: value for name, value in row.items() if name not in times} for row in rows]


def run_in(folder: Path) -> Path:
    """Make the folder of a run with a configuration and two recorded steps."""
    folder.mkdir()
    (folder / "config.yaml").write_text("job: train\nlogger: {}\n")
    (folder / "metrics.jsonl").write_text('{"step": 1, "lr": 1.0}\n{"step": 2, "lr": 1.0}\n')
    return folder


def wait_for(file: Path) -> None:
    """Wait until a file exists."""
    while not file.exists():
        time.sleep(0.02)


def test_loggers_that_fail_at_any_moment_change_nothing_but_for_one_warning_each(
    sinks: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    sinks()
    assert main(["hydra.run.dir=alone", *QUICK]) == 0
    failing = ("FailsToOpen", "FailsToWrite", "FailsToClose", "Exits", "Dies")
    sinks(*failing, "Slow", "Prints")
    capfd.readouterr()
    assert main(["hydra.run.dir=logged", *QUICK]) == 0
    printed, on_stderr = capfd.readouterr()
    assert recorded("logged") == recorded("alone")
    weights = [torch.load(f"{run}/checkpoints/last.pt")["network"] for run in ("alone", "logged")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    warnings = {line.split()[1]: line for line in printed.splitlines() if line.startswith("warning")}
    assert sorted(warnings) == [f"logger.{name}:" for name in sorted(failing)]
    assert printed.count("warning") == len(failing)
    assert "ConnectionError: no network" in warnings["logger.FailsToOpen:"]
    assert "OSError: [Errno 28] No space left on device" in warnings["logger.FailsToWrite:"]
    assert "KeyError: 'token'" in warnings["logger.FailsToClose:"]
    assert "SystemExit: logged out" in warnings["logger.Exits:"]
    assert "SIGKILL" in warnings["logger.Dies:"]
    assert "logged    Slow: nowhere" in printed
    assert (on_stderr, "banner" in printed) == ("", False)
    assert Path("logged/loggers/Prints.log").read_text() == "a banner\na warning of a C library"


def test_a_logger_that_hangs_is_ended_after_finish_seconds_with_a_warning(
    sinks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, loggers = run_in(Path("run")), RunLoggers()
    sinks("Hangs")
    loggers.start(Loggers(finish_seconds=0.1), folder)
    (process,) = [service._process for service in loggers._running]
    wait_for(folder / "hangs")
    loggers.end()
    assert process.returncode == -signal.SIGKILL
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("warning logger.Hangs: not everything was written") == 1
    assert "logger.finish_seconds=0.1" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="a signal")
def test_the_logger_of_a_killed_run_writes_all_its_rows_and_says_that_it_was_interrupted(sinks: Any) -> None:
    folder = run_in(Path("run"))
    script = (
        "import os, signal, pathlib\n"
        "from cnntrain.logger.processes import RunLoggers\n"
        "from cnntrain.logger.settings import Loggers\n"
        "Loggers.sinks = lambda self: {'s': 'sinks:Sink'}\n"
        "RunLoggers().start(Loggers(), pathlib.Path('run'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ["PYTHONPATH"]])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    wait_for(folder / "closed.json")
    while not (text := (folder / "closed.json").read_text()):
        time.sleep(0.02)
    assert json.loads(text) == ["interrupted", [1, 2]]


def test_a_logger_that_cannot_be_started_is_named(sinks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, loggers = run_in(Path("run")), RunLoggers()
    (folder / "loggers").write_text("a file in place of the folder")
    sinks("Sink")
    loggers.start(Loggers(), folder)
    loggers.end()
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning logger.Sink: its process could not be started (File exists)" in printed


def test_a_finished_run_is_logged_later_and_once(sinks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sinks("FailsToClose")
    assert main(["hydra.run.dir=run", *QUICK]) == 0
    sinks("Sink")
    assert main(["run=run"]) == 0
    steps = [row["step"] for row in recorded("run")]
    assert json.loads(Path("run/closed.json").read_text()) == ["finished", steps]
    assert "logged    Sink: nowhere" in capsys.readouterr().out
    assert main(["run=run"]) == 0
    assert "logged" not in capsys.readouterr().out


def test_a_run_that_keeps_its_model_alone_is_logged_later_too(
    sinks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sinks("FailsToClose")
    assert main(["hydra.run.dir=run", *QUICK, "trainer.keep=model"]) == 0
    sinks("Sink")
    assert main(["run=run", "trainer.epochs=7"]) == 3
    assert not Path("run/closed.json").exists()
    assert main(["run=run"]) == 0
    assert json.loads(Path("run/closed.json").read_text())[0] == "finished"
    assert "logged    Sink: nowhere" in capsys.readouterr().out
