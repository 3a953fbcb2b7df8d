"""What a finding is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Symptoms that nearly every cause has: a poor result, and units that do not work.
POOR_RESULT = (
    *("not learning", "underfitting", "class never predicted", "stopped too early", "oscillating"),
    *("stuck after a fast fall", "plateau early"),
)
SICK_UNITS = ("dead units", "saturated units")


@dataclass(frozen=True)
class Finding:
    """One thing that went wrong in a run or could be better.

    name: that of its kind. sentence: for a reader who does not know the term. evidence: the numbers it
    rests on, by name. strength: from 0 to 1, how sure the evidence makes it. changes: setting or group →
    value, what to try. explains: names of other findings that are symptoms of this one.
    """

    name: str
    sentence: str
    evidence: dict[str, Any]
    strength: float
    changes: dict[str, Any] = field(default_factory=dict)
    explains: tuple[str, ...] = ()
