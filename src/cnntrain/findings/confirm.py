"""Findings confirmed by trying their remedies (report.confirm)."""

from __future__ import annotations

import shlex
from dataclasses import replace

from ..config.choice_files import Choices
from ..config.pipeline import configure
from ..errors import UserError
from ..settings.config_tree import Config
from ..settings.job_settings import Report
from .remedy import Judged
from .replay import NOT_REPLAYED, replay

# The strength of a finding whose remedy gained nothing, as a part of what it was.
UNCONFIRMED = 0.4


def confirmed(config: Config, found: list[Judged], settings: Report) -> list[Judged]:
    """Return the findings with what their remedies gained; those that gained nothing are weaker, and later.

    One whose remedy does harm is left out.

    A remedy that needs a whole run, or that data or machine refuse, is not tried.
    """
    judged = []
    for one in found:
        if one.command is None or one.finding.name in NOT_REPLAYED:
            judged.append(one)
            continue
        print(
            f"replaying {one.finding.name}: {settings.updates} updates of {settings.seeds} seeds", flush=True
        )
        remedy = configure(shlex.split(one.command)[1:], Choices()).config
        try:
            result = replay(config, remedy, settings.updates, settings.seeds, settings.seconds)
        except UserError as error:
            print(f"notice    {one.finding.name}: its remedy cannot be tried ({error})")
            result = None
        if result is not None and result.harms:
            print(f"notice    {one.finding.name}: left out, as its remedy makes the error larger")
            continue
        weight = UNCONFIRMED if result is not None and not result.gains else 1.0
        finding = replace(one.finding, strength=round(weight * one.finding.strength, 4))
        judged.append(Judged(finding, one.command, result))
    return sorted(judged, key=lambda one: one.finding.strength, reverse=True)
