"""A command that torchrun has started in several processes: rank 0 runs it, the others follow."""

from __future__ import annotations

from collections.abc import Callable

from ..training.process_place import Place
from .follower import follow
from .processes import started_by_torchrun


def run_with_others(here: Place, run: Callable[[], int]) -> int:
    """Run the command in rank 0, follow it in the others; return the exit code, which is the same in all."""
    if here.rank > 0:
        return follow(here)
    meeting = started_by_torchrun(here).meeting
    exit_code = 1
    try:
        exit_code = run()
    finally:
        meeting.end(exit_code)
    return exit_code
