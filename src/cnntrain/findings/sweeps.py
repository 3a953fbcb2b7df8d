"""Rules on a sweep: what its jobs, compared with each other, tell that none of them tells alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ..metrics import format_metric
from ..runs.status import DIVERGED, FAILED
from ..search.plan import REPEATED
from .finding import Finding
from .sweep_record import SweepJob, SweepRecord, number_in

SweepRule = Callable[[SweepRecord], Finding | None]
# A setting needs so many numbers before the best of them says something about the range.
LEAST_VALUES = 3
# Of a range, on its own scale.
EDGE = 0.1
# Of deeper networks whose training accuracy is lower, too, by so much (He et al. 2016a, figure 1).
DEEPER, WORSE = 1.3, 0.02
# Standard errors between two means that differ for a reason.
STANDARD_ERRORS = 2.0


def sweep_findings(sweep: SweepRecord) -> list[Finding]:
    """Return the findings of a sweep, strongest first."""
    found = [finding for rule in RULES if (finding := rule(sweep)) is not None]
    return sorted(found, key=lambda finding: finding.strength, reverse=True)


def failed_jobs(sweep: SweepRecord) -> Finding | None:
    """Jobs diverged or failed; where they share the values of a setting, it is named."""
    failed = [job for job in sweep.jobs if job.record.status in (DIVERGED, FAILED)]
    if not failed:
        return None
    shared = _shared_by_failed(sweep, failed)
    where = f", all with {shared}" if shared else ""
    status = "diverged" if all(job.record.status == "diverged" for job in failed) else "failed or diverged"
    return Finding(
        "jobs failed",
        f"{len(failed)} of {len(sweep.jobs)} jobs {status}{where}.",
        {"jobs": {job.name: job.record.status for job in failed}},
        0.6,
    )


def best_at_the_edge(sweep: SweepRecord) -> Finding | None:
    """The best job lies within a tenth of an end of a range, or has the largest or smallest number of a list.

    Of a list, only where its neighbor is worse (H4).
    """
    if not sweep.ranked:
        return None
    best = sweep.ranked[0]
    of_ranges = (_edge_of_range(sweep, best, key) for key in sweep.ranges)
    of_lists = (_edge_of_list(sweep, best, key) for key in sweep.varied if key not in sweep.ranges)
    return next(filter(None, itertools.chain(of_ranges, of_lists)), None)


def _edge_of_range(sweep: SweepRecord, best: SweepJob, key: str) -> Finding | None:
    range_, written = sweep.ranges[key], sweep.of(best, key)
    fraction, value = range_.fraction(written), number_in(written)
    if fraction is None and value is not None:  # the default settings, better than all that were drawn
        return Finding(
            "best value beyond its range",
            f"The best job has {key}={value:g}, the default, which lies outside of {range_.written()}; "
            "no value of the range was better.",
            {"key": key, "range": range_.written(), "wider": range_.reaching([written]).written()},
            0.5,
        )
    if fraction is None or EDGE <= fraction <= 1 - EDGE:
        return None
    wider, end = range_.widened(below=fraction < EDGE), "lower" if fraction < EDGE else "upper"
    return Finding(
        "best value at the edge of its range",
        f"The best job has {key}={written}, near the {end} end of {range_.written()}; "
        "values beyond it may be better.",
        {"key": key, "range": range_.written(), "fraction": fraction, "wider": wider.written()},
        0.5,
    )


def _edge_of_list(sweep: SweepRecord, best: SweepJob, key: str) -> Finding | None:
    found = {number for job in sweep.jobs if (number := number_in(sweep.of(job, key))) is not None}
    numbers, own = sorted(found), number_in(sweep.of(best, key))
    if key in REPEATED or own is None or len(numbers) < LEAST_VALUES or own not in (numbers[0], numbers[-1]):
        return None
    neighbor = numbers[1] if own == numbers[0] else numbers[-2]
    if not _mean_score(sweep, key, own) > _mean_score(sweep, key, neighbor) > -math.inf:
        return None
    return Finding(
        "best value at the edge of its range",
        f"The best job has {key}={own:g}, the {'smallest' if own == numbers[0] else 'largest'} of the "
        f"values tried; values beyond it may be better.",
        {"key": key, "values": numbers, "means": _finite_means(sweep, key, numbers)},
        0.5,
        {key: _beyond(own, neighbor)},
    )


def within_noise(sweep: SweepRecord) -> Finding | None:
    """The best two settings differ by no more than seeds of the same setting do."""
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    keys = [key for key in sweep.varied if key not in REPEATED]
    for job in sweep.ranked:
        score = job.score(sweep.metric)
        assert score is not None
        groups[tuple(sweep.of(job, key) for key in keys)].append(score)
    repeated = {values: scores for values, scores in groups.items() if len(scores) > 1}
    if len(repeated) < 2:
        return None
    (first, one), (second, other) = sorted(
        repeated.items(), key=lambda entry: statistics.fmean(entry[1]), reverse=True
    )[:2]
    gain = statistics.fmean(one) - statistics.fmean(other)
    error = math.sqrt(sum(statistics.variance(scores) / len(scores) for scores in (one, other)))
    if gain > STANDARD_ERRORS * error:
        return None
    names = [
        ", ".join(f"{key}={value}" for key, value in zip(keys, group, strict=True))
        for group in (first, second)
    ]
    repeats = "folds" if "data.fold" in sweep.varied and "seed" not in sweep.varied else "seeds"
    return Finding(
        "difference within the noise of seeds",
        f"{names[0]} is no better than {names[1]} beyond what {repeats} make: their means differ by "
        f"{gain:.2g}, with a standard error of {error:.2g}. More {repeats} would tell.",
        {"difference": gain, "standard_error": error, repeats: [len(one), len(other)]},
        0.55,
    )


def same_results(sweep: SweepRecord) -> Finding | None:
    """Jobs of different settings have the same metrics to the last digit."""
    results: dict[tuple[Any, ...], list[SweepJob]] = defaultdict(list)
    for job in sweep.jobs:
        rows = [row for row in job.record.epochs if row.get("train/loss") is not None]
        if rows:
            measured = ("train/loss", "val/loss", "val_average/loss")
            results[tuple(tuple(row.get(name) for name in measured) for row in rows)].append(job)
    same = [jobs for jobs in results.values() if len(jobs) > 1]
    if not same:
        return None
    jobs = same[0]
    keys = [key for key in sweep.varied if len({sweep.of(job, key) for job in jobs}) > 1]
    return Finding(
        "setting without effect",
        f"Jobs {', '.join(job.name for job in jobs)} have the same metrics to the last digit, though they "
        f"differ in {' and '.join(keys) or 'nothing'}.",
        {"jobs": [[job.name for job in group] for group in same], "settings": keys},
        0.7,
    )


def degradation(sweep: SweepRecord) -> Finding | None:
    """A deeper network of the same kind has a lower training accuracy and a lower validation accuracy."""
    finished = [job for job in sweep.jobs if job.record.status == "finished" and job.train_accuracy]
    worst: tuple[float, SweepJob, SweepJob] | None = None
    for shallow in finished:
        for deep in finished:
            drops = _drops(sweep, shallow, deep)
            if drops is not None and min(drops) > WORSE and (worst is None or min(drops) > worst[0]):
                worst = min(drops), shallow, deep
    if worst is None:
        return None
    _, shallow, deep = worst
    train, val = _drops(sweep, shallow, deep) or (0.0, 0.0)
    name, deep_name = (_model(job) for job in (shallow, deep))
    return Finding(
        "degradation with depth",
        f"The deeper network is worse on the training images, too: {deep_name} by {train:.0%} than {name}, "
        f"and by {val:.0%} in validation. It is not overfitted but harder to optimize; shortcuts or "
        "normalization help.",
        {
            "layers": {name: shallow.layers, deep_name: deep.layers},
            "train_accuracy": {name: shallow.train_accuracy, deep_name: deep.train_accuracy},
        },
        0.8,
        _with_shortcuts(deep_name),
    )


RULES: tuple[SweepRule, ...] = (failed_jobs, best_at_the_edge, within_noise, same_results, degradation)


def described(sweep: SweepRecord, job: SweepJob) -> str:
    """Return a job's values of the settings in which jobs differ, and its validation metric."""
    values = " ".join(f"{key}={sweep.of(job, key)}" for key in sweep.varied)
    value = job.value(sweep.metric)
    metric = "" if sweep.metric is None or value is None else f", val {format_metric(sweep.metric, value)}"
    return f"job {job.name} ({values}){metric}"


