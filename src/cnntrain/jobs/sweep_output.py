"""What a worker of a sweep prints: a bar over all jobs, and a line for each that has ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..metrics import format_metric
from ..output_streams import is_quiet
from ..runs.status import DIVERGED, FAILED
from ..runs.sweep_folder import JobRecord, JobResults
from ..runs.sweep_ranking import best_of
from ..search.plan import Task


class SweepOutput:
    """Prints to a terminal's bar and beside it; a context manager that removes the bar at its end."""

    def __enter__(self) -> SweepOutput:
        self._bar: tqdm[Any] = tqdm(disable=True if is_quiet() else None, unit="job", leave=False)
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def progress(self, tasks: Sequence[Task], results: JobResults) -> None:
        """Show how many of the tasks known so far are done, and the best objective."""
        if self._bar.disable:
            return
        self._bar.total, self._bar.n = len(tasks), sum(map(results.closed, tasks))
        found = [(best, record) for record in results.jobs.values() if (best := record.best()) is not None]
        if found:
            best, record = min(found, key=lambda entry: entry[0].order(entry[1].metric))
            shown = format_metric(str(record.metric), best.value)
            self._bar.set_postfix_str(f"best val {shown}", refresh=False)
        self._bar.refresh()

    def job(self, name: str, record: JobRecord) -> None:
        """Print a line on a job that has ended or paused, one that failed to standard error."""
        settings = " ".join(f"{key}={value}" for key, value in record.settings.items()) or "defaults"
        if record.status in (FAILED, DIVERGED):
            first_sentence = record.reason.partition(". ")[0]
            self._print(f"cnntrain: job {name} ({settings}) failed: {first_sentence}", sys.stderr)
            return
        best = best_of(record)
        result = "" if best is None else f"  val {format_metric(str(record.metric), best)}"
        epochs = f"  {record.epochs} epoch{'s'[: record.epochs != 1]}" if record.epochs else ""
        reason = f"  {record.reason}" if record.reason else ""
        self._print(f"job {name}  {settings}{result}{epochs}{reason}", sys.stdout)

    def log(self, file: Path) -> None:
        """Print the output of a job that trained nothing, whose result it is."""
        with suppress(OSError):
            self._print(f"{file.read_text(encoding='utf-8', errors='replace').rstrip()}\n", sys.stdout)

    def _print(self, line: str, stream: Any) -> None:
        if not self._bar.disable:
            self._bar.clear()
        print(line, file=stream, flush=True)
