"""job=report: findings on a run, from its files and its best network (W6)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assemble.run import Parts
from ..config import stored_config
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..errors import DataError
from ..findings.confirm import confirmed
from ..findings.evidence import gather_evidence
from ..findings.judge import findings_of
from ..findings.remedy import Judged, try_command
from ..findings.run_record import RunRecord, read_record
from ..output_streams import can_print, print_labelled, print_result
from ..report.findings_file import print_findings, write_findings_file
from ..report.pictures.feature_maps import maps_and_patches
from ..report.run_page import RunPage
from ..report.sparkline import BARS, curve_lines
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.checkpoint import State
from ..runs.metrics_file import read_rows
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from ..settings.job_settings import Report
from .without_training import on_best_network


def report_run(path: Path, stored: Config, config: Config) -> None:
    """Judge an earlier run: measure evidence with its best network, write and print its findings.

    Remedies are tried unless report.confirm=false.
    """
    settings = replace(config.report, confirm=config.report.confirm is not False)

    def judge(parts: Parts, folder: RunFolder) -> None:
        found = [finding["name"] for finding in write_findings(stored, parts, folder, settings)]
        count = f"{len(found)} finding{'s'[: len(found) != 1]}"
        print_result(f"{path}: {count}{': ' if found else ''}{', '.join(found)}")

    on_best_network(stored, config, path, judge, or_newest=True)


def write_findings(config: Config, parts: Parts, folder: RunFolder, settings: Report) -> list[dict[str, Any]]:
    """Write evidence.json, findings.json and report.html of a run; print its findings and return them.

    config: that of the run. settings: those of job=report. parts: those of the run, whose network is the
    best one.
    """
    record = read_record(folder, gather_evidence(config, parts))
    if not record.steps and record.status != "diverged":
        raise DataError(f"{folder.metrics}: has no row of a step, so there is nothing to judge; restore it")
    write_text(folder.path / file_names.EVIDENCE, json.dumps(record.evidence, indent=1) + "\n")
    lost = record.summary.get("epochs", len(record.epochs)) - len(record.epochs)
    if lost > 0:
        print(f"warning   {folder.metrics} lacks the rows of {lost} epochs; only the others are judged")
    found = [Judged(finding, try_command(config, finding)) for finding in findings_of(record)]
    if settings.confirm:
        found = confirmed(record, found, settings, _trained(folder))
    content = write_findings_file(folder.path, found)
    write_text(folder.path / file_names.REPORT, _page(config, parts, folder, record, content))
    if can_print(BARS):
        print_labelled(curve_lines(record.steps, record.epochs, record.best_by))
    if not content:
        print(f"findings  none: {_without_findings(record, folder)}")
    print_findings(content)
    return content


def _trained(folder: RunFolder) -> State | None:
    """Return the checkpoint of the best epoch, None where no epoch has ended."""
    has_best = (folder.checkpoints.folder / file_names.BEST).exists()
    return folder.checkpoints.load_best() if has_best else None


def _without_findings(record: RunRecord, folder: RunFolder) -> str:
    """Return what is said of a run without findings: that it is healthy, or why it cannot be judged."""
    if record.status == "failed":
        lines = folder.error.read_text(encoding="utf-8").splitlines() if folder.error.is_file() else []
        return f"the run failed: {lines[-1] if lines else 'see its output'}"
    if not record.epochs:
        return "no epoch has ended yet, so there is little to judge"
    return "nothing looks wrong"


def _page(
    config: Config, parts: Parts, folder: RunFolder, record: RunRecord, findings: list[dict[str, Any]]
) -> str:
    """Return the page of a run; findings: as in findings.json."""
    step, splits = parts.step, parts.splits
    names = splits.names if splits.train.labels.ndim == 1 else []
    shown = splits.val if len(splits.val) else splits.train
    page = RunPage(
        folder=folder.path,
        findings=findings,
        without_findings=_without_findings(record, folder),
        record=record,
        histograms=read_rows(folder.path / file_names.HISTOGRAMS),
        splits=splits,
        command=equivalent_command(config, Choices()),
        settings=stored_config.to_yaml(config),
        drawn=maps_and_patches(step.network, step.preprocess, shown, names),
    )
    return page.html()
