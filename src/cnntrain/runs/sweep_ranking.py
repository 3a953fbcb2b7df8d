"""The ranking of a sweep's jobs: those that differ in seed or fold alone are one entry, mean ± deviation."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from ..metrics import LOWER_IS_BETTER, error_of, format_metric
from ..search.plan import REPEATED
from .metrics_file import Validated
from .status import DIVERGED, FAILED, FINISHED
from .sweep_folder import JobRecord

MISSING = "–"


@dataclass(frozen=True)
class Entry:
    """Jobs with the same settings but for the seed or the fold.

    jobs: those whose results count first, the best of them before the others. values: the best objective of
    each seed and fold, of the jobs that were trained longest. loss: their mean validation loss, infinity
    where it is not known. epochs: how long they were trained. status: that of the job that got farthest.
    """

    settings: dict[str, str]
    jobs: list[str]
    metric: str | None
    values: list[float]
    loss: float
    epochs: int
    status: str
    reason: str

    @property
    def mean(self) -> float | None:
        """The mean of the objective over seeds and folds, None where no job has one."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds and folds, None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def result(self) -> str:
        """Return the objective as printed."""
        if self.mean is None or self.metric is None:
            return MISSING
        text = format_metric(self.metric, self.mean).split()[-1]
        if self.deviation is None:
            return text
        return f"{text} ± {format_metric(self.metric, self.deviation).split()[-1]}"

    def order(self) -> tuple[bool, float, bool, float, float]:
        """Return what entries are sorted by: how far they were trained, whether with several seeds, the mean.

        A single result is higher by chance than a mean that it may not keep up with. Of equal means the one
        of the lower validation loss is better.
        """
        sign = -1.0 if self.metric in LOWER_IS_BETTER else 1.0
        score = -math.inf if self.mean is None else sign * self.mean
        reached = math.inf if self.status == FINISHED else float(self.epochs)
        return self.status not in (FAILED, DIVERGED), reached, len(self.values) > 1, score, -self.loss


def leaderboard(jobs: dict[str, JobRecord]) -> list[Entry]:
    """Return the entries of a sweep's jobs, best first."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, record in jobs.items():
        key = tuple((key, value) for key, value in record.settings.items() if key not in REPEATED)
        groups.setdefault(key, []).append(name)
    entries = [_entry(dict(key), names, jobs) for key, names in groups.items()]
    return sorted(entries, key=Entry.order, reverse=True)


def _entry(settings: dict[str, str], names: list[str], jobs: dict[str, JobRecord]) -> Entry:
    sound = [name for name in names if jobs[name].status not in (FAILED, DIVERGED)]
    finished = [name for name in sound if jobs[name].status == FINISHED]
    epochs = max((jobs[name].epochs for name in sound or names), default=0)
    counted = finished or [name for name in sound if jobs[name].epochs == epochs]
    results = {name: result for name in counted if (result := jobs[name].best()) is not None}
    # Jobs that were drawn twice have the same result twice, which says nothing of the noise of seeds.
    repeated: dict[tuple[str | None, ...], Validated] = {}
    for name, result in results.items():
        repeated.setdefault(tuple(jobs[name].settings.get(key) for key in REPEATED), result)
    first = jobs[(counted or names)[0]]
    ordered = sorted(results, key=lambda name: results[name].order(first.metric))
    ordered += [name for name in names if name not in results]
    values = [result.value for result in repeated.values() if result.value is not None]
    losses = [error_of("loss", result.loss) for result in repeated.values()]
    loss = statistics.fmean(losses) if losses else math.inf
    return Entry(settings, ordered, first.metric, values, loss, epochs, first.status, first.reason)


def best_of(record: JobRecord) -> float | None:
    """Return the best objective of a job, None where it has none."""
    best = record.best()
    return None if best is None else best.value
