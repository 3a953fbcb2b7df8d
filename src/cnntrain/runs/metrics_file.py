"""The metrics of a run, written record by record to metrics.jsonl."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..machine_errors import remedy
from ..metrics import selection_order

# One record: metric names, such as val/loss, with their values.
Row = dict[str, Any]


class JsonLines:
    """metrics.jsonl: one JSON object per line, without NaN and Infinity.

    rows: the number of rows in the file; at first those kept, fewer than `keep_rows` if it has fewer. Raises
    DataError where the file cannot be written.
    """

    def __init__(self, path: Path, keep_rows: int):
        self.path = path
        try:
            self.rows = _truncate(path, keep_rows)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({error.strerror}); make it a writable file, or remove it"
            ) from error

    def write(self, row: Row) -> None:
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path}: could not be written ({error.strerror})") from error
        self.rows += 1

    def sync(self) -> None:
        """Flush to disk, so that a checkpoint's number of rows never exceeds those on disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: could not be written ({error.strerror})") from error

    def close(self) -> None:
        self._file.close()


def append_row(path: Path, row: Row) -> None:
    """Append one row to a file of JSON lines; raises DataError where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
    except OSError as error:
        raise DataError(f"{path}: could not be written ({error.strerror}); {remedy(error)}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines, none if there is no file; raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); restore or remove it") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is no row of a run; restore or remove the file")
    return rows


def remove_later_rows(path: Path, step: int) -> None:
    """Remove the rows of a file of JSON lines from the first on that is damaged or of an update after `step`.

    Raises DataError where the file cannot be changed.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = list(itertools.takewhile(lambda line: _step_of(line) <= step, lines))
        if len(kept) < len(lines):
            path.write_bytes(b"".join(kept))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); remove it") from error


def _step_of(line: bytes) -> float:
    """Return the step of a row, infinity of a line that is none."""
    try:
        step = json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf
    return step if isinstance(step, int) else math.inf


@dataclass(frozen=True)
class Validated:
    """A validation metric, None where it is undefined, and the loss beside it, by which ties are decided."""

    value: float | None
    loss: float | None

    def order(self, metric: str | None) -> tuple[float, float]:
        """Return what model selection by the metric minimizes."""
        return selection_order(metric, self.value, self.loss)


def validation_of(row: Row, metric: str) -> Validated:
    """Return a validation metric of an epoch's row: of its weights or their average, whichever is better.

    The best epoch of a run is chosen in the same way.
    """
    found = [Validated(row.get(f"{of}/{metric}"), row.get(f"{of}/loss")) for of in ("val", "val_average")]
    return min(found, key=lambda one: one.order(metric))


def is_of_epoch(row: Row) -> bool:
    """Return whether a row is that of an epoch, not of a step."""
    return "lr" not in row


class Recorder:
    """Selects the steps to record, and writes records to metrics.jsonl.

    The first `keep_rows` rows of an existing metrics.jsonl are kept, later ones are removed. listeners: are
    called with each record once it is written. failure: what a listener raised first, for the loop to raise
    once the run is saved.
    """

    def __init__(self, path: Path, keep_rows: int, every_steps: int):
        self.every_steps = every_steps
        self.listeners: list[Callable[[Row], None]] = []
        self.failure: BaseException | None = None
        self._lines = JsonLines(path, keep_rows)

    @property
    def rows(self) -> int:
        """The number of rows in metrics.jsonl."""
        return self._lines.rows

    def due(self, step: int) -> bool:
        """Return whether the update after `step` updates is recorded: the first, then each `every_steps`."""
        return step == 0 or (step + 1) % self.every_steps == 0

    def record(self, row: Row) -> None:
        """Write one record; non-finite numbers become null."""
        valid = {name: finite(value) for name, value in row.items()}
        self._lines.write(valid)
        for listener in self.listeners:
            try:
                listener(valid)
            except (Exception, SystemExit) as error:
                self.failure = self.failure or error

    def sync(self) -> None:
        """Flush metrics.jsonl to disk."""
        self._lines.sync()

    def close(self) -> None:
        """Close metrics.jsonl."""
        self._lines.close()


def finite(value: Any) -> Any:
    """Return a value that is valid in JSON: None in place of NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _truncate(path: Path, rows: int) -> int:
    """Truncate a text file after its first `rows` whole lines; return how many of them it has."""
    if not path.exists():
        return 0
    kept = 0
    with path.open("rb+") as file:
        end = file.tell()
        while kept < rows and file.readline().endswith(b"\n"):
            end = file.tell()
            kept += 1
        file.truncate(end)
    return kept
