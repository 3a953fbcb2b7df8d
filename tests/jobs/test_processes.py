"""Runs of two processes: they end together, and go on as if they had never ended."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main
from cnntrain.jobs import processes
from cnntrain.training.process_place import PARENT, Place

# With batch normalization, dropout, an average and metrics that are no means over images.
TINY = [
    *("model.normalization=batch", "data=digits", "data.limit=120", "trainer.epochs=2"),
    *("trainer.report=false", "trainer.pictures=false", "trainer.precision=fp32", "trainer.threads=1"),
    *("trainer.record_every_steps=1", "trainer.processes=2", "averaging=ema", "trainer.best_by=macro_f1"),
    *("data.batch_size=32", "trainer.checkpoint_every_steps=2", "regularization.dropout=0.2"),
]


class Forked:
    """A process that follows, as a copy of this one, which has imported everything: in place of a new one."""

    def __init__(self, here: Place, port: int):
        environment = here.environment(port) | {PARENT: str(os.getpid())}
        self._process = multiprocessing.get_context("fork").Process(target=self._follow, args=(environment,))
        self._process.start()
        self.pid = self._process.pid

    @staticmethod
    def _follow(environment: dict[str, str]) -> None:
        os.environ.update(environment)
        os._exit(main([]))

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        self._process.join(timeout)

    def kill(self) -> None:
        self._process.kill()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without its times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("images_per_second", "data_wait")
    return [{key: value for key, value in line.items() if key not in times} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["network"]
    assert isinstance(loaded, dict)
    return loaded


def _run(arguments: list[str], error: Path) -> None:
    """Run the program in a copy of this process, with new processes as its followers."""
    with error.open("w", buffering=1) as sys.stderr:
        os._exit(main(arguments))


def test_where_one_is_killed_the_other_says_so_and_the_run_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole, error = tmp_path / "killed", tmp_path / "whole", tmp_path / "error.txt"
    arguments = ([*TINY, f"hydra.run.dir={killed}"], error)
    run = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
    run.start()
    metrics = killed / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 4:
        assert run.is_alive()
        time.sleep(0.001)
    (other,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(other), signal.SIGKILL)
    run.join(30)
    assert run.exitcode == 1
    assert error.read_text() == f"cnntrain: rank 1 (process {other}) was killed by signal SIGKILL\n"
    monkeypatch.setattr(processes, "_started", Forked)
    assert main([f"run={killed}"]) == 0
    assert main([*TINY, f"hydra.run.dir={whole}"]) == 0
    assert rows(killed) == rows(whole)
    for one, other_weights in zip(weights(killed).values(), weights(whole).values(), strict=True):
        assert torch.equal(one, other_weights)
