"""All findings of a run: every rule is asked, symptoms are folded into their causes, strongest first."""

from __future__ import annotations

from . import course, generalization, optimization, resources, signals
from .finding import Finding
from .run_record import RunRecord

RULES = (*signals.RULES, *optimization.RULES, *course.RULES, *generalization.RULES, *resources.RULES)


def findings_of(run: RunRecord) -> list[Finding]:
    """Return the findings of a run, strongest first; none for a healthy one.

    A finding that another one explains is left out, unless both explain each other: then the stronger stays.
    """
    found = [finding for rule in RULES if (finding := rule(run)) is not None]
    found.sort(key=lambda finding: finding.strength, reverse=True)
    kept: list[Finding] = []
    for finding in found:
        by_stronger = any(finding.name in cause.explains for cause in kept)
        by_others = any(
            finding.name in cause.explains and cause.name not in finding.explains
            for cause in found
            if cause is not finding
        )
        if not (by_stronger or by_others):
            kept.append(finding)
    return kept
