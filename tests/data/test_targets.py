"""Attributes and values as targets: of the embedded digits, from arrays, from a CSV file (D7)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import cnntrain
from cnntrain.cli import main
from cnntrain.data.digits import attributes_of, read_digits
from cnntrain.data.label_table import read_table
from cnntrain.data.npz_file import read_npz
from cnntrain.data.settings.image_files import Folder
from cnntrain.errors import DataError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the embedded digits


def test_the_attributes_of_digits_are_correct() -> None:
    attributes = attributes_of(torch.arange(10)).bool()
    assert attributes[:, 0].tolist() == [digit % 2 == 0 for digit in range(10)]
    primes = [all(digit % part for part in range(2, digit)) and digit > 1 for digit in range(10)]
    assert attributes[:, 1].tolist() == primes
    splits = read_digits("attributes")
    assert splits.names == ["even", "prime", "loop", "straight"]
    classes = read_digits("classes")
    assert torch.equal(splits.test.labels, attributes_of(classes.test.labels))


def test_digits_are_rotated_by_their_angles() -> None:
    splits, classes = read_digits("values"), read_digits("classes")
    angles = splits.train.labels[:, 0]
    assert angles.abs().max() <= 45
    assert angles.std().item() == pytest.approx(90 / 12**0.5, rel=0.05)
    # Both data sets hold the same digits in the same order; scipy rotates the reference.
    digits = next(classes.train.chunks(5))[..., 0].double().numpy()
    expected = [
        ndimage.rotate(digit, angle, reshape=False, order=1, mode="grid-constant")
        for digit, angle in zip(digits, angles[:5].tolist(), strict=True)
    ]
    ours = next(splits.train.chunks(5))[..., 0].double().numpy()
    assert np.abs(ours - np.stack(expected)).max() <= 1.0  # rounded twice, to whole numbers


@pytest.mark.parametrize(
    ("target", "loss", "metric", "minimum"),
    [("attributes", "attribute_logistic", "accuracy", 0.95), ("values", "l2", "r2", 0.8)],
)
def test_a_run_on_attributes_or_values_is_selected_and_evaluated_by_their_metrics(
    target: str, loss: str, metric: str, minimum: float
) -> None:
    overrides = [f"data.target={target}", f"loss={loss}", "trainer.epochs=10"]
    assert main(["hydra.run.dir=run", *overrides]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary[f"test/{metric}"] > minimum
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if "val/loss" in row]
    name, best = ("accuracy", max) if target == "attributes" else ("mean_absolute_error", min)
    assert summary[f"val/{name}"] == best(row[f"val/{name}"] for row in epochs)
    assert f"train/{name}" in rows[0]
    assert main(["run=run", "job=evaluate"]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    assert result[metric] == summary[f"test/{metric}"]
    trained = cnntrain.load("run")
    images = next(trained.config.data.load(0).test.chunks(1000))
    predicted = trained.predict(images)
    labels = trained.config.data.load(0).test.labels
    if target == "attributes":
        assert ((predicted > 0.5) == (labels > 0.5)).double().mean().item() == pytest.approx(
            summary["test/accuracy"], abs=0.003
        )
    else:
        error = (predicted - labels).abs().mean().item()
        assert error == pytest.approx(summary["test/mean_absolute_error"], rel=0.02)
    with pytest.raises(ValueError, match="use predict"):
        trained.classify(images)


# --- arrays


def arrays(**changes: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    defaults = {
        "x_train": rng.integers(0, 256, (20, 4, 4), dtype=np.uint8),
        "x_test": rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "y_train": rng.integers(0, 2, (20, 3)),
        "y_test": rng.integers(0, 2, (6, 3)),
    }
    np.savez("data.npz", **(defaults | changes))
    return Path("data.npz")


def test_arrays_of_attributes_and_values_are_read_unchanged() -> None:
    splits = read_npz(str(arrays(names=np.array(["red", "round", "soft"]))), target="attributes")
    assert splits.names == ["red", "round", "soft"]
    assert np.array_equal(splits.train.labels.numpy(), np.load("data.npz")["y_train"])
    values = np.linspace(-1, 1, 20), np.linspace(0, 1, 6)
    splits = read_npz(str(arrays(y_train=values[0], y_test=values[1])), target="values")
    assert splits.train.labels.shape == (20, 1)
    torch.testing.assert_close(splits.test.labels[:, 0], torch.from_numpy(values[1]).float())


@pytest.mark.parametrize(
    ("target", "changes", "message"),
    [
        ("attributes", {"y_train": np.full((20, 3), 2)}, "attributes are 0 or 1"),
        ("attributes", {"y_train": np.zeros(20)}, "save attributes as"),
        ("attributes", {"y_test": np.zeros((6, 2))}, "3 columns, y_test 2"),
        ("values", {"y_train": np.full((20, 3), np.nan)}, "NaN"),
        ("values", {"y_train": np.full((20, 3), "a")}, "as numbers"),
        ("values", {"y_train": np.full((20, 3), 1e300)}, r"up to 1e\+300, more than 1e\+18"),
        ("values", {"y_test": np.full((6, 3), -2e18)}, r"up to 2e\+18"),
        ("values", {"y_train": 1e8 + np.arange(60.0).reshape(20, 3) / 30}, "need more digits than float32"),
        ("values", {"y_train": np.zeros((19, 3))}, "19 labels"),
        ("values", {"names": np.array(["a", "a", "b"])}, "2 times; give each label a name of its own"),
    ],
)
def test_arrays_that_do_not_fit_the_target_are_refused(
    target: str, changes: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_npz(str(arrays(**changes)), target=target)


# --- a CSV file


def write_photos(lines: list[str], folders: tuple[str, ...] = ("",)) -> None:
    for folder in folders:
        (Path("photos") / folder).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            shade = 25 * number
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(Path("photos") / folder / f"{number}.png")
    Path("photos/labels.csv").write_text("\n".join(lines), encoding="utf-8")


def test_a_csv_file_labels_the_images_it_names() -> None:
    write_photos(["file,bright", *(f"{number}.png,{25 * number}" for number in range(10))])
    overrides = ["data=folder", "data.path=photos", "data.target=values", "data.csv=labels.csv", "loss=l1"]
    overrides += ["data.image_size=8", "data.batch_size=4", "data.val_fraction=0.2", "model=linear"]
    assert main([*overrides, "hydra.run.dir=run", "trainer.epochs=2"]) == 0
    splits = cnntrain.load("run").config.data.load(0)
    assert splits.names == ["bright"]
    assert (len(splits.train), len(splits.val), len(splits.test)) == (7, 2, 1)
    for split in (splits.train, splits.val, splits.test):
        images = next(split.chunks(100))
        assert torch.equal(images[:, 0, 0, 0].float(), split.labels[:, 0])


def test_paths_may_begin_with_their_split_and_attributes_may_be_yes_or_no() -> None:
    lines = ["file,even,large"]
    for folder in ("train", "val", "test"):
        lines += [f"{folder}/{n}.png,{'yes' if n % 2 == 0 else 'no'},{n >= 5}" for n in range(10)]
    write_photos(lines, ("train", "val", "test"))
    overrides = ["data=folder", "data.path=photos", "data.target=attributes", "data.csv=photos/labels.csv"]
    overrides += ["loss=attribute_hinge", "data.image_size=8", "data.batch_size=5", "model=linear"]
    assert main([*overrides, "hydra.run.dir=run", "trainer.epochs=1"]) == 0
    splits = cnntrain.load("run").config.data.load(0)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [10, 10, 10]
    assert splits.val.labels.tolist() == [[float(n % 2 == 0), float(n >= 5)] for n in range(10)]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "values", "must name the columns"),
        ("file\n1.png", "values", "must name the columns"),
        ("file,a,a\n", "values", "each once"),
        ("file,a\n", "values", "no lines"),
        ("file,a\n1.png,3,4", "values", "line 2: has 3 cells"),
        ("file,a\n1.png,x", "values", "line 2: x is no number"),
        ("file,a\n1.png,nan", "values", "is no number"),
        ("file,a\n1.png,-1e37", "values", r"line 2: -1e37 is more than 1e\+18"),
        ("file,a\n1.png,1_000", "values", "1_000 is no number"),
        ("file,a\n1.png,2", "attributes", "line 2: 2 is no attribute"),
        ("file,a\n1.png,1\n1.png,0", "attributes", "line 3: 1.png has a line already"),
    ],
)
def test_an_invalid_csv_file_is_refused_with_the_line_number(text: str, target: str, message: str) -> None:
    Path("labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(Path("labels.csv"), target).problems.check()


def test_images_without_a_line_are_counted_and_a_missing_first_line_is_found() -> None:
    lines = [f"{number}.png,{number}" for number in range(10)]
    write_photos(["file,bright", *lines[:7]])
    settings = Folder(path="photos", csv="labels.csv", target="values", image_size=8)
    expected = "not used, as labels.csv has no line for them: 3 images (7.png, 8.png, 9.png)"
    assert settings.load(0).notices == [expected]
    shutil.rmtree("photos")
    write_photos(lines)
    with pytest.raises(DataError, match=r"labels.csv: its first line is that of the image 0.png"):
        settings.load(0)


def test_missing_files_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(["file,bright", "1.png,3", "nowhere.png,4"])
    overrides = ["data=folder", "data.path=photos", "data.target=values", "loss=l2"]
    assert main([*overrides, "data.csv=labels.csv"]) == 3
    assert "nowhere.png" in capsys.readouterr().err
    assert main([*overrides, "data.csv=missing.csv"]) == 3
    assert "missing.csv" in capsys.readouterr().err
    assert main(overrides) == 2
    assert "data.csv=FILE.csv" in capsys.readouterr().err


def test_a_loss_for_another_target_is_refused_with_the_losses_that_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data.target=values"]) == 2
    assert "write loss=l2 or l1 or smooth_l1 or bins" in capsys.readouterr().err
