"""Runs whose folder, checkpoint, configuration or data changed: refused in words, or continued."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cnntrain
from cnntrain.cli import main
from cnntrain.config.stored_config import from_yaml
from cnntrain.errors import DataError
from cnntrain.runs.checkpoint import _write
from cnntrain.settings.config_tree import Config

QUICK = ["model=linear", "trainer.max_steps_per_epoch=2", "trainer.pictures=false", "trainer.precision=fp32"]
RUN = [*QUICK, "trainer.epochs=2", "averaging=ema", "schedule=plateau"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main([f"hydra.run.dir={folder}", *RUN]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run, as if interrupted after its last epoch."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "summary.json").write_text('{"status": "interrupted"}')
    return folder


# The keys of a checkpoint; those of tensors and lists are changed in shape, too.
KEYS = [
    "config",
    "precision",
    "network",
    "preprocess",
    "loss",
    "update",
    "average",
    "progress",
    "update.schedule",
    "update.scaler",
    "progress.step",
    "progress.epoch",
    "progress.rows",
    "progress.best_values",
    "average.count",
    "update.schedule.level",
    "update.optimizers.0.state",
    "threads",
    "data",
]
SHAPED = [
    "names",
    "image_shape",
    "sums",
    "update.optimizers",
    "update.skipped",
    "network.head.output.bias",
    "preprocess.scale",
    "average.average",
    "update.optimizers.0.param_groups",
]
VARIANTS = [(key, change) for key in (*KEYS, *SHAPED) for change in ("missing", "null")]
VARIANTS += [(key, "other shape") for key in SHAPED]
VARIANTS += [(key, "text") for key in ("network", "progress.step", "sums", "update")]
VARIANTS += [(key, "text") for key in ("precision", "update.optimizers.0.state.0.momentum_buffer")]
VARIANTS += [("update.optimizers.0.state.1.momentum_buffer", "null"), ("preprocess.scale", "complex")]
VARIANTS += [(key, "negative") for key in ("average.count", "progress.step", "progress.best_epoch")]
VARIANTS += [("update.optimizers.0.state", "emptied")]
VARIANTS += [(key, "unknown key") for key in ("network", "progress", "update", "average")]


def int_key(node: Any, part: str) -> bool:
    return isinstance(node, dict) and part not in node and part.isdigit()


def change_key(state: dict[str, Any], key: str, change: str) -> None:
    """Change a key of a checkpoint's state in place."""
    node: Any = state
    *path, leaf = key.split(".")
    if key.startswith("network."):
        path, leaf = ["network"], key.removeprefix("network.")
    for part in path:
        node = node[int(part)] if isinstance(node, list) or int_key(node, part) else node[part]
    value = node[leaf]
    if change == "missing":
        del node[leaf]
    elif change == "null":
        node[leaf] = None
    elif change == "text":
        node[leaf] = "text"
    elif change == "emptied":
        node[leaf] = {}
    elif change == "negative":
        node[leaf] = -5
    elif change == "complex":
        node[leaf] = value.to(torch.complex64)
    elif change == "unknown key":
        value["surprise"] = 1
    elif isinstance(value, torch.Tensor):
        node[leaf] = torch.zeros(*(length + 1 for length in value.shape))
    else:
        node[leaf] = [*value, value[0]]


