"""What a service is told of a run: the interface of all loggers, which run in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..runs.metrics_file import Row


@dataclass(frozen=True)
class LoggedRun:
    """A run that is logged.

    config: its whole configuration, nested. settings: those of the group logger. command: the arguments of
    the program. group: what its sweep is called, None of a single run. sweep: the folder of that sweep.
    process: the number of the process that trains. ids: what an earlier process noted of the run in the
    service, empty for a new run. step: the last one that the service has.
    """

    folder: Path
    name: str
    group: str | None
    sweep: Path | None
    config: dict[str, Any]
    settings: dict[str, Any]
    command: list[str]
    process: int
    ids: dict[str, str]
    step: int


@dataclass(frozen=True)
class End:
    """How a run has ended: its status (`runs.status`), its summary, and its files.

    step: the last one that was recorded. pictures, pages: PNG and HTML files, none of a run that can go on.
    checkpoint: the best one of a finished run.
    """

    status: str
    step: int
    summary: dict[str, Any]
    pictures: list[Path]
    pages: list[Path]
    checkpoint: Path | None

    def results(self) -> dict[str, Any]:
        """Return the metrics of the test split, and under best/ those of the best epoch and its number."""
        values = dict(numbers(self.summary))
        best = {f"best/{name}": value for name, value in values.items() if name.startswith("val")}
        test = {name: value for name, value in values.items() if name.startswith("test/")}
        return {**test, **best, "best/epoch": values.get("best_epoch", 0)} if best or test else {}


class Sink(Protocol):
    """A run in a service; opened for a `LoggedRun`.

    ids: what has to be known of it to continue it in a later process. where: how the user sees it: an
    address, or a command.
    """

    ids: dict[str, str]
    where: str

    def write(self, row: Row, of_epoch: bool) -> None:
        """Write one row of metrics.jsonl; of_epoch: of an epoch, not of a step."""

    def write_histograms(self, row: Row) -> None:
        """Write one row of histograms.jsonl, whose histograms have the keys low, high and counts."""

    def flush(self) -> None:
        """Write everything so far to where it survives the end of the process."""

    def close(self, end: End) -> None:
        """Write how the run ended, and close."""


def numbers(row: dict[str, Any]) -> Iterator[tuple[str, int | float]]:
    """Yield the names and values of a row that are numbers, but for its step."""
    for name, value in row.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            yield name, value


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one with names such as optim.lr; empty mappings are left out."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values
