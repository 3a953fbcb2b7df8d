"""Plans around another plan, whose jobs they train several times: with other seeds, once for each fold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace

from .plan import Plan, Results, Task, best_jobs

# Between the name of a job and the number of another seed or fold of it.
SEED, FOLD = "-seed", "-fold"
# The number of seeds there are; after the largest comes 0.
SEEDS = 2**63


class Retrained:
    """Another plan, after which its best jobs are trained again, with other seeds than `seed`.

    The first job, that of the default settings, is trained to the end and again as well, so that what was
    found is compared with what it is to be better than.
    """

    def __init__(self, plan: Plan, best: int, seeds: int, epochs: int, seed: int):
        self.plan, self.best, self.seeds, self.epochs, self.seed = plan, best, seeds, epochs, seed

    def tasks(self, results: Results) -> Iterator[Task]:
        tasks = []
        for task in self.plan.tasks(results):
            tasks.append(task)
            yield task
        if not all(results.closed(task) for task in tasks):
            return
        jobs = sorted({task.job for task in tasks if task.epochs == self.epochs})
        last = max(task.stage for task in tasks)
        chosen = best_jobs(jobs, self.epochs, results, self.best)
        first = tasks[0]
        if self.best and first.job not in chosen and results.score(first.job, first.epochs) > -math.inf:
            yield Task(first.job, self.epochs, last + 1)
            chosen.append(first.job)
        for job in chosen:
            for seed in range(1, self.seeds + 1):
                yield Task(f"{job}{SEED}{seed}", self.epochs, last + 1)

    def settings(self, job: str, results: Results) -> dict[str, str]:
        original, _, number = job.partition(SEED)
        if not number:
            return self.plan.settings(job, results)
        settings = results.settings(original)
        return settings | {"seed": str((int(settings.get("seed", self.seed)) + int(number)) % SEEDS)}


class Folded:
    """Another plan, each of whose jobs is trained once for each fold; the mean over them counts (H5)."""

    def __init__(self, plan: Plan, folds: int):
        self.plan, self.folds = plan, folds

    def tasks(self, results: Results) -> Iterator[Task]:
        for task in self.plan.tasks(_OverFolds(results, self.folds)):
            for fold in range(self.folds):
                yield replace(task, job=f"{task.job}{FOLD}{fold}")

    def settings(self, job: str, results: Results) -> dict[str, str]:
        original, _, fold = job.rpartition(FOLD)
        return self.plan.settings(original, _OverFolds(results, self.folds)) | {"data.fold": fold}


class _OverFolds:
    """Results of jobs, each the mean over its folds."""

    def __init__(self, results: Results, folds: int):
        self.results, self.folds = results, folds

    def closed(self, task: Task) -> bool:
        return all(self.results.closed(replace(task, job=job)) for job in self._folds_of(task.job))

    def score(self, job: str, epochs: int) -> float:
        return statistics.fmean(self.results.score(fold, epochs) for fold in self._folds_of(job))

    def val_loss(self, job: str, epochs: int) -> float:
        return statistics.fmean(self.results.val_loss(fold, epochs) for fold in self._folds_of(job))

    def settings(self, job: str) -> dict[str, str]:
        settings = self.results.settings(self._folds_of(job)[0])
        return {key: value for key, value in settings.items() if key != "data.fold"}

    def seconds_per_epoch(self, job: str) -> float | None:
        seconds = [self.results.seconds_per_epoch(fold) for fold in self._folds_of(job)]
        known = [of_fold for of_fold in seconds if of_fold is not None]
        return sum(known) if len(known) == self.folds else None

    def _folds_of(self, job: str) -> list[str]:
        return [f"{job}{FOLD}{fold}" for fold in range(self.folds)]
