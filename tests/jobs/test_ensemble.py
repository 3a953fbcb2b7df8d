"""Ensembles: means of predictions and of weights, stored as one thing."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cnntrain
from cnntrain.cli import main
from cnntrain.data.digits import read_digits
from cnntrain.errors import DataError
from cnntrain.prediction.ensemble import Ensemble, check_members
from cnntrain.prediction.trained import TrainedNetwork

QUICK = ["trainer.pictures=false", "trainer.report=false", "trainer.precision=fp32", "trainer.threads=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs: a and b of one network, c of another, d of another seed, k with all epochs."""
    root = tmp_path_factory.mktemp("members")
    short = ["trainer.max_steps_per_epoch=6", "trainer.epochs=2"]
    normalized = ["model=convnet", "model.normalization=batch", *short]
    for name, overrides in (
        ("a", [*normalized, "optim.lr=0.1"]),
        ("b", [*normalized, "optim.lr=0.05"]),
        ("c", ["model=linear", "preprocessing=standardize", "trainer.epochs=2"]),
        ("d", ["model=linear", "seed=1", "trainer.epochs=2"]),
        ("k", ["model=linear", "trainer.epochs=4", "trainer.keep_epochs=2"]),
    ):
        assert main([*overrides, *QUICK, f"hydra.run.dir={root / name}"]) == 0
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def members(*folders: Path | str) -> str:
    return f"ensemble.members=[{','.join(map(str, folders))}]"


def content(path: str = "ensemble") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(path) / "ensemble.json").read_text())
    return found


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    test = read_digits().test
    return test.images, test.labels  # type: ignore[attr-defined]


