"""report.html of a sweep: its jobs compared, in one file that needs no server and no network."""

from __future__ import annotations

from typing import Any

from ..findings.sweep_record import SweepJob, SweepRecord
from ..metrics import DISPLAY, LOWER_IS_BETTER, format_metric
from ..runs import file_names
from ..search.plan import REPEATED
from .importance import importances
from .pictures import sweep_curves
from .pictures.parallel_coordinates import parallel_coordinates
from .templates import render

# Coloured curves of more jobs could not be told apart.
MAX_CURVES = 10
MAX_SETTINGS = 12
# Of parallel coordinates: settings at most, jobs at least.
MAX_AXES, LEAST_LINES = 7, 4
MISSING = "–"


def columns(sweep: SweepRecord) -> list[str]:
    """Return the columns of the table of jobs, after the job's name."""
    metric = [] if sweep.metric is None else [f"val {DISPLAY[sweep.metric][0]}"]
    return [*sweep.varied, *metric, "train loss", "best epoch", "status", "seconds"]


def cells(sweep: SweepRecord, job: SweepJob) -> list[str]:
    """Return the cells of a job in these columns."""
    metric, record = sweep.metric, job.record
    value = job.value(metric)
    shown = [] if metric is None else [MISSING if value is None else format_metric(metric, value).split()[-1]]
    losses, epoch = record.train_losses, record.summary.get("best_epoch")
    return [
        *(sweep.of(job, key) for key in sweep.varied),
        *shown,
        f"{losses[-1]:.4g}" if losses else MISSING,
        MISSING if epoch is None else str(epoch),
        record.status,
        f"{record.summary['wall_seconds']:.1f}" if "wall_seconds" in record.summary else MISSING,
    ]


def ordered(sweep: SweepRecord) -> list[SweepJob]:
    """Return the jobs, best first, those without a metric last."""
    ranked = {job.name: job for job in sweep.ranked}
    return [*ranked.values(), *(job for job in sweep.jobs if job.name not in ranked)]


def sweep_page(sweep: SweepRecord, findings: list[dict[str, Any]], command: str) -> str:
    """Return the page; findings: as in findings.json, command: that of the best job, if any."""
    curves, settings = _curves(sweep), _settings(sweep)
    sections = [("findings", "Findings"), ("jobs", "Jobs")]
    sections += [("settings", "Settings")] if settings else []
    sections += [("curves", "Curves")] if curves else []
    return render(
        "sweep_page.html.j2",
        title=f"Sweep {sweep.folder.name}",
        subtitle=f"{sweep.folder}, {len(sweep.jobs)} jobs",
        sections=[*sections, *([("command", "Best job")] if command else [])],
        findings=findings,
        columns=columns(sweep),
        jobs=[
            {"name": job.name, "link": _link(sweep, job), "cells": cells(sweep, job)}
            for job in ordered(sweep)
        ],
        unreadable=list(sweep.unreadable.items()),
        settings=settings,
        curves=curves,
        command=command,
    )


def _link(sweep: SweepRecord, job: SweepJob) -> str | None:
    """Return the relative address of a job's own page, None if it has none."""
    page = f"{job.name}/{file_names.REPORT}"
    return page if (sweep.folder / page).is_file() else None


def _settings(sweep: SweepRecord) -> list[tuple[str, str]]:
    """Return the best so far, how much settings matter, and the metric of every job over each's values."""
    if sweep.metric is None:
        return []
    found = []
    results = [value for job in sweep.jobs if (value := job.value(sweep.metric)) is not None]
    if len(results) > 2:
        lower = sweep.metric in LOWER_IS_BETTER
        svg = sweep_curves.best_so_far(results, lower, _label(sweep.metric))
        found.append(("The best job so far, in the order of the jobs", svg))
    if important := importances(sweep):
        caption = "How much each setting matters for the best jobs (PED-ANOVA)"
        found.append((caption, sweep_curves.importance_bars(important)))
    settings = {key: values for key, values in sweep.varied.items() if key not in REPEATED}
    scored = [(job, value) for job in sweep.ranked if (value := job.value(sweep.metric)) is not None]
    if len(settings) > 1 and len(scored) >= LEAST_LINES:
        keys = list(settings)[:MAX_AXES]
        lines = [([sweep.of(job, key) for key in keys], value) for job, value in scored]
        scales = {key: sweep.is_logarithmic(key) for key in keys}
        lower = sweep.metric in LOWER_IS_BETTER
        svg = parallel_coordinates(scales, lines, _label(sweep.metric), lower)
        found.append(("Every job over its settings; the stronger, the better", svg))
    for key, values in list(settings.items())[:MAX_SETTINGS]:
        points = [(sweep.of(job, key), value) for job, value in scored]
        caption = f"{key}: every job"
        if points and len(values) < 100:
            svg = sweep_curves.setting_plot(points, key, _label(sweep.metric), sweep.is_logarithmic(key))
            found.append((caption, svg))
    return found


def _curves(sweep: SweepRecord) -> list[tuple[str, str]]:
    more = len(sweep.jobs) > MAX_CURVES
    of_jobs = f"of all jobs, those after the best {MAX_CURVES} in grey" if more else "of every job"
    kinds = [("val/" + sweep.metric, f"Validation {_label(sweep.metric)}")] if sweep.metric else []
    kinds.append(("train/data_loss", "Training loss"))
    drawn = []
    for column, title in kinds:
        lines = {
            job.name: [
                (row["epoch"], row[column]) for row in job.record.epochs if row.get(column) is not None
            ]
            for job in ordered(sweep)
        }
        is_loss = column == "train/data_loss"
        svg = sweep_curves.job_curves(lines, MAX_CURVES, title.split(" ", 1)[1], is_loss)
        drawn += [(f"{title} {of_jobs}", svg)] if svg is not None else []
    return drawn


def _label(metric: str) -> str:
    return DISPLAY[metric][0]
