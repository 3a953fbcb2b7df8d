"""The rows of every kind of target, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from cnntrain.prediction.result_rows import FORMATS


@dataclass
class Fixed:
    """A predictor of which rows need to know these properties alone."""

    target: str
    names: list[str]
    rejects: bool = False


def written(kind: str, predictor: Any, results: list[list[float]], top: int = 5) -> Any:
    stream = io.StringIO()
    rows = FORMATS[kind](stream, predictor, top)
    for number, row in enumerate(results):  # a batch each
        rows.add([f'{number}, "a".png'], torch.tensor([row]))
    text = stream.getvalue()
    return list(csv.reader(io.StringIO(text))) if kind == "csv" else list(map(json.loads, text.splitlines()))


FILES = ['0, "a".png', '1, "a".png']


def test_classes_are_ranked_and_the_first_of_equal_ones_comes_first() -> None:
    predictor = Fixed("classes", ["a", "b", "c"])
    results = [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]
    assert written("csv", predictor, results, 2) == [
        ["file", "class", "probability", "class_2", "probability_2"],
        [FILES[0], "b", "0.5", "c", "0.3"],
        [FILES[1], "a", "0.4", "c", "0.4"],
    ]
    first, second = written("jsonl", predictor, results)
    assert first["top"] == [{"class": n, "probability": p} for n, p in (("b", 0.5), ("c", 0.3), ("a", 0.2))]
    assert (first["file"], first["class"], first["probability"]) == (FILES[0], "b", 0.5)
    assert [entry["class"] for entry in second["top"]] == ["a", "c", "b"]


def test_none_of_the_classes_may_be_the_answer() -> None:
    predictor = Fixed("classes", ["a", "b"], rejects=True)
    results = [[0.125, 0.25], [0.5, 0.5]]
    _, rejected, accepted = written("csv", predictor, results)
    assert rejected[1:] == ["none of them", "0.625", "b", "0.25", "a", "0.125"]
    assert accepted[1:] == ["a", "0.5", "b", "0.5", "none of them", "0.0"]
    assert written("jsonl", predictor, results, 1)[0]["class"] == "none of them"


def test_attributes_are_present_where_their_probability_is_above_one_half() -> None:
    predictor = Fixed("attributes", ["red", "round"])
    results = [[0.5, 0.75], [1.0, 0.0]]
    assert written("csv", predictor, results) == [
        ["file", "red prediction", "red probability", "round prediction", "round probability"],
        [FILES[0], "no", "0.5", "yes", "0.75"],
        [FILES[1], "yes", "1.0", "no", "0.0"],
    ]
    assert written("jsonl", predictor, results)[0]["attributes"] == {
        "red": {"present": False, "probability": 0.5},
        "round": {"present": True, "probability": 0.75},
    }


def test_values_have_the_fewest_digits_of_float32_and_none_where_they_are_not_finite() -> None:
    predictor = Fixed("values", ["angle", "size"])
    results = [[-12.1, 1e-9], [float("nan"), float("inf")]]
    assert written("csv", predictor, results) == [
        ["file", "angle prediction", "size prediction"],
        [FILES[0], "-12.1", "1e-09"],
        [FILES[1], "", ""],
    ]
    assert [row["values"] for row in written("jsonl", predictor, results)] == [
        {"angle": -12.1, "size": 1e-9},
        {"angle": None, "size": None},
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_image_has_no_row(kind: str) -> None:
    rows = written(kind, Fixed("classes", ["a", "b"]), [])
    assert len(rows) == (kind == "csv")


def test_probabilities_are_not_negative() -> None:
    nothing_left = torch.tensor([[0.7, 0.3000001]])
    assert float(nothing_left.sum()) > 1
    _, row = written("csv", Fixed("classes", ["a", "b"], rejects=True), nothing_left.tolist())
    assert row[-2:] == ["none of them", "0.0"]


def test_bytes_of_names_that_are_not_utf8_are_escaped_and_come_back_from_json() -> None:
    name = os.fsdecode(b"\xe4 \xc3\xa4.png")
    for kind, row in (
        ("csv", r"\udce4 ä.png,1.0"),
        ("jsonl", r'{"file": "\udce4 ä.png", "values": {"a": 1.0}}'),
    ):
        stream = io.StringIO()
        FORMATS[kind](stream, Fixed("values", ["a"]), 1).add([name], torch.ones(1, 1))
        assert stream.getvalue().splitlines()[-1] == row
    assert os.fsencode(json.loads(stream.getvalue())["file"]) == os.fsencode(name)
