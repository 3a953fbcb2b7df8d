"""Overrides on an earlier run: those without effect on the job are refused, and folders that hold no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnntrain.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "run"
    assert (
        main(["model=linear", "trainer.epochs=1", "trainer.pictures=false", f"hydra.run.dir={folder}"]) == 0
    )
    return folder


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["max_jobs=3"], "max_jobs=3: has no effect on job=train with run=…"),
        (["hydra.run.dir=elsewhere"], "hydra.run.dir: a run has its folder; leave it out"),
        (["job=evaluate", "trainer.max_minutes=3"], "trainer.max_minutes=3: has no effect on job=evaluate"),
        (["job=check", "evaluate.split=val"], "evaluate.split=val: has no effect on job=check"),
        (["job=evaluate", "seed=1"], "seed=1: has no effect on job=evaluate"),
        (["seed=1"], "seed=1: this run was started with 0"),
        (["trainer.threads=2"], "trainer.threads=2: this run was started with null"),
        (["trainer.best_by=loss"], "trainer.best_by=loss: this run was started with auto"),
        (["experiment=smoke"], "experiment=smoke: a run keeps the settings"),
        (["model=vgg11"], "model=vgg11: this run was started with model=linear"),
        (["trainer.epochs=${nope}"], "trainer.epochs=${nope}: Interpolation key 'nope' not found"),
        (["job=${nope}"], "job=${nope}: Interpolation key 'nope' not found"),
        (["trainer.epochs=${seed}"], "trainer.epochs=0: this run has 1"),
        (["job=evaluate", "data.val_fraction=0.5"], "data.val_fraction=0.5: the run was trained with 0.2"),
        (["job=evaluate", "data.limit=100"], "data.limit=100: the run was trained with null"),
        (["job=evaluate", "data.folds=3"], "data.folds=3: the run was trained with null"),
        (["job=evaluate", "experiment=smoke"], "experiment=smoke: a run keeps the settings"),
    ],
    ids=" ".join,
)
def test_settings_without_effect_on_the_job_are_refused(
    run: Path, overrides: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"run={run}", *overrides]) == 2
    assert expected in capsys.readouterr().err


def test_settings_with_an_effect_and_those_that_change_nothing_are_accepted(run: Path) -> None:
    assert main([f"run={run}", "job=evaluate", "seed=0", "evaluate.split=val", "trainer.device=cpu"]) == 0
    assert main([f"run={run}", "model=linear", "optim=sgd", "trainer=default", "trainer.epochs=${seed}"]) == 2
    assert main([f"run={run}", "model=linear", "optim=sgd", "trainer=default"]) == 0


def test_the_folder_of_a_job_that_trains_nothing_is_refused_with_the_command_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job=summary", "model=mlp", "seed=3", f"hydra.run.dir={tmp_path / 'found'}"]) == 0
    for job in ([], ["job=evaluate"], ["job=check"]):
        assert main([f"run={tmp_path / 'found'}", *job]) == 3
        assert "made by job=summary" in (error := capsys.readouterr().err)
        assert "train with: cnntrain model=mlp seed=3" in error
