"""The result of one check, as printed and stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import CheckFailed


@dataclass(frozen=True)
class CheckResult:
    """What a check found: one sentence with the numbers, and for a failed check what to do.

    passed: None where the check does not apply. details: numbers for check.json and data.json, in JSON types.
    warns: whether a check that passed found something that a user should look at.
    """

    name: str
    passed: bool | None
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)
    warns: bool = False

    @property
    def mark(self) -> str:
        """The sign before the line: ✓ passed, ! passed with a warning, ✗ failed, – does not apply."""
        return "!" if self.warns else {True: "✓", False: "✗", None: "–"}[self.passed]

    def line(self) -> str:
        """Return the line of the table."""
        return f"{self.mark} {self.name:<21} {self.sentence}"


def passed_line(results: list[CheckResult]) -> str:
    """Return a line on checks of which none failed; raises CheckFailed with the names of those that did."""
    failed = [result.name for result in results if result.passed is False]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")
    warned = [result.name for result in results if result.warns]
    warnings = f", with a warning: {', '.join(warned)}" if warned else ""
    return f"none of {len(results)} checks failed{warnings}"


def warning(name: str, sentence: str, details: dict[str, Any] | None = None) -> CheckResult:
    """Return the result of a check that passed, but found something to look at."""
    return CheckResult(name, True, sentence, details or {}, warns=True)
