"""The predictions of images as rows of a CSV file or as lines of JSON."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .predictor import THRESHOLD, Predictor, with_none_of_them


class Writable(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True)
class _Utf8:
    r"""Text to a stream as UTF-8 whatever its encoding: bytes of names that are none are written as \udcXX.

    In JSON, readers have them back as os.fsdecode returned them.
    """

    stream: Writable

    def write(self, text: str, /) -> object:
        return self.stream.write(text.encode("utf-8", "backslashreplace").decode())


class ResultRows(ABC):
    """Writes what was predicted of each image: its classes, the most probable first, attributes or values.

    top: how many classes.
    """

    def __init__(self, stream: Writable, predictor: Predictor, top: int):
        self._stream = _Utf8(stream)
        self._predictor = predictor
        answers = len(predictor.names) + predictor.rejects
        self._top = min(top, answers)

    def add(self, files: Sequence[str], results: Tensor) -> None:
        """Write the rows of images of these names; results (N, K) of `Predictor.predict`."""
        if self._predictor.target == "classes":
            self._add_classes(files, *most_probable(self._predictor, results, self._top))
        elif self._predictor.target == "attributes":
            self._add_attributes(files, results)
        else:
            self._add_values(files, results)

    @abstractmethod
    def _add_classes(self, files: Sequence[str], classes: list[list[str]], probabilities: Tensor) -> None:
        """Write the names of each image's most probable classes and their probabilities (N, top)."""

    @abstractmethod
    def _add_attributes(self, files: Sequence[str], probabilities: Tensor) -> None: ...

    @abstractmethod
    def _add_values(self, files: Sequence[str], values: Tensor) -> None: ...


class CsvRows(ResultRows):
    """Rows under names of columns: file, class, probability, class_2, probability_2, …

    Of attributes, each one's probability and yes or no; of values, each one. Empty where a number is not
    finite.
    """

    def __init__(self, stream: Writable, predictor: Predictor, top: int):
        super().__init__(stream, predictor, top)
        self._writer = csv.writer(self._stream, lineterminator="\n")
        names = predictor.names
        if predictor.target == "classes":
            more = [f"{part}_{rank}" for rank in range(2, self._top + 1) for part in ("class", "probability")]
            columns = ["class", "probability", *more]
        elif predictor.target == "attributes":
            columns = [f"{name} {part}" for name in names for part in ("prediction", "probability")]
        else:
            columns = [f"{name} prediction" for name in names]
        self._writer.writerow(["file", *columns])

    def _add_classes(self, files: Sequence[str], classes: list[list[str]], probabilities: Tensor) -> None:
        self._add_pairs(files, classes, probabilities)

    def _add_attributes(self, files: Sequence[str], probabilities: Tensor) -> None:
        words = [["yes" if one else "no" for one in row] for row in (probabilities > THRESHOLD).tolist()]
        self._add_pairs(files, words, probabilities)

    def _add_pairs(self, files: Sequence[str], words: list[list[str]], numbers: Tensor) -> None:
        texts = shortest_texts(numbers.numpy())
        for file, row, cells in zip(files, words, texts, strict=True):
            self._writer.writerow([file, *(cell for pair in zip(row, cells, strict=True) for cell in pair)])

    def _add_values(self, files: Sequence[str], values: Tensor) -> None:
        self._writer.writerows(
            [file, *row] for file, row in zip(files, shortest_texts(values.numpy()), strict=True)
        )


class JsonRows(ResultRows):
    """An object per line: {"file", "class", "probability", "top": [{"class", "probability"}, …]}.

    Of attributes {"file", "attributes": {NAME: {"present", "probability"}}}, of values {"file", "values":
    {NAME: number}}. null where a number is not finite.
    """

    def _add_classes(self, files: Sequence[str], classes: list[list[str]], probabilities: Tensor) -> None:
        for file, names, numbers in zip(files, classes, _numbers(probabilities), strict=True):
            pairs = zip(names, numbers, strict=True)
            top = [{"class": name, "probability": number} for name, number in pairs]
            self._write({"file": file, **top[0], "top": top})

    def _add_attributes(self, files: Sequence[str], probabilities: Tensor) -> None:
        present = (probabilities > THRESHOLD).tolist()
        for file, yes, numbers in zip(files, present, _numbers(probabilities), strict=True):
            entries = zip(self._predictor.names, yes, numbers, strict=True)
            found = {name: {"present": is_so, "probability": number} for name, is_so, number in entries}
            self._write({"file": file, "attributes": found})

    def _add_values(self, files: Sequence[str], values: Tensor) -> None:
        for file, numbers in zip(files, _numbers(values), strict=True):
            self._write({"file": file, "values": dict(zip(self._predictor.names, numbers, strict=True))})

    def _write(self, content: dict[str, Any]) -> None:
        self._stream.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


FORMATS: dict[str, type[ResultRows]] = {"csv": CsvRows, "jsonl": JsonRows}


def most_probable(predictor: Predictor, results: Tensor, top: int) -> tuple[list[list[str]], Tensor]:
    """Return the names of each image's `top` most probable classes, and their probabilities (N, top).

    "none of them" is one of the classes where the predictor rejects. results: probabilities (N, K).
    """
    names, probabilities = with_none_of_them(predictor, results)
    # Of equal ones, the first comes first, as by argmax.
    ordered = torch.sort(probabilities, dim=1, descending=True, stable=True)
    chosen = ordered.indices[:, :top].tolist()
    return [[names[index] for index in row] for row in chosen], ordered.values[:, :top]


def shortest_texts(values: NDArray[Any]) -> list[list[str]]:
    """Return numbers in the fewest digits that give them back in float32, "" for NaN and infinity."""
    numbers = values.astype(np.float32)
    rows: list[list[str]] = np.where(np.isfinite(numbers), numbers.astype(str), "").tolist()
    return rows


def _numbers(values: Tensor) -> list[list[float | None]]:
    return [[float(text) if text else None for text in row] for row in shortest_texts(values.numpy())]
