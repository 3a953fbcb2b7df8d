"""MLflow: a run of an experiment, on a server or in a database."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException

from ..runs.file_names import LOGGERS
from ..runs.metrics_file import Row
from ..runs.status import FINISHED, INTERRUPTED, PAUSED, STOPPED
from .sink import End, LoggedRun, flat, numbers

# What MLflow calls a run that has ended in these ways; all others have failed.
STATUS = {
    FINISHED: RunStatus.FINISHED,
    STOPPED: RunStatus.FINISHED,
    PAUSED: RunStatus.SCHEDULED,
    INTERRUPTED: RunStatus.KILLED,
}
# Characters that names of metrics may not have, and the most of metrics and parameters of one request.
FORBIDDEN = re.compile(r"[^\w\-. :/]")
MOST_METRICS, MOST_PARAMETERS = 1000, 100


class MLflow:
    """A run of MLflow; the jobs of a sweep are children of one run, as MLflow shows them nested."""

    def __init__(self, run: LoggedRun):
        settings = run.settings
        self._checkpoint = settings["checkpoint"]
        uri = run.ids.get("uri") or settings["mlflow_uri"] or mlflow.get_tracking_uri()
        with _first_use(uri):
            self._client = MlflowClient(uri)
            self._experiment = self._experiment_called(settings["project"])
        if run.ids:
            self._id = run.ids["id"]
            self._client.update_run(self._id, RunStatus.to_string(RunStatus.RUNNING))
        else:
            self._id = self._create(run)
        self.ids = {"id": self._id} | ({"uri": uri} if urlsplit(uri).password is None else {})
        self.where = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
        if uri.startswith("http"):
            server = f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc.rpartition('@')[2]}"
            self.where = f"{server}/#/experiments/{self._experiment}/runs/{self._id}"

    def write(self, row: Row, of_epoch: bool) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(_valid(name), value, now, row["step"]) for name, value in numbers(row)]
        for batch in _batches(metrics, MOST_METRICS):
            self._client.log_batch(self._id, metrics=batch)

    def write_histograms(self, row: Row) -> None:
        """Do nothing: MLflow has no histograms."""

    def flush(self) -> None:
        """Do nothing: each row is one request."""

    def close(self, end: End) -> None:
        self.write({"step": end.step, **end.results()}, of_epoch=True)
        for path in (*end.pictures, *end.pages):
            self._client.log_artifact(self._id, str(path))
        if end.checkpoint is not None and self._checkpoint:
            self._client.log_artifact(self._id, str(end.checkpoint), "checkpoints")
        self._client.set_tag(self._id, "status", end.status)
        status = STATUS.get(end.status, RunStatus.FAILED)
        self._client.set_terminated(self._id, RunStatus.to_string(status))

    def _experiment_called(self, name: str) -> str:
        """Return the id of an experiment, which is created if there is none."""
        if (found := self._client.get_experiment_by_name(name)) is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another run has just created it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _create(self, run: LoggedRun) -> str:
        """Create the run with its configuration; return its id."""
        tags = {"command": " ".join(run.command), "folder": str(run.folder)}
        tags |= dict.fromkeys(run.settings["tags"], "true")
        if run.group is not None:
            tags["group"] = run.group
        if run.sweep is not None:
            tags["mlflow.parentRunId"] = self._parent(run.sweep)
        created = self._client.create_run(self._experiment, tags=tags, run_name=run.name).info.run_id
        parameters = [Param(_valid(name), str(value)) for name, value in flat(run.config).items()]
        for batch in _batches(parameters, MOST_PARAMETERS):
            self._client.log_batch(created, params=batch)
        return str(created)

    def _parent(self, sweep: Path) -> str:
        """Return the id of the run of a sweep, which is created for its first job."""
        notes = sweep / LOGGERS
        notes.mkdir(exist_ok=True)
        note = notes / "mlflow.txt"
        with FileLock(notes / "mlflow.lock"):
            if not note.exists():
                parent = self._client.create_run(self._experiment, run_name=sweep.name).info.run_id
                self._client.set_terminated(parent)
                note.write_text(parent, encoding="utf-8")
            return note.read_text(encoding="utf-8")


def _first_use(uri: str) -> AbstractContextManager[Any]:
    """Return a lock of a database file: of two processes that create its tables, one fails (MLflow 3.17)."""
    path = uri.partition("sqlite:///")[2]
    return FileLock(f"{path}.lock") if path else nullcontext()


def _batches(entries: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield the entries in lists of `size` at most."""
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _valid(name: str) -> str:
    """Return a name without characters that MLflow refuses."""
    return FORBIDDEN.sub("_", name)
