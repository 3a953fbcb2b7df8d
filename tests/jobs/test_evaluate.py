"""Evaluation on other folders of images: labels by name, every layout measurable, results kept apart."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnntrain.cli import main

CLASSES = ("dark", "grey", "light")
SHADES = dict(zip(CLASSES, (20, 120, 220), strict=True))


def fill(root: Path, names: tuple[str, ...] = CLASSES, count: int = 12) -> Path:
    """Write images whose class is their brightness, with a little noise."""
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(SHADES[name] + rng.normal(0, 10, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def run(shades: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shades / "run", tmp_path / "run")


def results(run: Path) -> dict[str, dict[str, Any]]:
    return {file.name: json.loads(file.read_text()) for file in run.glob("evaluate-*.json")}


def predictions(run: Path) -> list[dict[str, str]]:
    (file,) = run.glob("evaluate-*.csv")
    with file.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def test_the_table_of_classes_has_their_metrics_and_averages(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([f"run={run}", "job=evaluate", "evaluate.predictions=false"]) == 0
    printed = capsys.readouterr().out
    (result,) = results(run).values()
    assert not list(run.glob("*.csv"))
    rows = [line.split() for line in printed.splitlines()]
    for name in CLASSES:
        entry = result["per_class"][name]
        keys = ("precision", "recall", "f1", "auroc", "average_precision")
        assert [name, str(entry["support"]), *(f"{entry[key]:.2%}" for key in keys)] in rows
    for kind, means in result["averages"].items():
        assert [kind, "average", *(f"{mean:.2%}" for mean in means.values())] in rows
    assert [["dark", *map(str, result["confusion"][0])]] == [row for row in rows if row[:1] == ["dark"]][1:]
    assert f"balanced accuracy {result['balanced_accuracy']:.2%}, macro F1" in printed


@pytest.mark.parametrize("layout", ["classes", "test only", "splits"])
def test_a_folder_of_any_layout_is_measured_whole(layout: str, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for part in {"classes": (".",), "test only": ("test",), "splits": ("train", "val", "test")}[layout]:
        fill(other / part)
    assert main([f"run={run}", "job=evaluate", f"data.path={other}", "evaluate.split=all"]) == 0
    (result,) = results(run).values()
    assert result["images"] == {"classes": 36, "test only": 36, "splits": 108}[layout]
    found = predictions(run)
    files = {path.relative_to(other).as_posix() for path in other.rglob("*.png")}
    assert {row["file"] for row in found} == files
    assert len(found) == len(files)
    assert all(row["label"] in row["file"].split("/") for row in found)
    right = [row["label"] == row["prediction"] for row in found]
    assert sum(right) / len(right) == result["accuracy"]
    assert all(row["prediction"] == max(CLASSES, key=lambda name: float(row[name])) for row in found)
    assert result["source"] == str(other)
    assert result["accuracy"] > 0.9


def test_a_folder_with_only_a_test_split_is_measured(run: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other" / "test")
    assert main([f"run={run}", "job=evaluate", f"data.path={tmp_path / 'other'}"]) == 0
    (result,) = results(run).values()
    assert (result["split"], result["images"]) == ("test", 36)
    assert result["accuracy"] > 0.9


@pytest.mark.parametrize("names", [("grey", "light"), ("light",)])
def test_labels_are_matched_by_name_where_classes_are_missing(
    names: tuple[str, ...], run: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "other", names)
    assert main([f"run={run}", "job=evaluate", f"data.path={tmp_path / 'other'}", "evaluate.split=all"]) == 0
    (result,) = results(run).values()
    assert result["accuracy"] > 0.9
    assert result["names"] == list(CLASSES)


def test_unknown_classes_are_refused_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "other")
    (tmp_path / "other" / "grey").rename(tmp_path / "other" / "gray")
    assert main([f"run={run}", "job=evaluate", f"data.path={tmp_path / 'other'}", "evaluate.split=all"]) == 3
    assert "the network does not have the classes gray, but dark, grey, light" in capsys.readouterr().err
    assert not results(run)


def test_another_folder_may_be_divided_otherwise(run: Path, tmp_path: Path) -> None:
    other = fill(tmp_path / "other", count=20)
    command = [f"run={run}", "job=evaluate", f"data.path={other}", "data.val_fraction=0.5"]
    assert main([*command, "evaluate.split=val"]) == 0


def test_results_of_several_folders_are_kept_apart(run: Path, tmp_path: Path) -> None:
    assert main([f"run={run}", "job=evaluate"]) == 0
    for name in ("first", "second"):
        fill(tmp_path / name)
        assert main([f"run={run}", "job=evaluate", f"data.path={tmp_path / name}", "evaluate.split=all"]) == 0
    found = results(run)
    assert "evaluate-folder-test.json" in found
    assert len(found) == 3
    assert len({result["source"] for result in found.values()}) == 3


def test_weights_of_an_epoch_before_the_average_began_are_those_of_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["averaging=swa", "averaging.start=0.5", "trainer.epochs=2", "model=linear", "optim.lr=1"]
    schedule = [
        "schedule=step",
        "schedule.milestones=[1]",
        "schedule.factor=1e-9",
        "schedule.warmup_epochs=0",
    ]
    assert main([*overrides, *schedule, "trainer.report=false", "hydra.run.dir=averaged"]) == 0
    summary = json.loads(Path("averaged/summary.json").read_text())
    assert summary["best_epoch"] == 1
    assert main(["evaluate", "run=averaged", "evaluate.split=val", "evaluate.weights=last_step"]) == 0
    found = json.loads(Path("averaged/evaluate-digits-val-last_step.json").read_text())
    assert found["accuracy"] == summary["val/accuracy"]
    capsys.readouterr()
    assert main(["evaluate", "run=averaged", "evaluate.weights=average"]) == 2
    assert "the average had not begun in the best epoch" in capsys.readouterr().err
