"""The folder of a sweep: sweep.yaml says what is searched, job.json in each job's folder how far it got.

Nothing else is kept: whoever reads these files knows as much as the process that trains the jobs, and another
process, on another machine too, can go on with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics import error_of
from ..search.plan import Task
from . import file_names
from .atomic_write import write_text
from .folder_lock import Watch, exclusive
from .metrics_file import Validated
from .status import DIVERGED, FAILED, FINISHED, INTERRUPTED, OPEN, PAUSED, STOPPED

# Of a job that is trained no further; interrupted: its own time limit (trainer.max_minutes) has passed.
ENDED = (FINISHED, STOPPED, INTERRUPTED, DIVERGED, FAILED)


@dataclass
class JobRecord:
    """How far a job got.

    settings: what varies, as overrides by key. stage: in which it was trained last. status: open before its
    end, paused after the epochs of a stage, or one of ENDED. epochs: those done. metric: the objective,
    curve: its value after each epoch. reason: why it ended, where that is no success. seconds: in training.
    seconds_per_epoch: those of its first stage over its epochs, 0 before its end. losses: the validation loss
    after each epoch; of jobs of earlier versions there are none.
    """

    settings: dict[str, str] = field(default_factory=dict)
    stage: int = 1
    status: str = OPEN
    epochs: int = 0
    metric: str | None = None
    curve: list[float | None] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0
    losses: list[float | None] = field(default_factory=list)

    def best(self, epochs: int | None = None) -> Validated | None:
        """Return the best result of the first epochs, None: of all; None where there is no result."""
        losses = self.losses or [None] * len(self.curve)
        found = map(Validated, self.curve[:epochs], losses)
        known = [one for one in found if one.value is not None]
        return min(known, key=lambda one: one.order(self.metric), default=None)


class SweepFolder:
    """The files of a sweep."""

    def __init__(self, path: Path):
        self.path = path
        self.file = path / file_names.SWEEP_FILE
        self._watch = Watch()
        self._read: dict[str, tuple[tuple[int, int], JobRecord]] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the sweep, for the moment in which a process chooses its next job."""
        with exclusive(self.path):
            yield

    def jobs(self) -> dict[str, JobRecord]:
        """Return the records of all jobs by name; raises DataError for a damaged one."""
        found = {}
        for file in sorted(self.path.glob(f"*/{file_names.JOB}")):
            found[file.parent.name] = self._record(file)
        return found

    def job(self, name: str) -> JobRecord | None:
        """Return the record of a job, None where there is none; raises DataError for a damaged one."""
        file = self.path / name / file_names.JOB
        return self._record(file) if file.exists() else None

    def write(self, job: str, record: JobRecord) -> None:
        """Write the record of a job; raises DataError."""
        folder = self.path / job
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be created ({error.strerror})") from error
        write_text(folder / file_names.JOB, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")

    def is_running(self, job: str) -> bool:
        """Return whether a process holds the lock of a job."""
        return self._watch.is_used(self.path / job)

    def _record(self, file: Path) -> JobRecord:
        try:
            state = file.stat()
            stamp = (state.st_mtime_ns, state.st_ino)
            known = self._read.get(file.parent.name)
            if known is not None and known[0] == stamp:
                return known[1]
            record = _parsed(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{file}: cannot be read ({error}); remove {file.parent}, and the job is trained anew"
            ) from error
        self._read[file.parent.name] = (stamp, record)
        return record


def _parsed(content: Any) -> JobRecord:
    """Return the record that a job.json holds; raises ValueError or TypeError for other content."""
    record = JobRecord(**content)
    optional = {"losses"}
    if missing := [entry.name for entry in fields(JobRecord) if entry.name not in {*content, *optional}]:
        raise ValueError(f"it lacks {missing[0]}")
    for entry in fields(JobRecord):
        expected = type(getattr(JobRecord(), entry.name))
        value = getattr(record, entry.name)
        if entry.name == "metric":
            expected = str if value is not None else type(None)
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            continue
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise ValueError(f"{entry.name} is {value!r}")
    if record.status not in (OPEN, PAUSED, *ENDED):
        raise ValueError(f"status is {record.status!r}")
    if not all(isinstance(value, str) for value in record.settings.values()):
        raise ValueError("settings must be text")
    if not all(value is None or isinstance(value, float | int) for value in (*record.curve, *record.losses)):
        raise ValueError("curve and losses must have numbers")
    return record


class JobResults:
    """The records of a sweep's jobs as plans ask for them (`search.plan.Results`)."""

    def __init__(self, jobs: dict[str, JobRecord], lower_is_better: frozenset[str]):
        self.jobs = jobs
        self._lower_is_better = lower_is_better

    def closed(self, task: Task) -> bool:
        record = self.jobs.get(task.job)
        if record is None:
            return False
        return record.status in ENDED or (record.status == PAUSED and record.epochs >= task.epochs)

    def score(self, job: str, epochs: int) -> float:
        """Return the best objective in the first epochs of a job, higher is better.

        It is the same whatever happens to the job later. Minus infinity for a job that diverged or failed
        before it reached these epochs.
        """
        record = self.jobs[job]
        if record.epochs < epochs and record.status not in (FINISHED, STOPPED, INTERRUPTED):
            return -math.inf
        sign = -1.0 if record.metric in self._lower_is_better else 1.0
        values = [sign * value for value in record.curve[:epochs] if value is not None]
        return max(values, default=-math.inf)

    def val_loss(self, job: str, epochs: int) -> float:
        """Return the validation loss beside that objective, infinity where it is not known."""
        best = self.jobs[job].best(epochs)
        return error_of("loss", None if best is None else best.loss)

    def settings(self, job: str) -> dict[str, str]:
        return self.jobs[job].settings

    def seconds_per_epoch(self, job: str) -> float | None:
        return self.jobs[job].seconds_per_epoch or None