@pytest.mark.parametrize(("key", "change"), VARIANTS)
def test_a_whole_checkpoint_of_the_wrong_content_is_refused_with_its_key(
    key: str, change: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "checkpoints" / "last.pt"
    state = torch.load(file, weights_only=True)
    del state["format"]
    change_key(state, key, change)
    _write(file, state)
    (run / "checkpoints" / "previous.pt").unlink()
    written = file.read_bytes()
    assert main([f"run={run}", "trainer.epochs=3"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert key.split(".")[0] in error or key in ("names", "image_shape") or "configuration" in error, error
    assert file.read_bytes() == written


def test_a_run_without_a_checkpoint_starts_from_its_configuration(finished: Path, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").write_text("")
    assert main([f"run={run}"]) == 0
    with_rates = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    for row in with_rates + expected:
        del row["images_per_second"]
        row.pop("data_wait", None)
    assert with_rates == expected


@pytest.mark.parametrize("trace", ["metrics.jsonl", "summary.json"])
def test_a_trained_run_without_its_checkpoints_is_not_begun_again(
    finished: Path, trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("*.pt"))
    for name in {"metrics.jsonl", "summary.json"} - {trace}:
        (folder / name).unlink()
    before = sorted(path.name for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".pt"))
    assert main([f"run={folder}"]) == 3
    assert "has no checkpoint, though this run was trained" in capsys.readouterr().err
    after = sorted(path.name for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".pt"))
    assert after == before


def test_a_configuration_changed_by_hand_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "config.yaml").read_text()
    for old, new in (
        ("seed: 0", "seed: 1"),
        ("max_grad_norm: 2.0", "max_grad_norm: 1.0"),
        ("lr: 0.1", "lr: 0.2"),
    ):
        assert text.count(old) == 1
        (run / "config.yaml").write_text(text.replace(old, new))
        assert main([f"run={run}"]) == 3
        expected = f"{new.replace(': ', '=').removesuffix('.0')}, its checkpoint was written with"
        assert expected in capsys.readouterr().err
        for job in ("evaluate", "check", "lr_range"):
            assert main([f"run={run}", f"job={job}"]) == 3
            assert expected in capsys.readouterr().err
        with pytest.raises(DataError, match=re.escape(expected)):
            cnntrain.load(run)


SNIPPETS = ["\0", "\t", "!!python/object:os.system ", "&a ", "*a", "<<: ", "${oc.env:HOME}", "${", "9" * 5000]
SNIPPETS += [*"{}'\"%@", "[" * 30, "- ", "? ", "---\n", "1e999", ".nan", "null", "\x1b[31m"]


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_configuration_is_read_or_refused_in_one_line(finished: Path, seed: int) -> None:
    text = (finished / "config.yaml").read_text()
    rng = random.Random(seed)
    for _ in range(25):
        mutated = text
        for _ in range(rng.randint(1, 4)):
            if not mutated:
                break
            start = rng.randrange(len(mutated))
            lines = mutated.splitlines(keepends=True)
            mutated = rng.choice(
                [
                    mutated[:start] + rng.choice(SNIPPETS) + mutated[start:],
                    mutated[:start] + mutated[start + rng.randint(1, 30) :],
                    mutated[:start],
                    "".join(rng.sample(lines, len(lines))),
                    "".join([*lines, rng.choice(lines)]),
                ]
            )
        message = "read"
        try:
            assert isinstance(from_yaml(mutated, "config.yaml"), Config)
        except DataError as error:
            message = str(error)
        assert message.isprintable()
        assert len(message) < 500


def test_interpolations_in_a_stored_configuration_are_not_resolved(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "0")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("seed: 0", "seed: ${oc.env:SECRET}"))
    assert main([f"run={run}"]) == 3
    assert "seed: ${oc.env:SECRET}: interpolations are not read here" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [None, 0, 1])
