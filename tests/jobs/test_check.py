"""job=check end to end: the table, check.json, exit code 5, a trained run, and trainer.check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnntrain.cli import main

QUICK = ["model=mlp", "trainer.threads=1", "check.seconds=60"]


def found(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "check.json").read_text())
    return content


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "checked"


def test_a_sound_configuration_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job=check", *QUICK, "regularization=l2", f"hydra.run.dir={folder}"]) == 0
    results = found(folder)
    printed = capsys.readouterr().out
    for name, result in results.items():
        assert result["passed"] is not False
        mark = "✓" if result["passed"] else "–"
        assert f"{mark} {name:<21} {result['sentence']}" in printed
    assert {name for name, result in results.items() if result["passed"] is None} == {
        "batch normalization",
        "saturated units",
    }
    assert results["initial loss"]["details"]["expected"] == pytest.approx(np.log(10))
    assert results["overfits 20 images"]["details"]["configured_optimizer"]["metric"] == 1.0


def test_a_loss_that_holds_a_layer_of_the_network_passes(folder: Path) -> None:
    overrides = [*QUICK, "loss=hierarchical_softmax", "loss.branching=10", f"hydra.run.dir={folder}"]
    assert main(["job=check", *overrides]) == 0
    first = found(folder)["initial loss"]["details"]
    assert first["loss"] == pytest.approx(np.log(10), rel=0.1)


@pytest.mark.parametrize(
    ("overrides", "failing"),
    [
        (["initialization=zeros"], {"scores", "dead units", "overfits 20 images"}),
        (["regularization=l2", "regularization.l2=50"], {"regularization"}),
        (["optim.lr=1e-7"], {"overfits 20 images"}),
        (["preprocessing=none", "data.val_fraction=0.001"], {"labels"}),
    ],
)
def test_what_is_wrong_is_found_with_exit_code_5(
    folder: Path, overrides: list[str], failing: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job=check", *QUICK, *overrides, f"hydra.run.dir={folder}"]) == 5
    failed = {name for name, result in found(folder).items() if result["passed"] is False}
    assert failed == failing
    assert f"{len(failing)} of" in capsys.readouterr().err


def test_a_learning_rate_too_low_to_overfit_is_told_from_a_network_that_cannot(folder: Path) -> None:
    main(["job=check", *QUICK, "optim.lr=1e-7", f"hydra.run.dir={folder}"])
    result = found(folder)["overfits 20 images"]
    assert result["details"]["adam"]["complete"] is True
    assert "change optim.lr or the optimizer" in result["sentence"]


def test_checks_before_training_change_nothing_in_it(folder: Path) -> None:
    run = ["model=convnet", "regularization=dropout", "averaging=ema", "data.limit=300", "trainer.epochs=1"]
    run += ["trainer.threads=1", "trainer.record_every_steps=1"]
    checked, plain = folder / "checked", folder / "plain"
    assert main([*run, "trainer.check=true", "check.seconds=0.2", f"hydra.run.dir={checked}"]) == 0
    assert main([*run, f"hydra.run.dir={plain}"]) == 0
    one, other = (torch.load(path / "checkpoints/last.pt", weights_only=True) for path in (checked, plain))
    for name, weights in one["network"].items():
        assert torch.equal(weights, other["network"][name]), name
    losses = [
        [json.loads(line).get("train/loss") for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (checked, plain)
    ]
    assert losses[0] == losses[1]
    assert (checked / "check.json").exists()


def test_a_failed_check_ends_the_run_before_training(folder: Path) -> None:
    overrides = [*QUICK, "initialization=zeros", "trainer.check=true", f"hydra.run.dir={folder}"]
    assert main(overrides) == 5
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    assert "checks failed" in (folder / "error.txt").read_text()
    assert (folder / "metrics.jsonl").read_text() == ""


def test_a_trained_run_is_checked_and_not_changed(folder: Path) -> None:
    assert main(["model=mlp", "trainer.threads=1", "trainer.epochs=1", f"hydra.run.dir={folder}"]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["job=check", f"run={folder}", "check.seconds=1"]) == 0
    assert "initial loss" not in found(folder)
    assert found(folder)["gradients"]["passed"] is True
    for path, content in before.items():
        assert path.read_bytes() == content
