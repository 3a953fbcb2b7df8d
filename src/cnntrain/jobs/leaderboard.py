"""job=leaderboard: the ranking of a sweep's jobs, while it runs or afterwards (H6)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..errors import DataError
from ..report.leaderboard import leaderboard_csv, leaderboard_lines
from ..runs.atomic_write import write_text
from ..runs.status import OPEN, PAUSED
from ..runs.sweep_folder import ENDED, SweepFolder
from ..runs.sweep_ranking import leaderboard

FILE = "leaderboard.csv"
MAX_PRINTED = 20


def print_leaderboard(path: Path) -> None:
    """Print the best jobs of the sweep in a folder and write all to leaderboard.csv; raises DataError."""
    folder = SweepFolder(path)
    jobs = folder.jobs()
    if not jobs:
        raise DataError(f"run={path}: has no jobs yet")
    entries = leaderboard(jobs)
    write_text(path / FILE, leaderboard_csv(entries))
    print("\n".join(leaderboard_lines(entries, MAX_PRINTED)))
    ended = (*ENDED, PAUSED)
    counts = Counter(
        record.status if record.status in ended else "running" if folder.is_running(name) else OPEN
        for name, record in jobs.items()
    )
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"\n{path}: {len(jobs)} jobs, {states}; {FILE}")
    best = next((entry for entry in entries if entry.values), None)
    if best is not None:
        print(f"best      cnntrain job=evaluate run={path / best.jobs[0]}")
