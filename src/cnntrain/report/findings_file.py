"""findings.json, and findings as they are printed."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

from ..findings.remedy import Judged
from ..findings.replay import Replay
from ..metrics import DISPLAY, format_metric, value_of_error
from ..output_streams import print_labelled
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.metrics_file import finite


def write_findings_file(folder: Path, found: list[Judged]) -> list[dict[str, Any]]:
    """Write findings.json and return its content; raises DataError.

    Each finding has name, sentence, evidence, strength, try, and replay where its remedy was replayed.
    """
    content = [_content(one) for one in found]
    write_text(folder / file_names.FINDINGS, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content


def _content(judged: Judged) -> dict[str, Any]:
    finding, replay = judged.finding, judged.replay
    content: dict[str, Any] = {
        "name": finding.name,
        "sentence": finding.sentence,
        "evidence": finding.evidence,
        "strength": finding.strength,
        "try": judged.command,
    }
    if replay is not None:
        content["replay"] = {
            "gains": replay.gains,
            "updates": replay.updates,
            "start": replay.start,
            "errors_without": [finite(error) for error in replay.without],
            "errors_with": [finite(error) for error in replay.with_remedy],
            "sentence": _replay_sentence(replay),
        }
    return content


def _replay_sentence(replay: Replay) -> str:
    """Return what the replays of a remedy showed."""
    metric, _ = DISPLAY[replay.metric]
    before, after = (_metric(replay.metric, errors) for errors in (replay.without, replay.with_remedy))
    further = "further " if replay.trains_on else ""
    trained = f"over {len(replay.without)} seeds of {replay.updates} {further}updates from {replay.start}"
    verdict = "it gains" if replay.gains else "no gain beyond the noise of seeds"
    return f"{verdict} {trained}: validation {metric} {before} without it, {after} with it"


def _metric(metric: str, errors: list[float]) -> str:
    """Return the mean of a metric as it is printed, without its name, from its errors."""
    if not all(map(math.isfinite, errors)):
        return "diverged"
    return format_metric(metric, value_of_error(metric, statistics.fmean(errors))).split()[-1]


def print_findings(content: list[dict[str, Any]]) -> None:
    """Print each finding, the command to try, and what trying it showed."""
    for finding in content:
        replay = finding.get("replay")
        weak = "" if replay is None or replay["gains"] else "(not confirmed) "
        print_labelled([f"finding   {weak}{finding['sentence']}"])
        if finding["try"] is not None:
            print(f"try       {finding['try']}")
        if replay is not None:
            print_labelled([f"replayed  {replay['sentence']}"])
