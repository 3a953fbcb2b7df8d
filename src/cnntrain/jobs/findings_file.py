"""findings.json, and findings as they are printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..config.pipeline import configure
from ..errors import UserError
from ..findings.finding import Finding
from ..output_streams import print_labelled
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..settings.config_tree import Config


def write_findings_file(folder: Path, config: Config, findings: list[Finding]) -> list[dict[str, Any]]:
    """Write findings.json and return its content: name, sentence, evidence, strength, try; raises DataError.

    config: that which commands to try start from.
    """
    content: list[dict[str, Any]] = [
        {
            "name": finding.name,
            "sentence": finding.sentence,
            "evidence": finding.evidence,
            "strength": finding.strength,
            "try": try_command(config, finding),
        }
        for finding in findings
    ]
    write_text(folder / file_names.FINDINGS, json.dumps(content, indent=2) + "\n")
    return content


def print_findings(content: list[dict[str, Any]]) -> None:
    """Print each finding and the command to try."""
    for finding in content:
        print_labelled([f"finding   {finding['sentence']}"])
        if finding["try"] is not None:
            print(f"try       {finding['try']}")


def try_command(config: Config, finding: Finding) -> str | None:
    """Return the command that tries what a finding suggests, None where there is none or it is refused."""
    if not finding.changes:
        return None
    choices = Choices()
    command = equivalent_command(config, choices, finding.changes)
    try:
        configure(shlex.split(command)[1:], choices)
    except UserError:
        return None
    return command
