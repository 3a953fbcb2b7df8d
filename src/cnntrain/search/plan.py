"""Plans of searches: which job is trained next, and for how many epochs, as pure functions of results.

A plan keeps no state: it is asked for its tasks with the results so far, in whatever process, and gives the
same answers whenever the results are the same. So a sweep continues after any interruption as if there had
been none.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .ranges import Parameter, Range, Values

# Of a task: all epochs of a job, which may vary between jobs.
ALL_EPOCHS = 2**31
# Settings in which repetitions of the same settings differ.
REPEATED = ("seed", "data.fold")
# The part of search.minutes that is planned for; jobs differ in how long they take.
PLANNED = 0.8
MAX_JOBS = 100_000
# Job number → its settings, as overrides by key.
Draw = Callable[[int], dict[str, str]]

# Ranges and a number → settings.
DrawFrom = Callable[[dict[str, Parameter], int], dict[str, str]]


@dataclass(frozen=True)
class Task:
    """A job to be trained up to an epoch; job: the name of its folder. stage: 1 for the first."""

    job: str
    epochs: int
    stage: int = 1


class Results(Protocol):
    """What is known of the jobs of a sweep."""

    def closed(self, task: Task) -> bool:
        """Return whether a task is done: the job has reached the epoch, or ended before it."""

    def score(self, job: str, epochs: int) -> float:
        """Return the best objective in a job's first epochs, higher is better; minus infinity for none."""

    def val_loss(self, job: str, epochs: int) -> float:
        """Return the validation loss beside that objective, which decides ties; infinity for none."""

    def settings(self, job: str) -> dict[str, str]:
        """Return the settings of a job that exists."""

    def seconds_per_epoch(self, job: str) -> float | None:
        """Return how long an epoch of a job took in its first stage, with all else; None if it had none."""


class Plan(Protocol):
    """The tasks of a search."""

    def tasks(self, results: Results) -> Iterator[Task]:
        """Yield every task that follows from the results; the search is over when all of them are closed."""

    def settings(self, job: str, results: Results) -> dict[str, str]:
        """Return the settings of a job that the plan has yielded, as overrides by key."""


def job_name(number: int) -> str:
    """Return the folder of a job."""
    return f"{number:04d}"


def combinations(space: dict[str, Parameter]) -> list[dict[str, str]]:
    """Return all combinations of the values in lists."""
    lists = [parameter.ends() for parameter in space.values()]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


class Combinations:
    """All combinations of lists of values, the last key varying fastest, as Hydra orders them."""

    def __init__(self, space: dict[str, Parameter]):
        self.combinations = combinations(space)

    def tasks(self, results: Results) -> Iterator[Task]:
        for number in range(len(self.combinations)):
            yield Task(job_name(number), ALL_EPOCHS)

    def settings(self, job: str, results: Results) -> dict[str, str]:
        return self.combinations[int(job)]


class SuccessiveHalving:
    """All jobs for the epochs of the first stage, the best of them for those of the next (Jamieson &
    Talwalkar 2016). With one stage, every job is trained for all epochs.

    stages: epochs of each. Ties are decided by the validation loss, then by job number.
    """

    def __init__(self, draw: Draw, jobs: int, stages: list[int], reduction: float):
        self.draw, self.jobs, self.stages, self.reduction = draw, jobs, stages, reduction

    def tasks(self, results: Results) -> Iterator[Task]:
        jobs = [job_name(number) for number in range(self.jobs)]
        for stage, epochs in enumerate(self.stages, 1):
            tasks = [Task(job, epochs, stage) for job in jobs]
            yield from tasks
            if not all(results.closed(task) for task in tasks):
                return
            jobs = best_jobs(jobs, epochs, results, math.ceil(len(jobs) / self.reduction))

    def settings(self, job: str, results: Results) -> dict[str, str]:
        return {} if int(job) == 0 else self.draw(int(job))


