"""The process of one logger: reads the files of a run as they grow, and writes them to a service.

Started by `processes.py` with the name of a service, the path of its `Sink`, the folder of the run, and the
program's arguments. The first line on standard input, or its end, says that the run has ended. What the
service's package prints goes to standard error, a file of the run's folder; standard output has one line at
the end, a `Report`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from ..errors import DataError, first_line
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.metrics_file import Row, is_of_epoch
from ..runs.signals import STOPPING
from ..runs.status import FINISHED, INTERRUPTED, PAUSED
from .followed_file import FollowedFile
from .sink import End, LoggedRun, Sink

# Seconds between two looks at the files of the run.
INTERVAL = 1.0
# By so much the priority of the process is lowered, so that it does not take the time of training.
NICE = 5
# Of an orphan, whose run was killed: seconds until it ends, whatever it waits for.
ORPHAN_SECONDS = 60.0


@dataclass
class Report:
    """How a logger ended: where the run is seen in its service, and why it failed, None if it did not."""

    where: str = ""
    failure: str | None = None


@dataclass
class Written:
    """What of a run is in the service: the last step and whether its epoch is, the last histograms."""

    step: int = 0
    of_epoch: bool = False
    histograms: int = 0

    def has(self, row: Row) -> bool:
        """Return whether a row of metrics.jsonl is in the service."""
        return (row["step"], is_of_epoch(row)) <= (self.step, self.of_epoch)


class LoggerProcess:
    """A service, and the run that is written to it."""

    def __init__(self, service: str, sink: str, folder: Path, command: list[str], ended: threading.Event):
        self._sink_path = sink
        self._folder = folder
        self._command = command
        self._ended = ended
        self._metrics = FollowedFile(folder / file_names.METRICS)
        self._histograms = FollowedFile(folder / file_names.HISTOGRAMS)
        self._ahead: list[Row] = []
        self._parent = os.getppid()
        self._state = folder / file_names.LOGGERS / f"{service}.json"
        self._written = Written()

    def run(self) -> str:
        """Write the run until it has ended; return where it is seen."""
        # A logger whose run was killed may still be writing.
        with FileLock(self._state.with_suffix(".lock")):
            sink = self._open()
            is_last = False
            while not is_last:
                # First this, then the files: they are complete once the run has ended.
                is_last = self._ended.wait(INTERVAL) or self._is_orphan()
                self._write_new_rows(sink, is_last)
            end = self._end()
            sink.close(end)
            self._note(sink, end.status)
            return sink.where

    def _open(self) -> Sink:
        noted = self._noted()
        self._written = Written(**noted.get("written", {}))
        config = yaml.safe_load((self._folder / file_names.CONFIG).read_text(encoding="utf-8"))
        sink: Sink = _load_sink(self._sink_path)(self._logged_run(config, noted.get("ids", {})))
        self._note(sink)
        return sink

    def _noted(self) -> dict[str, Any]:
        """Return what earlier processes noted, {} for a new run; raises DataError."""
        try:
            return dict(json.loads(self._state.read_text(encoding="utf-8"))) if self._state.exists() else {}
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self._state}: cannot be read ({error}); remove it, and the run is logged as a new one"
            ) from error

    def _logged_run(self, config: dict[str, Any], ids: dict[str, str]) -> LoggedRun:
        """Return what the service is told of the run."""
        settings = config.pop("logger")
        in_sweep = (self._folder / file_names.JOB).is_file()
        above = self._folder.parent.name
        is_dated = above.replace("-", "").isdigit()
        name = f"{above}/{self._folder.name}" if in_sweep or is_dated else self._folder.name
        return LoggedRun(
            folder=self._folder,
            name=settings.get("run_name") or name,
            group=settings.get("group") or (above if in_sweep else None),
            sweep=self._folder.parent if in_sweep else None,
            config=config,
            settings=settings,
            command=self._command,
            process=self._parent,
            ids=ids,
            step=self._written.step,
        )

    def _write_new_rows(self, sink: Sink, is_last: bool) -> None:
        """Write the rows that the service does not have, in the order of their steps."""
        rows = [row for row in self._metrics.new_rows() if not self._written.has(row)]
        self._ahead += [row for row in self._histograms.new_rows() if row["step"] > self._written.histograms]
        # The row of a step follows its histograms, so those of later steps may precede rows still to come.
        last = max((row["step"] for row in rows), default=0)
        due = [row for row in self._ahead if is_last or row["step"] <= last]
        self._ahead = [] if is_last else [row for row in self._ahead if row["step"] > last]
        in_order = [(row["step"], False, row) for row in due] + [(row["step"], True, row) for row in rows]
        for step, of_metrics, row in sorted(in_order, key=lambda entry: entry[:2]):
            if of_metrics:
                sink.write(row, is_of_epoch(row))
                self._written.step, self._written.of_epoch = step, is_of_epoch(row)
            else:
                sink.write_histograms(row)
                self._written.histograms = step
        if in_order:
            sink.flush()
            self._note(sink)

    def _note(self, sink: Sink, status: str | None = None) -> None:
        """Note what the service has of the run, and the status with which it was closed."""
        noted = {"ids": sink.ids, "where": sink.where, "status": status, "written": asdict(self._written)}
        write_text(self._state, json.dumps(noted, indent=2) + "\n")

    def _end(self) -> End:
        """Return how the run ended, as its folder says; an orphan's run was killed."""
        folder, summary = self._folder, self._folder / file_names.SUMMARY
        content = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        status = INTERRUPTED if self._is_orphan() else content.get("status", INTERRUPTED)
        best = folder / file_names.CHECKPOINTS / file_names.BEST
        goes_on = status in (INTERRUPTED, PAUSED)
        return End(
            status=status,
            step=self._written.step,
            summary=content,
            pictures=[] if goes_on else sorted(folder.glob("*.png")),
            pages=[] if goes_on else sorted(folder.glob(file_names.REPORT)),
            checkpoint=best if status == FINISHED and best.is_file() else None,
        )

    def _is_orphan(self) -> bool:
        return os.getppid() != self._parent


def _load_sink(path: str) -> Any:
    """Return the class of a sink, called module:name."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _end_with_run(ended: threading.Event) -> None:
    """Set `ended` once the run says that it has ended, or is gone; an orphan ends within ORPHAN_SECONDS."""
    if not sys.stdin.readline():
        timer = threading.Timer(ORPHAN_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()
    ended.set()


def main(service: str, sink: str, folder: str, *command: str) -> None:
    """Run a logger, and report how it ended."""
    for number in STOPPING:  # they stop the run, which tells
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    report_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    ended, report = threading.Event(), Report()
    threading.Thread(target=_end_with_run, args=(ended,), daemon=True).start()
    sys.argv = list(command)
    try:
        report.where = LoggerProcess(service, sink, Path(folder), list(command), ended).run()
    except BaseException as error:  # a package may raise anything, SystemExit among it
        traceback.print_exc()
        report.failure = f"{type(error).__name__}: {first_line(error)}"
    with suppress(OSError):  # the run was killed
        report_to.write(json.dumps(asdict(report)) + "\n")
        report_to.flush()
    os._exit(int(report.failure is not None))  # threads of the package may wait for a server


if __name__ == "__main__":
    main(*sys.argv[1:])
