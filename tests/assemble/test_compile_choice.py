"""trainer.compile=auto: when compiling pays, and that a continued run keeps the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnntrain.assemble import compile_choice
from cnntrain.assemble.compile_choice import CompileTimes
from cnntrain.cli import main

QUICK = ("model=linear", "data.limit=100", "trainer.test=false", "trainer.compile=auto")


def test_compiling_pays_where_the_gain_of_all_updates_exceeds_the_start() -> None:
    times = CompileTimes(plain=1.0, compiled=0.75, start=100.0)
    assert not times.pays(400)
    assert times.pays(401)
    # Two hundredths are noise, a slower step is no gain.
    assert not CompileTimes(1.0, 0.98, 100.0).pays(10**6)
    assert not CompileTimes(1.0, 1.1, 0.0).pays(10**6)


@pytest.mark.parametrize("compiled", [0.5, 2.0])
def test_a_continued_run_keeps_the_choice_of_its_start(
    compiled: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks: list[nn.Module] = []

    def compile(network: nn.Module) -> Any:
        networks.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    monkeypatch.setattr(compile_choice, "missing_compiler", lambda: None)
    monkeypatch.setattr(compile_choice, "LEAST_START", 0)
    durations = iter([1.0, compiled])
    monkeypatch.setattr(compile_choice, "seconds_per_update", lambda parts, seconds: next(durations))
    run = tmp_path / "run"
    assert main([f"hydra.run.dir={run}", *QUICK, "trainer.epochs=1"]) == 0
    said = capsys.readouterr().out
    assert f"compile   {'yes' if compiled < 1 else 'no'}: an update takes {compiled:g} s compiled" in said
    assert len(networks) == (2 if compiled < 1 else 1)  # the copy that was tried, and the run
    networks.clear()
    assert main([f"run={run}", "trainer.epochs=2"]) == 0
    assert len(networks) == (1 if compiled < 1 else 0)
    assert "compile: auto" in (run / "config.yaml").read_text()


@pytest.mark.parametrize(("epochs", "seconds"), [(1, 10), (1.5, 15)])
def test_a_short_run_is_not_tried(
    epochs: float,
    seconds: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compile_choice, "missing_compiler", lambda: None)
    monkeypatch.setattr(compile_choice, "seconds_per_update", lambda parts, seconds: 1.0)
    assert main([f"hydra.run.dir={tmp_path / 'run'}", *QUICK, f"trainer.epochs={epochs}"]) == 0
    assert f"compile   no: all updates take about {seconds} s" in capsys.readouterr().out
