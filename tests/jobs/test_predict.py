"""job=predict: the numbers of job=evaluate from every source of images, and what is written when it fails."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnntrain.cli import main

CLASSES = ("dark", "grey", "light")


@pytest.fixture
def run(shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run, a copy in the working folder, which is empty otherwise."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(shades / "run", "run"))


def fill(root: Path, count: int = 4) -> Path:
    """Write images of the classes in folders of theirs, of many sizes, modes and formats."""
    rng = np.random.default_rng(1)
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index in range(count):
            size = (7 + 5 * index, 12 + 3 * number, 4)
            pixels = np.clip(20 + 100 * number + rng.normal(0, 10, size), 0, 255).astype(np.uint8)
            rgba = Image.fromarray(pixels)
            rgb = rgba.convert("RGB")
            exif = Image.Exif()
            exif[0x0112] = 6
            rgba.save(root / name / f"{index} a.png")
            rgb.save(root / name / f"{index}é.jpg", exif=exif)
            rgb.convert("CMYK").save(root / name / f"{index}.jpeg")
            rgb.quantize(8).save(root / name / f"{index}.gif")
            Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(root / name / f"{index}16.png")
    return root


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def table(path: str = "predictions.csv") -> list[dict[str, str]]:
    return rows_of(Path(path).read_text(encoding="utf-8"))


def test_files_get_the_predictions_of_an_evaluation_to_the_last_digit(run: Path) -> None:
    folder = fill(Path("other"))
    assert main(["evaluate", f"run={run}", f"data.path={folder}", "evaluate.split=all"]) == 0
    assert main(["predict", f"run={run}", f"predict.images={folder}", "predict.file=predictions.csv"]) == 0
    (evaluated,) = run.glob("evaluate-*.csv")
    expected = {f"{folder}/{row['file']}": row for row in table(str(evaluated))}
    found = table()
    assert [row["file"] for row in found] == sorted(expected)
    assert len(found) == 60
    for row in found:
        of_file = expected[row["file"]]
        assert row["class"] == of_file["prediction"]
        ranked = [("class", "probability"), ("class_2", "probability_2"), ("class_3", "probability_3")]
        assert {row[name]: row[number] for name, number in ranked} == {
            name: of_file[name] for name in CLASSES
        }
        numbers = [float(row[number]) for _, number in ranked]
        assert numbers == sorted(numbers, reverse=True)
