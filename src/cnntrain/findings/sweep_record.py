"""What is known of a sweep when it is judged: its jobs, in what they differ, and how good each became."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from ..config import stored_sweep
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_overrides, written
from ..errors import DataError
from ..metrics import LOWER_IS_BETTER, error_of
from ..runs import file_names
from ..runs.metrics_file import validation_of
from ..runs.run_folder import RunFolder
from ..runs.status import DIVERGED, FAILED
from ..runs.sweep_folder import SweepFolder
from ..runs.sweep_ranking import best_of, leaderboard
from ..search.ranges import Range, parse_range
from ..settings.config_tree import GROUPS
from .run_record import RunRecord, read_evidence, read_record

# In the table, of a setting that a job's option does not have.
NONE = "–"
# Positive numbers that span this factor are shown on a logarithmic scale.
LOGARITHMIC = 10


@dataclass(frozen=True)
class SweepJob:
    """One job: its folder's name, all its overrides by key, its record.

    result: its best objective as job.json has it, None where Hydra ran the sweep.
    """

    name: str
    overrides: dict[str, str]
    record: RunRecord
    result: float | None = None

    def value(self, metric: str | None) -> float | None:
        """Return the validation metric of its best epoch, None where it finished none."""
        if self.result is not None:
            return self.result
        if metric is None:
            return None
        found = {row["epoch"]: validation_of(row, metric).value for row in self.record.epochs}
        known = {epoch: value for epoch, value in found.items() if value is not None}
        best = self.record.summary.get("best_epoch") or 0
        if best in known:
            return known[best]
        return max(known.values(), key=lambda value: self._score(value, metric), default=None)

    @property
    def train_accuracy(self) -> float | None:
        """The accuracy on training images, without augmentation and dropout if that was measured."""
        plain = self.record.plain_accuracy
        return max(self.record.train_accuracies, default=None) if plain is None else plain

    @cached_property
    def layers(self) -> int:
        """The number of weight tensors whose updates were measured, which grows with depth."""
        rows = self.record.steps[:1]
        return sum(
            name.startswith("weight_norm/") and name.endswith("weight") for row in rows for name in row
        )

    def score(self, metric: str | None) -> float | None:
        """Return a number that is the higher, the better the job's validation metric is."""
        value = self.value(metric)
        return None if value is None else self._score(value, metric)

    @staticmethod
    def _score(value: float, metric: str | None) -> float:
        return -value if metric in LOWER_IS_BETTER else value


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as rules see it: its jobs in order.

    unreadable: the names of damaged jobs, with the reason. ranges: those that settings were drawn from, by
    key. overrides: those of the sweep's command, objective: what jobs are compared by, order: the jobs with a
    result, best first, as the leaderboard has them; None where Hydra ran it.
    """

    folder: Path
    jobs: list[SweepJob]
    unreadable: dict[str, str]
    ranges: dict[str, Range] = field(default_factory=dict)
    overrides: list[str] | None = None
    objective: str | None = None
    order: list[str] | None = None

    @cached_property
    def metric(self) -> str | None:
        """What jobs are compared by: the objective of the search, else what best epochs are chosen by."""
        if self.objective is not None:
            return self.objective
        return next((job.record.best_by for job in self.jobs if job.record.best_by is not None), None)

    @cached_property
    def varied(self) -> dict[str, list[str]]:
        """The values of each setting and group in which jobs differ, in the order of the jobs."""
        keys = list(dict.fromkeys(key for job in self.jobs for key in job.overrides))
        values = {key: list(dict.fromkeys(self.of(job, key) for job in self.jobs)) for key in keys}
        return {key: found for key, found in values.items() if len(found) > 1}

    @staticmethod
    def of(job: SweepJob, key: str) -> str:
        """Return a job's value of a setting or group as in an override, NONE where its option lacks it."""
        group, _, name = key.partition(".")
        if key in job.overrides:
            return job.overrides[key]
        if not name:
            return default_choices()[key] if key in GROUPS else written(getattr(job.record.config, key))
        options = getattr(job.record.config, group)
        return written(getattr(options, name)) if hasattr(options, name) else NONE

    def is_logarithmic(self, key: str) -> bool:
        """Return whether a setting is shown on a logarithmic scale: that of its range, else by its values."""
        if key in self.ranges:
            return self.ranges[key].log
        numbers = [number for text in self.varied[key] if (number := number_in(text)) is not None]
        return len(numbers) > 1 and min(numbers) > 0 and max(numbers) >= LOGARITHMIC * min(numbers)

    @cached_property
    def ranked(self) -> list[SweepJob]:
        """The jobs with a validation metric that neither diverged nor failed, best first."""
        if self.order is not None:
            places = {name: place for place, name in enumerate(self.order)}
            known_jobs = [job for job in self.jobs if job.name in places]
            return sorted(known_jobs, key=lambda job: places[job.name])
        sound = [job for job in self.jobs if job.record.status not in (DIVERGED, FAILED)]
        scored = [
            (job.score(self.metric), error_of("loss", job.record.summary.get("val/loss")), job)
            for job in sound
        ]
        known = [(score, loss, job) for score, loss, job in scored if score is not None]
        return [job for *_, job in sorted(known, key=lambda entry: (-entry[0], entry[1]))]


