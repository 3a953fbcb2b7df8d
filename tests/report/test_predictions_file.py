"""The CSV file of an evaluation: what a reader gets back, and that it appears whole or not at all."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from cnntrain.data.image_set import MemoryImages
from cnntrain.report.predictions_file import predictions_file, writes_predictions


def images(labels: torch.Tensor, names: list[str] | None = None) -> MemoryImages:
    return MemoryImages(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels, names)


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_names_and_probabilities_of_classes_are_read_back_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classes = ['a, "b"', "label", "line\nbreak", "ünï"]
    files = ["x,y.png", 'q".png', "\udcff.png", "d/e.png", "1"]
    labels, results = torch.tensor([3, 1, 0, 2, 1]), torch.randn(5, 4).softmax(1) ** 5
    predicted = results.argmax(1)
    file = tmp_path / "table.csv"
    with predictions_file(file, images(labels, files), "classes", classes) as rows:
        for part, guesses in zip(results.split(2), predicted.split(2), strict=True):
            rows.add(part, guesses)
    head, *body = read(file)
    assert head == ["file", "label", "prediction", 'a, "b"', "label (class)", "line\nbreak", "ünï"]
    assert [row[0] for row in body] == ["x,y.png", 'q".png', "\\udcff.png", "d/e.png", "1"]
    assert [row[1] for row in body] == [classes[label] for label in labels.tolist()]
    assert [row[2] for row in body] == [classes[guess] for guess in predicted.tolist()]
    found = torch.tensor([[float(cell) for cell in row[3:]] for row in body])
    assert torch.equal(found, results)


def test_images_without_files_have_their_position_and_none_of_them_the_rest(tmp_path: Path) -> None:
    chosen = images(torch.tensor([0, 1, 1, 0])).subset(torch.tensor([2, 0]))
    with predictions_file(tmp_path / "t.csv", chosen, "classes", ["a", "b"], rejects=True) as rows:
        rows.add(torch.tensor([[0.25, 0.5], [0.5, math.nan]]), torch.tensor([1, 0]))
    assert read(tmp_path / "t.csv") == [
        ["index", "label", "prediction", "a", "b", "none of them"],
        ["2", "b", "b", "0.25", "0.5", "0.25"],
        ["0", "a", "a", "0.5", "", ""],
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("attributes", [["x label", "x probability", "y label", "y probability"], ["1", "0.5", "0", "0.1"]]),
        ("values", [["x label", "x prediction", "y label", "y prediction"], ["1.0", "0.5", "0.0", "0.1"]]),
    ],
)
def test_attributes_and_values_have_their_label_and_what_was_predicted(
    target: str, expected: list[list[str]], tmp_path: Path
) -> None:
    with predictions_file(tmp_path / "t.csv", images(torch.tensor([[1.0, 0]])), target, ["x", "y"]) as rows:
        rows.add(torch.tensor([[0.5, 0.1]]), torch.tensor([0]))
    assert [row[1:] for row in read(tmp_path / "t.csv")] == expected


@pytest.mark.parametrize("error", [RuntimeError("on purpose"), OSError(5, "on purpose"), KeyboardInterrupt()])
def test_an_evaluation_that_fails_leaves_the_file_of_an_earlier_one(
    error: BaseException, tmp_path: Path
) -> None:
    file, split = tmp_path / "t.csv", images(torch.tensor([0, 1]))
    file.write_text("earlier")

    def evaluate() -> None:
        with predictions_file(file, split, "classes", ["a", "b"]) as rows:
            rows.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
            raise error

    with pytest.raises(type(error)) as caught:
        evaluate()
    assert caught.value is error
    assert file.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [file]


def test_by_default_there_is_a_file_unless_its_rows_would_be_very_long() -> None:
    names = [str(number) for number in range(101)]
    assert writes_predictions(None, names[:100])
    assert not writes_predictions(None, names)
    assert writes_predictions(True, names)
    assert not writes_predictions(False, names[:2])
