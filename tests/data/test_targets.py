"""Attributes and values beside classes: embedded, from arrays, from a CSV file (D7)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import cnntrain
from cnntrain.cli import main
from cnntrain.data.arrays import read_npz
from cnntrain.data.digits import attributes_of, read_digits
from cnntrain.data.label_table import read_table
from cnntrain.errors import DataError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the embedded digits


def test_the_attributes_of_digits_are_true() -> None:
    found = attributes_of(torch.arange(10)).bool()
    assert found[:, 0].tolist() == [digit % 2 == 0 for digit in range(10)]
    primes = [all(digit % part for part in range(2, digit)) and digit > 1 for digit in range(10)]
    assert found[:, 1].tolist() == primes
    splits = read_digits("attributes")
    assert splits.names == ["even", "prime", "loop", "straight"]
    classes = read_digits("classes")
    assert torch.equal(splits.test.labels, attributes_of(classes.test.labels))


def test_digits_are_turned_by_their_angles() -> None:
    splits, classes = read_digits("values"), read_digits("classes")
    angles = splits.train.labels[:, 0]
    assert angles.abs().max() <= 45
    assert angles.std().item() == pytest.approx(90 / 12**0.5, rel=0.05)
    # The splits hold the same digits in the same order, here turned as scipy turns them.
    digits = next(classes.train.chunks(5))[..., 0].double().numpy()
    theirs = [
        ndimage.rotate(digit, angle, reshape=False, order=1, mode="grid-constant")
        for digit, angle in zip(digits, angles[:5].tolist(), strict=True)
    ]
    ours = next(splits.train.chunks(5))[..., 0].double().numpy()
    assert np.abs(ours - np.stack(theirs)).max() <= 1.0  # rounded twice, to whole numbers


@pytest.mark.parametrize(
    ("target", "loss", "measure", "better_than"),
    [("attributes", "attribute_logistic", "accuracy", 0.95), ("values", "l2", "r2", 0.8)],
)
def test_a_run_on_another_target_is_measured_selected_and_evaluated_by_it(
    target: str, loss: str, measure: str, better_than: float
) -> None:
    words = [f"data.target={target}", f"loss={loss}", "trainer.epochs=10"]
    assert main(["hydra.run.dir=run", *words]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary[f"test/{measure}"] > better_than
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if "val/loss" in row]
    name, pick = ("accuracy", max) if target == "attributes" else ("mean_absolute_error", min)
    assert summary[f"val/{name}"] == pick(row[f"val/{name}"] for row in epochs)
    assert f"train/{name}" in rows[0]
    assert main(["run=run", "job=evaluate"]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    assert result[measure] == summary[f"test/{measure}"]
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
    given = {
        "x_train": rng.integers(0, 256, (20, 4, 4), dtype=np.uint8),
        "x_test": rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "y_train": rng.integers(0, 2, (20, 3)),
        "y_test": rng.integers(0, 2, (6, 3)),
    }
    np.savez("data.npz", **(given | changes))
    return Path("data.npz")


def test_arrays_of_attributes_and_values_are_read_as_they_are() -> None:
    splits = read_npz(str(arrays(names=np.array(["red", "round", "soft"]))), target="attributes")
    assert splits.names == ["red", "round", "soft"]
    assert np.array_equal(splits.train.labels.numpy(), np.load("data.npz")["y_train"])
    one = np.linspace(-1, 1, 20), np.linspace(0, 1, 6)
    splits = read_npz(str(arrays(y_train=one[0], y_test=one[1])), target="values")
    assert splits.train.labels.shape == (20, 1)
    torch.testing.assert_close(splits.test.labels[:, 0], torch.from_numpy(one[1]).float())


@pytest.mark.parametrize(
    ("target", "changes", "told"),
    [
        ("attributes", {"y_train": np.full((20, 3), 2)}, "attributes are 0 or 1"),
        ("attributes", {"y_train": np.zeros(20)}, "save attributes as"),
        ("attributes", {"y_test": np.zeros((6, 2))}, "3 columns, y_test 2"),
        ("values", {"y_train": np.full((20, 3), np.nan)}, "NaN"),
        ("values", {"y_train": np.full((20, 3), "a")}, "as numbers"),
        ("values", {"y_train": np.zeros((19, 3))}, "19 labels"),
        ("values", {"names": np.array(["a", "a", "b"])}, "name each once"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(target: str, changes: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_npz(str(arrays(**changes)), target=target)


# --- a CSV file


def photos(lines: list[str], folders: tuple[str, ...] = ("",)) -> None:
    for folder in folders:
        (Path("photos") / folder).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            shade = 25 * number
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(Path("photos") / folder / f"{number}.png")
    Path("photos/labels.csv").write_text("\n".join(lines), encoding="utf-8")


def test_a_csv_file_labels_the_images_it_names() -> None:
    photos(["file,bright", *(f"{number}.png,{25 * number}" for number in range(10))])
    words = ["data=folder", "data.path=photos", "data.target=values", "data.csv=labels.csv", "loss=l1"]
    words += ["data.image_size=8", "data.batch_size=4", "data.val_fraction=0.2", "model=linear"]
    assert main([*words, "hydra.run.dir=run", "trainer.epochs=2"]) == 0
    splits = cnntrain.load("run").config.data.load(0)
    assert splits.names == ["bright"]
    assert (len(splits.train), len(splits.val), len(splits.test)) == (7, 2, 1)
    for split in (splits.train, splits.val, splits.test):
        images = next(split.chunks(100))
        assert torch.equal(images[:, 0, 0, 0].float(), split.labels[:, 0])


def test_paths_may_say_their_split_and_attributes_may_be_words() -> None:
    lines = ["file,even,large"]
    for folder in ("train", "val", "test"):
        lines += [f"{folder}/{n}.png,{'yes' if n % 2 == 0 else 'no'},{n >= 5}" for n in range(10)]
    photos(lines, ("train", "val", "test"))
    words = ["data=folder", "data.path=photos", "data.target=attributes", "data.csv=photos/labels.csv"]
    words += ["loss=attribute_hinge", "data.image_size=8", "data.batch_size=5", "model=linear"]
    assert main([*words, "hydra.run.dir=run", "trainer.epochs=1"]) == 0
    splits = cnntrain.load("run").config.data.load(0)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [10, 10, 10]
    assert splits.val.labels.tolist() == [[float(n % 2 == 0), float(n >= 5)] for n in range(10)]


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("", "values", "must name the columns"),
        ("file\n1.png", "values", "must name the columns"),
        ("file,a,a\n", "values", "each once"),
        ("file,a\n", "values", "no lines"),
        ("file,a\n1.png,3,4", "values", "line 2: has 3 cells"),
        ("file,a\n1.png,x", "values", "line 2: x is no number"),
        ("file,a\n1.png,nan", "values", "is no number"),
        ("file,a\n1.png,2", "attributes", "line 2: 2 is no attribute"),
        ("file,a\n1.png,1\n1.png,0", "attributes", "line 3: 1.png has a line already"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(text: str, target: str, told: str) -> None:
    Path("labels.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_table(Path("labels.csv"), target)


def test_files_that_are_not_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    photos(["file,bright", "1.png,3", "nowhere.png,4"])
    words = ["data=folder", "data.path=photos", "data.target=values", "loss=l2"]
    assert main([*words, "data.csv=labels.csv"]) == 3
    assert "nowhere.png" in capsys.readouterr().err
    assert main([*words, "data.csv=missing.csv"]) == 3
    assert "missing.csv" in capsys.readouterr().err
    assert main(words) == 2
    assert "data.csv=FILE.csv" in capsys.readouterr().err
    assert main(["data=folder", "data.path=photos", "data.csv=labels.csv"]) == 2
    assert "acts with data.target" in capsys.readouterr().err


def test_a_loss_for_another_target_is_refused_with_those_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data.target=values"]) == 2
    assert "write loss=l2 or l1 or smooth_l1 or bins" in capsys.readouterr().err