@cache
def default_choices() -> dict[str, str]:
    """Return the name of the default choice of every group."""
    return Choices().defaults


def number_in(text: str) -> float | None:
    """Return the finite number that a value of an override is, None for any other value."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def mostly_numbers(texts: Iterable[str]) -> bool:
    """Return whether values of a setting are numbers, but for a few such as null."""
    found = [number_in(text) for text in texts]
    return sum(number is not None for number in found) > len(found) / 2


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of the sweep in a folder; raises DataError where no job can be read."""
    is_ours = (folder / file_names.SWEEP_FILE).is_file()
    records = SweepFolder(folder).jobs() if is_ours else {}
    jobs, unreadable, choices = [], {}, Choices()
    for path in _job_folders(folder):
        name = path.relative_to(folder).as_posix()
        try:
            record = read_record(RunFolder(path), read_evidence(RunFolder(path)))
        except DataError as error:
            unreadable[name] = str(error)
        else:
            if record.config.job != "train":
                continue
            result = best_of(records[name]) if name in records else None
            jobs.append(SweepJob(name, equivalent_overrides(record.config, choices), record, result))
    for name, one in records.items():
        if (folder / name / file_names.CONFIG).is_file():
            continue
        if one.status in (FAILED, DIVERGED):
            unreadable[name] = f"{one.status}: {one.reason.partition('. ')[0]}"
        elif one.epochs:
            unreadable[name] = f"{folder / name / file_names.CONFIG} is missing"
    if not jobs:
        failed = [f"all jobs failed; see {folder / name / file_names.LOG}" for name in list(records)[:1]]
        reason = next(iter([*unreadable.values(), *failed]), "it has no folders of jobs (0, 1, 2, …)")
        raise DataError(f"run={folder}: no job of this sweep can be read: {reason}")
    if not is_ours:
        return SweepRecord(folder, jobs, unreadable)
    stored = stored_sweep.read(folder)
    ranges = {key: found for key, text in stored.space.items() if (found := parse_range(text)) is not None}
    objective = next((record.metric for record in records.values() if record.metric is not None), None)
    order = [name for entry in leaderboard(records) if entry.values for name in entry.jobs]
    return SweepRecord(folder, jobs, unreadable, ranges, stored.overrides, objective, order)


def _job_folders(folder: Path) -> list[Path]:
    """Return the folders of jobs, in natural order."""
    files = [*folder.glob(f"*/{file_names.CONFIG}"), *folder.glob(f"*/*/{file_names.CONFIG}")]
    return sorted(
        (file.parent for file in files),
        key=lambda path: [
            (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))
        ],
    )