def test_its_prediction_is_the_mean_of_its_members_whatever_their_networks(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(trained, Path("runs"))
    assert main(["job=ensemble", members("runs/a", "runs/c"), "hydra.run.dir=ensemble", *QUICK[2:]]) == 0
    networks = [cnntrain.load(copied / name) for name in "ac"]
    images, labels = digits()
    expected = torch.stack([network.predict(images) for network in networks]).mean(0)
    shutil.rmtree(copied)  # it needs them no more
    ensemble = cnntrain.load("ensemble")
    assert isinstance(ensemble, Ensemble)
    assert torch.allclose(ensemble.predict(images), expected, atol=1e-6)
    names = [networks[0].names[index] for index in expected.argmax(1).tolist()]
    assert ensemble.classify(images) == names
    accuracy = (expected.argmax(1) == labels).float().mean().item()
    assert content()["test"]["accuracy"] == pytest.approx(accuracy, abs=3e-3)
    assert content()["test"]["by_number_of_members"][-1] == content()["test"]["accuracy"]
    assert "reason" in content()["soup"]
    assert "whose weights cannot be averaged" in capsys.readouterr().out
    assert main(["job=evaluate", "run=ensemble"]) == 0
    result = json.loads(Path("ensemble/evaluate-test.json").read_text())
    assert result["accuracy"] == content()["test"]["accuracy"]
    assert sum(entry["support"] for entry in result["per_class"].values()) == result["images"] == len(images)
    with Path("ensemble/evaluate-test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == row["prediction"] for row in rows) / len(rows) == result["accuracy"]
    found = torch.tensor([[float(row[name]) for name in networks[0].names] for row in rows])
    assert torch.allclose(found, expected, atol=0.02)  # the job runs in the precision of the members
    assert main(["job=evaluate", "run=ensemble", "evaluate.split=train"]) == 0
    assert main(["run=ensemble"]) == 2
    capsys.readouterr()
    assert main(["job=evaluate", "run=ensemble", "evaluate.split=tset"]) == 2
    assert "evaluate.split=tset: must be one of train, val, test, all" in capsys.readouterr().err


def test_members_are_compared_by_the_numbers_that_evaluation_reports(trained: Path) -> None:
    assert (
        main(["job=ensemble", members(trained / "a", trained / "b"), "hydra.run.dir=ensemble", *QUICK[2:]])
        == 0
    )
    found = content()
    for number, member in enumerate(found["members"]):
        source = Path(member["source"])
        summary = json.loads((source / "summary.json").read_text())
        assert found["val"]["member_accuracies"][number] == pytest.approx(summary["val/accuracy"], abs=1e-6)
        assert found["test"]["member_accuracies"][number] == pytest.approx(summary["test/accuracy"], abs=1e-6)
    assert found["val"]["member_accuracies"] == sorted(found["val"]["member_accuracies"], reverse=True)
    one, other = (cnntrain.load(member["source"]) for member in found["members"])
    images, _ = digits()
    differ = (one.predict(images).argmax(1) != other.predict(images).argmax(1)).float().mean().item()
    assert found["test"]["disagreement"] == pytest.approx(differ, abs=3e-3)


def test_averaged_weights_are_the_mean_with_statistics_of_their_own(trained: Path) -> None:
    assert (
        main(["job=ensemble", members(trained / "a", trained / "b"), "hydra.run.dir=ensemble", *QUICK[2:]])
        == 0
    )
    soup, a, b = (cnntrain.load(path) for path in ("ensemble/soup", trained / "a", trained / "b"))
    assert isinstance(soup, TrainedNetwork)
    assert isinstance(a, TrainedNetwork)
    assert isinstance(b, TrainedNetwork)
    chosen = content()["soup"]["members"]
    sources = [Path(content()["members"][number]["source"]).name for number in chosen]
    states = [{"a": a, "b": b}[name].network.state_dict() for name in sources]
    for name, tensor in soup.network.state_dict().items():
        if "running" in name or "num_batches" in name:
            continue
        assert torch.allclose(tensor, torch.stack([state[name] for state in states]).mean(0), atol=1e-6)
    if len(sources) == 2:
        running = [name for name in states[0] if "running_var" in name]
        mean = torch.stack([state[running[-1]] for state in states]).mean(0)
        assert not torch.allclose(soup.network.state_dict()[running[-1]], mean, rtol=1e-3)
    images, labels = digits()
    accuracy = (soup.predict(images).argmax(1) == labels).float().mean().item()
    assert content()["soup"]["test_accuracy"] == pytest.approx(accuracy, abs=3e-3)
    best = max(content()["val"]["member_accuracies"])
    assert content()["soup"]["val_accuracy"] >= best


def test_the_best_of_a_sweep_and_the_epochs_of_a_run(trained: Path) -> None:
    sweep = [
        "-m",
        "model=linear",
        "optim.lr=0.001,0.1,0.2",
        "trainer.epochs=1",
        "search.report=false",
        *QUICK[2:],
    ]
    assert main([*sweep, "hydra.sweep.dir=sweep"]) == 0
    overrides = ["ensemble.best=2", "ensemble.selection=greedy", *QUICK[2:]]
    assert main(["job=ensemble", "run=sweep", *overrides, "hydra.run.dir=ensemble"]) == 0
    assert {Path(member["source"]).name for member in content()["members"]} <= {"0001", "0002"}
    found = content()["val"]["by_number_of_members"]
    assert found == sorted(set(found))
    pattern = trained / "k/checkpoints/epoch-*.pt"
    assert main(["job=ensemble", members(pattern), "hydra.run.dir=epochs", *QUICK[2:]]) == 0
    assert {Path(member["source"]).name for member in content("epochs")["members"]} == {
        "epoch-0002.pt",
        "epoch-0004.pt",
    }
    kept = torch.load(trained / "k/checkpoints/epoch-0004.pt", weights_only=True)["network"]
    last = torch.load(trained / "k/checkpoints/last.pt", weights_only=True)["network"]
    assert all(torch.equal(kept[name], last[name]) for name in last)


def test_members_with_other_validation_images_are_not_compared_by_them(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["job=ensemble", members(trained / "c", trained / "d"), "hydra.run.dir=ensemble", *QUICK[2:]]
    assert main([*overrides, "ensemble.selection=greedy"]) == 2
    assert "no validation images in common" in capsys.readouterr().err
    assert main(overrides) == 0
    assert "val" not in content()
    assert "not compared in validation" in capsys.readouterr().out
    assert "no validation images in common" in content()["soup"]["reason"]
    assert not Path("ensemble/soup").exists()


@pytest.mark.parametrize(
    ("overrides", "code", "expected"),
    [
        (["ensemble.members=[]"], 2, "needs two runs at least"),
        (["ensemble.members=[a]"], 2, "a: matches no folder of a run"),
        (["ensemble.members=[A]"], 2, "needs two runs at least"),
        (["run=A"], 2, "is no sweep"),
        (["ensemble.members=[A,A]", "model=vgg11"], 2, "model: has no effect with job=ensemble"),
        (["ensemble.members=[A,other]"], 3, "other: takes images of 8x8x3 in place of 8x8x1"),
    ],
)
def test_what_is_no_ensemble_is_refused(
    overrides: list[str], code: int, expected: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "other" in str(overrides):
        quick = ["data=synthetic", "data.image_size=8", "model=linear", "trainer.epochs=1", *QUICK]
        assert main([*quick, "hydra.run.dir=other"]) == 0
    overrides = [override.replace("A", str(trained / "a")) for override in overrides]
    assert main(["job=ensemble", *overrides, "hydra.run.dir=ensemble"]) == code
    assert expected in capsys.readouterr().err
    assert not Path("ensemble").exists()


def test_members_with_other_labels_are_refused(trained: Path) -> None:
    one = cnntrain.load(trained / "a")
    assert isinstance(one, TrainedNetwork)
    other = replace(one, names=[*one.names[:-1], "ten"])
    with pytest.raises(DataError, match="there: predicts 0, 1, 2, 3, 4, … in place of 0, 1"):
        check_members([one, other], ["here", "there"])