class CoarseToFine:
    """Stages of more epochs each: the best jobs of a stage go on to the next, with new ones around them (H3).

    stages: epochs of each. jobs: those drawn in each. keep: how many of the best jobs go on; ranges are
    narrowed to where they lie, and by `margin` of the range on both sides.
    """

    def __init__(
        self,
        space: dict[str, Parameter],
        draw: DrawFrom,
        stages: list[int],
        jobs: list[int],
        keep: int,
        margin: float,
    ):
        self.space, self.draw = space, draw
        self.stages, self.jobs, self.keep, self.margin = stages, jobs, keep, margin

    def tasks(self, results: Results) -> Iterator[Task]:
        jobs: list[str] = []
        for stage, (epochs, new) in enumerate(zip(self.stages, self.jobs, strict=True), 1):
            jobs = [*jobs, *(stage_job(stage, number) for number in range(new))]
            tasks = [Task(job, epochs, stage) for job in jobs]
            yield from tasks
            if not all(results.closed(task) for task in tasks):
                return
            jobs = best_jobs(jobs, epochs, results, self.keep)

    def settings(self, job: str, results: Results) -> dict[str, str]:
        stage, number = stage_and_number(job)
        if stage == 1 and number == 0:
            return {}
        space = self.space if stage == 1 else self._narrowed(stage, results)
        return self.draw(space, sum(self.jobs[: stage - 1]) + number)

    def _narrowed(self, stage: int, results: Results) -> dict[str, Parameter]:
        """Return the ranges of a stage: those of the best jobs of the one before it."""
        before = [task for task in self.tasks(results) if task.stage == stage - 1]
        best = best_jobs([task.job for task in before], self.stages[stage - 2], results, self.keep)
        space = dict(self.space)
        for key, parameter in self.space.items():
            values = [results.settings(job)[key] for job in best if key in results.settings(job)]
            if isinstance(parameter, Values):
                kept = tuple(value for value in parameter.values if value in values)
                space[key] = Values(kept) if kept else parameter
            elif isinstance(parameter, Range):
                found = [f for value in values if (f := parameter.fraction(value)) is not None]
                if found:
                    low, high = min(found) - self.margin, max(found) + self.margin
                    space[key] = parameter.narrowed(max(low, 0.0), min(high, 1.0))
        return space


class WithinMinutes:
    """As many jobs as a time allows, judged by the first stage of the first job.

    of: number of jobs → plan, epochs: number of jobs → the epochs of all of them. seconds: the time for them
    all. default: the number where the first job's time is unknown, as it failed.
    """

    def __init__(self, of: Callable[[int], Plan], epochs: Callable[[int], int], seconds: float, default: int):
        self.of, self.epochs, self.seconds, self.default = of, epochs, seconds, default

    def tasks(self, results: Results) -> Iterator[Task]:
        first = next(self.of(1).tasks(results))
        if results.closed(first):
            yield from self.of(self.jobs(results)).tasks(results)
        else:
            yield first

    def settings(self, job: str, results: Results) -> dict[str, str]:
        first = job == job_name(0)
        return self.of(1 if first else self.jobs(results)).settings(job, results)

    def jobs(self, results: Results) -> int:
        """Return how many jobs there are in all, once the first stage of the first one is done."""
        seconds = results.seconds_per_epoch(job_name(0))
        if seconds is None:
            return self.default
        allowed = PLANNED * self.seconds / seconds
        return bisect.bisect_right(range(1, MAX_JOBS + 1), allowed, key=self.epochs) or 1


def stage_job(stage: int, number: int) -> str:
    """Return the folder of a job that is drawn in a stage."""
    return job_name(number) if stage == 1 else f"stage{stage}-{job_name(number)}"


def stage_and_number(job: str) -> tuple[int, int]:
    """Return the stage in which a job is drawn, and its number in it."""
    stage, dash, number = job.removeprefix("stage").rpartition("-")
    return (int(stage), int(number)) if dash else (1, int(job))


def best_jobs(jobs: Sequence[str], epochs: int, results: Results, count: int) -> list[str]:
    """Return the best jobs in their order in `jobs`; those without an objective are none of the best."""
    scores = {job: results.score(job, epochs) for job in jobs}
    losses = {job: results.val_loss(job, epochs) for job in jobs}
    ranked = sorted(jobs, key=lambda job: (-scores[job], losses[job]))  # stable: the earlier job of equals
    chosen = {job for job in ranked[:count] if scores[job] > -math.inf}
    return [job for job in jobs if job in chosen]


def rungs(epochs: int, first: int, reduction: float) -> list[int]:
    """Return the epochs of the stages of successive halving, from at least `first` up to `epochs`."""
    stages = [epochs]
    while (shorter := round(epochs / reduction ** len(stages))) >= first and shorter < stages[0]:
        stages.insert(0, shorter)
    return stages
