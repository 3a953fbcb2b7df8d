"""Records of a run: one measurements dict per record, written to metrics.jsonl and to the chosen logger."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Protocol

from .config.logger import Logger, TensorBoard
from .errors import DataError

Row = dict[str, Any]


class Sink(Protocol):
    """A place that takes records."""

    def write(self, row: Row) -> None:
        """Take one record."""

    def close(self) -> None:
        """Flush and end."""


class JsonLines:
    """metrics.jsonl: one JSON object a line, never NaN or Infinity."""

    def __init__(self, path: Path, keep_rows: int):
        _keep_first(path, keep_rows)
        self.path = path
        self.rows = keep_rows
        self._file = path.open("a", encoding="utf-8")

    def write(self, row: Row) -> None:
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path}: could not be written ({error.strerror})") from error
        self.rows += 1

    def sync(self) -> None:
        """Flush to disk, so that a checkpoint never counts rows that are lost."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class TensorBoardSink:
    """Event files for TensorBoard: each number of a record under its own name."""

    def __init__(self, folder: Path, purge_step: int | None):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self._writer.close()


class Recorder:
    """Decides before each step whether it is recorded, and hands rows to all sinks."""

    def __init__(self, folder: Path, logger: Logger, every_steps: int, keep_rows: int, start_step: int):
        self.every_steps = every_steps
        self._lines = JsonLines(folder / "metrics.jsonl", keep_rows)
        self._sinks: list[Sink] = [self._lines]
        if isinstance(logger, TensorBoard):
            self._sinks.append(
                TensorBoardSink(folder / "tensorboard", start_step + 1 if start_step else None)
            )

    @property
    def rows(self) -> int:
        """The number of rows in metrics.jsonl."""
        return self._lines.rows

    def due(self, step: int) -> bool:
        """Return whether the update after `step` updates is recorded: the first, then every so many."""
        return step == 0 or (step + 1) % self.every_steps == 0

    def record(self, row: Row) -> None:
        """Write one record; numbers that are not finite become null."""
        shown = {name: finite(value) for name, value in row.items()}
        for sink in self._sinks:
            sink.write(shown)

    def sync(self) -> None:
        """Flush metrics.jsonl to disk."""
        self._lines.sync()

    def close(self) -> None:
        """End all sinks."""
        for sink in self._sinks:
            sink.close()


def finite(value: Any) -> Any:
    """Return a value as JSON takes it: null in place of NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keep_first(path: Path, rows: int) -> None:
    """Cut a file of lines after its first `rows` lines."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        for _ in range(rows):
            file.readline()
        file.truncate(file.tell())
