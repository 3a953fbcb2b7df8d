"""Findings confirmed by trying their remedies (report.confirm)."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import replace

from ..config.choice_files import Choices
from ..config.pipeline import configure
from ..errors import UserError
from ..runs.checkpoint import State
from ..settings.config_tree import Config
from ..settings.job_settings import Report
from .optimization import LEARNED
from .remedy import Judged
from .replay import Replay, Start, TooSlow, replay
from .run_record import RunRecord

# The strength of a finding whose remedy gained nothing, as a part of what it was.
UNCONFIRMED = 0.4
# Findings whose remedy takes a whole run, or is not measured by the validation error.
NOT_REPLAYED = (
    *("underfitting", "noisy first filters", "imbalance", "epochs without gain"),
    *("class never predicted", "some labels wrong", "waiting for data", "memory nearly full"),
)
# Groups that act on initial weights: a trained network does not tell what another choice would have made.
AT_THE_START = ("preprocessing", "model", "initialization", "loss")


def confirmed(
    record: RunRecord, found: list[Judged], settings: Report, trained: State | None
) -> list[Judged]:
    """Return the findings with what their remedies gained; those that gained nothing are weaker, and later.

    One whose remedy does harm is left out. trained: the checkpoint of the network that was judged. All
    replays together take at most about `settings.seconds`. A remedy that needs a whole run, that data or
    machine refuse, or for which time does not suffice, is not tried.
    """
    tried = [one for one in found if one.command is not None and one.finding.name not in NOT_REPLAYED]
    if not tried:
        return found
    print(
        f"replaying the remedies of {len(tried)} finding{'s'[: len(tried) > 1]}: {settings.updates} updates "
        f"with and without each, {settings.seeds} seeds, at most about {settings.seconds:g} s "
        "(report.confirm=false leaves it out)",
        flush=True,
    )
    until = time.perf_counter() + settings.seconds
    judged = []
    for one in found:
        if one not in tried:
            judged.append(one)
            continue
        seconds = max(0.0, until - time.perf_counter()) / (len(tried) - tried.index(one))
        result = _tried(record, one, settings, trained, seconds)
        if result is not None and result.harms:
            print(f"notice    {one.finding.name}: left out, as its remedy makes the error larger")
            continue
        weight = UNCONFIRMED if result is not None and not result.gains else 1.0
        finding = replace(one.finding, strength=round(weight * one.finding.strength, 4))
        judged.append(Judged(finding, one.command, result))
    return sorted(judged, key=lambda one: one.finding.strength, reverse=True)


def start_of(record: RunRecord, judged: Judged, remedy: Config, trained: State | None) -> Start:
    """Return where the replays of a remedy begin.

    From the trained network, unless the remedy acts on initial weights, or the network has learned nothing
    that training could go on from.
    """
    at_start = any(getattr(record.config, group) != getattr(remedy, group) for group in AT_THE_START)
    lost = _learned(record) < LEARNED and judged.finding.name != "stopped too early"
    if trained is None or at_start or lost or record.status == "diverged":
        return Start()
    return Start("the run's best network", trained)


def _learned(record: RunRecord) -> float:
    """Return how much of the way from chance to no error the best network itself has learned."""
    if record.plain_accuracy is None:
        return record.learned
    return (record.plain_accuracy - record.chance) / max(1e-9, 1 - record.chance)


def _tried(
    record: RunRecord, judged: Judged, settings: Report, trained: State | None, seconds: float
) -> Replay | None:
    """Return what the replays of a remedy showed; None, with a notice, where it cannot be tried."""
    assert judged.command is not None
    remedy = configure(shlex.split(judged.command)[1:], Choices()).config
    start, name = start_of(record, judged, remedy, trained), judged.finding.name
    try:
        return replay(record.config, remedy, settings.updates, settings.seeds, seconds, start)
    except UserError as error:
        print(f"notice    {name}: its remedy cannot be tried ({error})")
    except TooSlow as slow:
        enough = max(math.ceil(2 * slow.seconds), settings.seconds)
        print(
            f"notice    {name}: its remedy is not tried, as there is too little time; report.seconds={enough}"
        )
    return None