def _finite_means(sweep: SweepRecord, key: str, numbers: list[float]) -> dict[str, float]:
    """Return the mean score of each value at which a job has one."""
    means = {f"{number:g}": _mean_score(sweep, key, number) for number in numbers}
    return {number: mean for number, mean in means.items() if math.isfinite(mean)}


def _mean_score(sweep: SweepRecord, key: str, number: float) -> float:
    """Return the mean score of the jobs with a value of a setting, minus infinity if none has a score."""
    scores = [
        score
        for job in sweep.jobs
        if number_in(sweep.of(job, key)) == number and (score := job.score(sweep.metric)) is not None
    ]
    return statistics.fmean(scores) if scores else -math.inf


def _beyond(own: float, neighbor: float) -> float | int:
    """Return a value as far beyond `own` as `neighbor` lies before it, on the scale of the two."""
    geometric = own > 0 and neighbor > 0 and max(own / neighbor, neighbor / own) >= 1.9
    value = own * own / neighbor if geometric else 2 * own - neighbor
    is_whole = own == int(own) and neighbor == int(neighbor)
    return round(value) if is_whole else float(f"{value:.3g}")


def _shared_by_failed(sweep: SweepRecord, failed: list[SweepJob]) -> str | None:
    """Return the values of a setting that all failed jobs have and no other job has."""
    others = [job for job in sweep.jobs if job not in failed]
    for key in sweep.varied:
        values = list(dict.fromkeys(sweep.of(job, key) for job in failed))
        if others and not set(values) & {sweep.of(job, key) for job in others}:
            return f"{key}={' or '.join(values)}"
    return None


