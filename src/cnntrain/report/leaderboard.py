"""The ranking of a sweep's jobs as a table and as CSV."""

from __future__ import annotations

import csv
import io

from ..metrics import DISPLAY
from ..runs.sweep_ranking import Entry
from ..settings.fields import shorten

MAX_REASON = 60


def leaderboard_lines(entries: list[Entry], limit: int | None = None) -> list[str]:
    """Return the entries in aligned columns, under their names; limit: how many at most."""
    shown = entries[:limit]
    keys = list(dict.fromkeys(key for entry in entries for key in entry.settings))
    rows = [["", _metric_name(entries), "seeds", "epochs", *keys, "jobs", "status"]]
    for rank, entry in enumerate(shown, 1):
        rows.append(
            [
                str(rank),
                entry.result(),
                str(len(entry.values)),
                str(entry.epochs),
                *(entry.settings.get(key, "default") for key in keys),
                " ".join(entry.jobs),
                _status(entry),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(entries) - len(shown)
    return [*lines, *([f"… and {more} more"] if more else [])]


def leaderboard_csv(entries: list[Entry]) -> str:
    """Return the entries as CSV, numbers with all their digits."""
    keys = list(dict.fromkeys(key for entry in entries for key in entry.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "metric", "mean", "deviation", "seeds", "epochs", *keys, "jobs", "status"])
    for rank, entry in enumerate(entries, 1):
        numbers = ["" if value is None else repr(value) for value in (entry.mean, entry.deviation)]
        values = [entry.settings.get(key, "") for key in keys]
        counts = [len(entry.values), entry.epochs]
        writer.writerow(
            [rank, entry.metric or "", *numbers, *counts, *values, " ".join(entry.jobs), entry.status]
        )
    return text.getvalue()


def _metric_name(entries: list[Entry]) -> str:
    metric = next((entry.metric for entry in entries if entry.metric), None)
    return "objective" if metric is None else f"val {DISPLAY[metric][0]}"


def _status(entry: Entry) -> str:
    reason = (
        entry.reason.removeprefix(f"{entry.status} ").removeprefix(f"{entry.status}: ").partition(". ")[0]
    )
    return f"{entry.status}: {shorten(reason, MAX_REASON)}" if reason else entry.status
