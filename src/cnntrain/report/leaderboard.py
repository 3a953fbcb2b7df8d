"""The ranking of a sweep's jobs: those that differ in their seed alone are one entry, mean ± deviation."""

from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import dataclass

from ..metrics import DISPLAY, LOWER_IS_BETTER, format_metric
from ..runs.status import DIVERGED, FAILED, FINISHED
from ..runs.sweep_folder import JobRecord
from ..settings.fields import shorten

MISSING = "–"
MAX_REASON = 60


@dataclass(frozen=True)
class Entry:
    """Jobs with the same settings but for the seed.

    values: the best objective of each, of those that were trained longest. epochs: how long that was. status:
    that of the job that got farthest.
    """

    settings: dict[str, str]
    jobs: list[str]
    metric: str | None
    values: list[float]
    epochs: int
    status: str
    reason: str

    @property
    def mean(self) -> float | None:
        """The mean of the objective over seeds, None where no job has one."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def result(self) -> str:
        """Return the objective as printed."""
        if self.mean is None or self.metric is None:
            return MISSING
        text = format_metric(self.metric, self.mean).split()[-1]
        if self.deviation is None:
            return text
        return f"{text} ± {format_metric(self.metric, self.deviation).split()[-1]}"

    def order(self) -> tuple[bool, float, bool, float]:
        """Return what entries are sorted by: how far they were trained, whether with several seeds, the mean.

        A single result is higher by chance than a mean that it may not keep up with.
        """
        sign = -1.0 if self.metric in LOWER_IS_BETTER else 1.0
        score = -math.inf if self.mean is None else sign * self.mean
        reached = math.inf if self.status == FINISHED else float(self.epochs)
        return self.status not in (FAILED, DIVERGED), reached, len(self.values) > 1, score


def leaderboard(jobs: dict[str, JobRecord]) -> list[Entry]:
    """Return the entries of a sweep's jobs, best first."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, record in jobs.items():
        key = tuple((key, value) for key, value in record.settings.items() if key != "seed")
        groups.setdefault(key, []).append(name)
    entries = [_entry(dict(key), names, jobs) for key, names in groups.items()]
    return sorted(entries, key=Entry.order, reverse=True)


def _entry(settings: dict[str, str], names: list[str], jobs: dict[str, JobRecord]) -> Entry:
    sound = [name for name in names if jobs[name].status not in (FAILED, DIVERGED)]
    finished = [name for name in sound if jobs[name].status == FINISHED]
    epochs = max((jobs[name].epochs for name in sound or names), default=0)
    counted = finished or [name for name in sound if jobs[name].epochs == epochs]
    values = []
    for name in counted:
        record = jobs[name]
        known = [value for value in record.curve if value is not None]
        if known:
            values.append(min(known) if record.metric in LOWER_IS_BETTER else max(known))
    first = jobs[(counted or names)[0]]
    return Entry(settings, names, first.metric, values, epochs, first.status, first.reason)


def leaderboard_lines(entries: list[Entry], limit: int | None = None) -> list[str]:
    """Return the entries in aligned columns, under their names; limit: how many at most."""
    shown = entries[:limit]
    keys = list(dict.fromkeys(key for entry in entries for key in entry.settings))
    rows = [["", _metric_name(entries), "seeds", "epochs", *keys, "jobs", "status"]]
    for rank, entry in enumerate(shown, 1):
        rows.append(
            [
                str(rank),
                entry.result(),
                str(len(entry.values)),
                str(entry.epochs),
                *(entry.settings.get(key, "default") for key in keys),
                " ".join(entry.jobs),
                _status(entry),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(entries) - len(shown)
    return [*lines, *([f"… and {more} more"] if more else [])]


def leaderboard_csv(entries: list[Entry]) -> str:
    """Return the entries as CSV, numbers with all their digits."""
    keys = list(dict.fromkeys(key for entry in entries for key in entry.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "metric", "mean", "deviation", "seeds", "epochs", *keys, "jobs", "status"])
    for rank, entry in enumerate(entries, 1):
        numbers = ["" if value is None else repr(value) for value in (entry.mean, entry.deviation)]
        values = [entry.settings.get(key, "") for key in keys]
        counts = [len(entry.values), entry.epochs]
        writer.writerow(
            [rank, entry.metric or "", *numbers, *counts, *values, " ".join(entry.jobs), entry.status]
        )
    return text.getvalue()


def _metric_name(entries: list[Entry]) -> str:
    metric = next((entry.metric for entry in entries if entry.metric), None)
    return "objective" if metric is None else f"val {DISPLAY[metric][0]}"


def _status(entry: Entry) -> str:
    reason = (
        entry.reason.removeprefix(f"{entry.status} ").removeprefix(f"{entry.status}: ").partition(". ")[0]
    )
    return f"{entry.status}: {shorten(reason, MAX_REASON)}" if reason else entry.status