def _drops(sweep: SweepRecord, shallow: SweepJob, deep: SweepJob) -> tuple[float, float] | None:
    """Return by how much training and validation accuracy are lower in the deeper of two comparable jobs."""
    if deep.layers < DEEPER * shallow.layers:
        return None
    differing = [key for key in sweep.varied if sweep.of(shallow, key) != sweep.of(deep, key)]
    comparable = all(key == "model" or key.startswith("model.") for key in differing)
    same_kind = type(shallow.record.config.model) is type(deep.record.config.model)
    if not (comparable and same_kind):
        return None
    of_shallow, of_deep = (
        (job.train_accuracy or math.nan, job.value("accuracy") or math.nan) for job in (shallow, deep)
    )
    return of_shallow[0] - of_deep[0], of_shallow[1] - of_deep[1]


def _model(job: SweepJob) -> str:
    settings = [f"{key}={value}" for key, value in job.overrides.items() if key.startswith("model")]
    return " ".join(settings) or f"model={job.record.config.model.name}"


def _with_shortcuts(model: str) -> dict[str, Any]:
    """Return the change to the residual or normalized network of the same depth, {} where there is none."""
    name = model.partition("model=")[2].split(" ")[0]
    if name.startswith("plain"):
        return {"model": name.replace("plain", "resnet")}
    if name.startswith("vgg") and not name.endswith("_bn"):
        return {"model": f"{name}_bn"}
    return {}
