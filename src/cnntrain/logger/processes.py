"""The loggers of a run, each in a process of its own.

The processes read what the run writes into its folder, so a service that fails, hangs or is slow changes
nothing in training, and neither do the threads, signal handlers and output of its package.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ..output_streams import is_quiet, print_labelled
from ..runs import file_names
from ..runs.metrics_file import Row, is_of_epoch
from ..runs.status import FINISHED
from .settings import Logger

# Seconds of waiting at the end after which the user is told for what.
UNNOTICED_SECONDS = 3.0
# The most that a killed process is waited for.
KILL_SECONDS = 5.0


class RunLoggers:
    """The loggers of a run; none until `start`."""

    def __init__(self) -> None:
        self._running: list[_Service] = []
        self._finish_seconds = 0.0

    def start(self, settings: Logger, folder: Path) -> None:
        """Start a process for each service; the folder has the run's configuration already."""
        self._start(settings, settings.sinks(), folder)

    def log_finished(self, settings: Logger, folder: Path) -> None:
        """Log a finished run to each service that does not have it as such."""
        sinks = settings.sinks().items()
        missing = {service: sink for service, sink in sinks if _noted_status(service, folder) != FINISHED}
        self._start(settings, missing, folder)
        self.end()

    def _start(self, settings: Logger, sinks: dict[str, str], folder: Path) -> None:
        self._finish_seconds = settings.finish_seconds
        for service, sink in sinks.items():
            try:
                self._running.append(_Service(service, sink, folder))
            except OSError as error:
                _warn(service, f"its process could not be started ({error.strerror})", folder)

    def check(self, row: Row) -> None:
        """Warn of loggers that have failed, after an epoch: in one, the terminal shows its progress bar."""
        if not is_of_epoch(row):
            return
        for logger in [logger for logger in self._running if logger.has_ended()]:
            self._running.remove(logger)
            logger.warn(logger.failure())
            logger.close()

    def end(self) -> None:
        """Tell all loggers that the run has ended, and wait for them for the set time at most."""
        running, self._running = self._running, []
        began, silent = time.monotonic(), min(UNNOTICED_SECONDS, self._finish_seconds)
        try:
            for logger in running:
                logger.tell_end()
            late = [logger for logger in running if not logger.wait(began + silent)]
            if late and silent < self._finish_seconds:
                names = ", ".join(logger.service for logger in late)
                limit = f"logger.finish_seconds={self._finish_seconds:g}"
                print_labelled([f"logging   waiting for {names} ({limit})"])
            for logger in running:
                logger.finish(began + self._finish_seconds, self._finish_seconds)
        finally:
            for logger in running:
                logger.close()


class _Service:
    """The process of one logger."""

    def __init__(self, service: str, sink: str, folder: Path):
        self.service = service
        self._folder = folder.absolute()
        notes = self._folder / file_names.LOGGERS
        notes.mkdir(exist_ok=True)
        program = [sys.executable, "-P", "-m", "cnntrain.logger.process"]
        with (notes / f"{service}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, service, sink, str(self._folder), "cnntrain", *sys.argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": _python_path()},
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        """Return whether the process is gone."""
        return self._process.poll() is not None

    def tell_end(self) -> None:
        """Say that the run has ended."""
        assert self._process.stdin is not None
        with suppress(OSError):  # the process is gone
            self._process.stdin.write(b"end\n")
            self._process.stdin.close()

    def wait(self, until: float) -> bool:
        """Wait until the process is gone, or a time of the monotonic clock; return whether it is gone."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return self.has_ended()

    def finish(self, until: float, seconds: float) -> None:
        """Wait for the end of the process, and print where the run is seen, or why it is not."""
        if not self.wait(until):
            self.warn(f"not everything was written within logger.finish_seconds={seconds:g}")
        elif reason := self.failure():
            self.warn(reason)
        else:
            print_labelled([f"logged    {self.service}: {self._report.get('where', '')}"])

    def failure(self) -> str | None:
        """Return why the process has ended before the run, or with a failure."""
        code = self._process.returncode
        if reason := self._report.get("failure"):
            return str(reason)
        if code < 0:
            names = {entry.value: entry.name for entry in signal.Signals}
            return f"its process was ended by {names.get(-code, f'signal {-code}')}"
        return f"its process ended with exit code {code}" if code else None

    def warn(self, reason: str | None) -> None:
        """Print that the run is not logged any more, and why."""
        _warn(self.service, reason or "it ended before the run", self._folder)

    def close(self) -> None:
        """End the process if it has not ended, and close the pipes to it."""
        if not self.has_ended():
            self._kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was written last could not be passed on
                pipe.close()

    def _kill(self) -> None:
        """End the process, and those that it has started, at once."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a hung file system keeps it
            self._process.wait(KILL_SECONDS)

    @cached_property
    def _report(self) -> dict[str, Any]:
        """The report of the process, which is gone; {} if it left none."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            line = stream.read()
        with suppress(ValueError):
            return dict(json.loads(line))
        return {}


def _python_path() -> str:
    """Return PYTHONPATH for a process that imports this package, which need not be an installed one."""
    package_folder, before = Path(__file__).parents[2], os.environ.get("PYTHONPATH", "")
    if package_folder == Path(sysconfig.get_path("purelib")):
        return before
    return os.pathsep.join(filter(None, [str(package_folder), before]))


def _noted_status(service: str, folder: Path) -> str | None:
    """Return the status with which a service closed the run, None if it has not."""
    note = folder / file_names.LOGGERS / f"{service}.json"
    try:
        status = json.loads(note.read_text(encoding="utf-8")).get("status")
    except (OSError, ValueError):
        return None
    return status if isinstance(status, str) else None


def _warn(service: str, reason: str, folder: Path) -> None:
    log = folder / file_names.LOGGERS / f"{service}.log"
    line = f"warning   logger.{service}: {reason}; the run is complete without it (see {log})"
    if is_quiet():
        print(line, file=sys.stderr)
    else:
        print_labelled([line])
