"""What a job does not read of a training's settings is refused or noticed, and has no effect indeed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.read_by_jobs import READ, REFUSED
from cnntrain.errors import ConfigError
from cnntrain.settings.config_tree import GROUPS, OF_SWEEPS

# Another choice of each group, and settings of the training loop.
GIVEN = {
    "data": "data=synthetic",
    "preprocessing": "preprocessing=center",
    "augmentation": "augmentation=none",
    "model": "model=linear",
    "initialization": "initialization=he",
    "loss": "loss=svm",
    "regularization": "regularization=none",
    "optim": "optim=adam",
    "schedule": "schedule=constant",
    "averaging": "averaging=ema",
    "logger": "logger=tensorboard",
    "trainer.epochs": "trainer.epochs=3",
    "trainer.max_minutes": "trainer.max_minutes=1",
    "trainer.max_grad_norm": "trainer.max_grad_norm=1",
    "trainer.pictures": "trainer.pictures=false",
    "trainer.quiet": "trainer.quiet=true",
    "seed": "seed=3",
}
# What each job has to have read, by what it is for.
NEEDED = {
    "data": {"data", "preprocessing", "augmentation"},
    "check": {"data", "preprocessing", "model", "initialization", "loss", "optim"},
    "lr_range": {"data", "augmentation", "model", "loss", "optim", "trainer.max_grad_norm"},
    "summary": {"data", "model", "optim", "schedule", "trainer.epochs"},
    "profile": {"data", "augmentation", "model", "optim", "averaging", "trainer.max_grad_norm"},
    "head": {"data", "preprocessing", "model", "initialization"},
    "optimizers": {"trainer.quiet"},
    "ensemble": {"trainer.quiet"},
}


def test_the_overrides_of_these_tests_are_of_every_group() -> None:
    assert {key.partition(".")[0] for key in GIVEN} == {*GROUPS, "seed"} - {OF_SWEEPS}
    assert NEEDED.keys() == READ.keys()


@pytest.mark.parametrize("job", READ)
def test_of_each_group_a_job_reads_it_or_says_that_it_does_not(job: str) -> None:
    read = set()
    for key, override in GIVEN.items():
        try:
            said = configure([f"job={job}", override], Choices()).notices
        except ConfigError as error:
            said = error.problems
        named = [line for line in said if "no effect" in line and line.startswith(f"{key}: has no effect")]
        assert len(named) <= 1
        assert not [line for line in said if "has no choice" in line]
        read |= set() if named else {key}
    assert NEEDED[job] <= read < set(GIVEN)


@pytest.mark.parametrize("job", ["data", "check", "lr_range", "summary"])
def test_what_a_job_does_not_read_changes_nothing_of_its_result(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert job not in REFUSED
    small = ["model=linear", "data.limit=200", "lr_range.steps=10"][: 3 if job == "lr_range" else 2]
    small += ["check.seconds=0.1"] if job == "check" else []
    unread = [
        override
        for key, override in GIVEN.items()
        if key not in READ[job] and key.partition(".")[0] not in READ[job]
    ]
    assert main([f"job={job}", *small, "hydra.run.dir=plain"]) in (0, 5)
    assert "no effect" not in capsys.readouterr().out
    assert main([f"job={job}", *small, *unread, "hydra.run.dir=with"]) in (0, 5)
    (notice,) = [line for line in capsys.readouterr().out.splitlines() if "no effect" in line]
    assert all(override.partition("=")[0] in notice for override in unread)
    name = {"lr_range": "lr_range", "summary": "network", "check": "check", "data": "data"}[job]
    results = [json.loads(Path(folder, f"{name}.json").read_text()) for folder in ("plain", "with")]
    if job == "summary":  # the heap's fragmentation is random
        results = [result["layers"] for result in results]
    if job == "check":  # which has durations
        results = [{key: value["passed"] for key, value in result.items()} for result in results]
    assert results[0] == results[1]
