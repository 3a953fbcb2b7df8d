"""job=report of a sweep: its jobs compared, findings on them, and one page (W6, H6)."""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import replace
from pathlib import Path

from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..config.sweep import configure_sweep
from ..errors import UserError
from ..findings.finding import Finding
from ..findings.remedy import Judged, try_command
from ..findings.sweep_record import SweepRecord, read_sweep
from ..findings.sweeps import sweep_findings
from ..report.findings_file import print_findings, write_findings_file
from ..report.sweep_page import cells, columns, ordered, sweep_page
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..settings.config_tree import Config
from ..training.settings import Trainer as TrainerSettings
from .sweep_worker import OF_JOBS

MAX_PRINTED = 10
JOBS = "jobs.csv"


def report_sweep(folder: Path) -> None:
    """Write jobs.csv, findings.json and report.html into the folder of a sweep, and print them in short.

    Raises DataError where no job can be read, or a file cannot be written. Test metrics are not compared:
    jobs are selected by validation.
    """
    sweep = read_sweep(folder)
    best = ordered(sweep)[0]
    findings = sweep_findings(sweep)
    found = [
        Judged(
            finding, _wider_sweep(sweep, finding) or try_command(_as_single_run(best.record.config), finding)
        )
        for finding in findings
    ]
    content = write_findings_file(folder, found)
    write_text(folder / JOBS, _csv(sweep))
    command = ""
    if sweep.ranked:
        command = equivalent_command(_as_single_run(best.record.config), Choices())
    write_text(folder / file_names.REPORT, sweep_page(sweep, content, command))
    print("\n".join(_table(sweep)))
    for name, reason in sweep.unreadable.items():
        print(f"warning   job {name} is not compared: {reason}")
    print_findings(content)
    print(f"best      {command or 'none, as no job has a result in validation'}")
    print(f"{folder}: {JOBS}, {file_names.FINDINGS}, {file_names.REPORT}", flush=True)


def _wider_sweep(sweep: SweepRecord, finding: Finding) -> str | None:
    """Return the command of the sweep with the wider range that a finding suggests, None if it is invalid."""
    key, wider = finding.evidence.get("key"), finding.evidence.get("wider")
    if wider is None or sweep.overrides is None:
        return None
    kept = [text for text in sweep.overrides if text.lstrip("+").partition("=")[0] != key]
    overrides = [*kept, f"{key}={wider}"]
    try:
        configure_sweep(overrides, Choices())
    except UserError:
        return None
    return " ".join(["cnntrain -m", *map(shlex.quote, overrides)])


def _as_single_run(config: Config) -> Config:
    """Return the configuration of a job without what a sweep leaves out, pages and test split."""
    plain = {name: getattr(TrainerSettings(), name) for name in OF_JOBS}
    return replace(config, trainer=replace(config.trainer, **plain))


def _table(sweep: SweepRecord) -> list[str]:
    """Return the best jobs in aligned columns, under their names."""
    rows = [["job", *columns(sweep)]]
    rows += [[job.name, *cells(sweep, job)] for job in ordered(sweep)[:MAX_PRINTED]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(sweep.jobs) - MAX_PRINTED
    return [*lines, *([f"… and {more} more in {JOBS}"] if more > 0 else []), ""]


def _csv(sweep: SweepRecord) -> str:
    """Return the table of all jobs, best first, the validation metric with all its digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", *columns(sweep)])
    for job in ordered(sweep):
        row = dict(zip(columns(sweep), cells(sweep, job), strict=True))
        value = job.value(sweep.metric)
        if value is not None:
            row[columns(sweep)[len(sweep.varied)]] = repr(value)
        writer.writerow([job.name, *row.values()])
    return text.getvalue()
