"""The result of one check, as printed and stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CheckResult:
    """What a check found: one sentence with the numbers, and for a failed check what to do.

    passed: None where the check does not apply. details: numbers for check.json, in JSON types.
    """

    name: str
    passed: bool | None
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the line of the table."""
        mark = {True: "✓", False: "✗", None: "–"}[self.passed]
        return f"{mark} {self.name:<21} {self.sentence}"
