"""trainer.keep=model: a finished run keeps what prediction needs, and says that it cannot go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import cnntrain
from cnntrain.cli import main

QUICK = ("model=linear", "trainer.pictures=false", "trainer.instruments=false")


def checkpoints(run: Path) -> list[str]:
    return sorted(file.name for file in (run / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run with all of its checkpoints, and with its best network alone."""
    folder = tmp_path_factory.mktemp("keep")
    for keep in ("all", "model"):
        settings = [f"hydra.run.dir={folder / keep}", *QUICK, f"trainer.keep={keep}", "trainer.epochs=2"]
        assert main(settings) == 0
    return folder / "all", folder / "model"


def test_the_best_network_stays_as_it_is(runs: tuple[Path, Path]) -> None:
    whole, reduced = runs
    assert checkpoints(reduced) == ["best.pt"]
    images = torch.arange(2 * 64).to(torch.uint8).view(2, 8, 8, 1)
    torch.testing.assert_close(
        cnntrain.load(reduced).predict(images), cnntrain.load(whole).predict(images), atol=0, rtol=0
    )


def test_it_is_evaluated_and_reported_on(runs: tuple[Path, Path]) -> None:
    _, reduced = runs
    assert main([f"run={reduced}", "job=evaluate"]) == 0
    assert main([f"run={reduced}", "job=report", "report.confirm=false"]) == 0


def test_to_train_it_longer_is_refused_and_to_continue_says_that_it_is_finished(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, reduced = runs
    assert main([f"run={reduced}"]) == 0
    assert "this run is finished (2 epochs)" in capsys.readouterr().out
    assert main([f"run={reduced}", "trainer.epochs=3"]) == 3
    assert "cannot be trained longer" in (error := capsys.readouterr().err)
    assert f"initialization=from_run initialization.run={reduced}" in error


def test_a_finished_run_is_reduced_afterwards(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    assert main([f"run={run}", "trainer.keep=model"]) == 0
    assert checkpoints(run) == ["best.pt"]


def test_a_run_whose_best_network_is_damaged_keeps_its_other_checkpoints(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    best = run / "checkpoints" / "best.pt"
    best.write_bytes(best.read_bytes()[:-100])
    assert main([f"run={run}", "trainer.keep=model"]) == 3
    assert checkpoints(run) == ["best.pt", "last.pt", "previous.pt"]


def test_a_run_stopped_before_its_end_is_not_reduced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    limits = ["trainer.max_minutes=1e-6", "trainer.epochs=2", "trainer.keep=model"]
    assert main([f"hydra.run.dir={run}", *QUICK, *limits]) == 0
    assert "last.pt" in checkpoints(run)
    assert main([f"run={run}", "trainer.max_minutes=null"]) == 0
    assert checkpoints(run) == ["best.pt"]