def test_missing_rows_of_metrics_are_said_and_later_ones_come_once(
    rows: int | None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "metrics.jsonl"
    before = file.read_text().splitlines(keepends=True)
    if rows is None:
        file.unlink()
    else:
        file.write_text("".join(before[:rows]))
    assert main([f"run={run}", "trainer.epochs=3"]) == 0
    assert f"metrics.jsonl has {rows or 0} of the {len(before)} rows" in capsys.readouterr().out
    after = len(file.read_text().splitlines())
    assert main([f"run={run}", "trainer.epochs=4"]) == 0
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(found) > after
    assert len([row for row in found if row["epoch"] == 3 and "val/loss" in row]) == 1
    steps = [row["step"] for row in found if "lr" in row]
    assert len(steps) == len(set(steps))


@pytest.mark.parametrize("name", ["metrics.jsonl", "error.txt", "summary.json"])
def test_a_folder_in_place_of_a_file_is_named(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    assert main([f"run={run}", "trainer.epochs=3"]) == 3
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("left", [".lock", ".lease", "checkpoints/.previous.pt.linking"])
def test_files_left_by_a_killed_process_do_not_matter(left: str, run: Path) -> None:
    (run / left).write_text("{")
    assert main([f"run={run}", "trainer.epochs=3"]) == 0
    assert (run / left).exists() == (left == ".lock")


def write_npz(path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    np.savez(path, x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])


def test_continuing_on_other_arrays_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (100, 8, 8), dtype=np.uint8), np.arange(100) % 4
    file, run = tmp_path / "own.npz", tmp_path / "run"
    write_npz(file, images, labels)
    start = [*QUICK, "data=npz", f"data.path={file}", "data.batch_size=10", f"hydra.run.dir={run}"]
    assert main([*start, "trainer.epochs=1"]) == 0
    other_pixels = images.copy()
    other_pixels[57, 3, 3] ^= 1
    other_labels = labels.copy()
    other_labels[[10, 11]] = labels[[11, 10]]
    for wrong, words in (
        ((other_pixels, labels), "images of the train split changed"),
        ((images, other_labels), "split changed"),
        ((images[:-20], labels[:-20]), "the train split had 90 images, now 72"),
        ((np.concatenate([images, images]), np.concatenate([labels, labels])), "images, now 180"),
        ((images, labels % 3), "the names were 0, 1, 2, 3, now 0, 1, 2"),
    ):
        write_npz(file, *wrong)
        capsys.readouterr()
        assert main([f"run={run}", "trainer.epochs=2"]) == 3
        assert words in capsys.readouterr().err
    write_npz(file, images, labels)
    assert main([f"run={run}", "trainer.epochs=2"]) == 0


@pytest.mark.parametrize("memory_limit_gb", [0, 1])
def test_continuing_on_another_folder_of_images_is_refused(
    memory_limit_gb: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, run = tmp_path / "photos", tmp_path / "run"
    for index in range(60):
        file = photos / "abc"[index % 3] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (index, 4 * index, 0)).save(file)
    data = ["data=folder", f"data.path={photos}", "data.image_size=8", "data.batch_size=10", "data.workers=0"]
    start = [*QUICK, *data, f"data.memory_limit_gb={memory_limit_gb}", f"hydra.run.dir={run}"]
    assert main([*start, "trainer.epochs=1"]) == 0
    resume = [f"run={run}", "trainer.epochs=2"]
    (photos / "b").rename(photos / "d")
    assert main(resume) == 3
    assert "the names were a, b, c, now a, c, d" in capsys.readouterr().err
    (photos / "d").rename(photos / "b")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(photos / "a" / "0.png")
    assert main(resume) == 3
    assert "split changed" in capsys.readouterr().err
    Image.new("RGB", (8, 8), (0, 0, 0)).save(photos / "a" / "new.png")
    assert main(resume) == 3
    assert "images, now" in capsys.readouterr().err


def test_a_run_is_continued_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz(tmp_path / "own.npz", np.zeros((100, 8, 8), np.uint8), np.arange(100) % 4)
    monkeypatch.chdir(tmp_path)
    start = [*QUICK, "data=npz", "data.path=own.npz", "data.batch_size=10", "hydra.run.dir=run"]
    assert main([*start, "trainer.epochs=1"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["run=../run", "trainer.epochs=2"]) == 0
    assert not (tmp_path / "run" / "error.txt").exists()


def test_a_rate_that_rises_again_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "trainer.epochs=3", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    capsys.readouterr()
    assert main([f"run={tmp_path / 'run'}", "trainer.epochs=9"]) == 0
    assert "lr rises from" in capsys.readouterr().out


@pytest.mark.parametrize("table_in", [".", "photos"])
def test_a_run_on_labels_from_a_table_is_continued_from_any_folder(
    table_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(40):
        Image.new("RGB", (8, 8), (6 * index, 0, 0)).save(tmp_path / "photos" / f"{index}.png")
    table = "image,red\n" + "".join(f"{index}.png,{6 * index}\n" for index in range(40))
    (tmp_path / table_in / "red.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    data = ["data=folder", "data.path=photos", "data.csv=red.csv", "data.target=values", "data.image_size=8"]
    start = [*QUICK, *data, "loss=l2", "data.batch_size=10", "hydra.run.dir=run", "trainer.epochs=1"]
    assert main(start) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["run=../run", "trainer.epochs=2"]) == 0


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("status", ["finished", "interrupted"])
@pytest.mark.parametrize(
    "refusal", ["other data", "no such data", "no best", "damaged best", "another setting"]
)
def test_a_refusal_to_continue_leaves_the_folder_as_it_was(
    refusal: str, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (100, 8, 8), dtype=np.uint8), np.arange(100) % 4
    files, run = [tmp_path / "own.npz", tmp_path / "other.npz"], tmp_path / "run"
    write_npz(files[0], images, labels)
    write_npz(files[1], images[:-20], labels[:-20])
    start = [*QUICK, "data=npz", f"data.path={files[0]}", "data.batch_size=10", f"hydra.run.dir={run}"]
    assert main([*start, "trainer.epochs=1", "trainer.report=false"]) == 0
    (run / "summary.json").write_text(f'{{"status": "{status}"}}')
    best = run / "checkpoints/best.pt"
    overrides = ["trainer.epochs=5"]
    if refusal.endswith("data"):
        overrides.append(f"data.path={files[1] if refusal == 'other data' else tmp_path / 'none.npz'}")
    elif refusal == "no best":
        best.unlink()
    elif refusal == "damaged best":
        best.write_bytes(best.read_bytes()[:-100])
    else:
        overrides.append("optim.lr=0.3")
    before = contents(run)
    assert main([f"run={run}", *overrides]) in (2, 3)
    assert contents(run) == before
    assert "continue  " not in capsys.readouterr().out


def test_a_missing_best_network_is_named_and_not_called_a_run_without_an_epoch(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoints/best.pt").unlink()
    assert main([f"run={run}", "job=evaluate"]) == 3
    assert "best.pt: is missing; restore it" in capsys.readouterr().err
