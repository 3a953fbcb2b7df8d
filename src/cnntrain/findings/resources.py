"""Rules on the machine: waiting for images, and memory near its limit."""

from __future__ import annotations

import os
import statistics
from typing import Any

from .finding import Finding
from .run_record import Rule, RunRecord, finite

# A part of the training time that more processes or memory could save; shorter runs have nothing to gain.
MUCH_WAITING, LONG_ENOUGH = 0.4, 30.0
# The operating system needs the rest.
NEARLY_ALL = 0.92


def waiting_for_data(run: RunRecord) -> Finding | None:
    """Training waits for images that are read from files."""
    waits = finite(run.epochs, "data_wait")
    if (
        not waits
        or not run.evidence.get("images_in_files")
        or run.summary.get("wall_seconds", 0) < LONG_ENOUGH
    ):
        return None
    waiting = statistics.median(waits)
    if waiting < MUCH_WAITING:
        return None
    workers, cores = getattr(run.config.data, "workers", 0), os.cpu_count() or 1
    changes: dict[str, Any] = {"data.workers": cores} if workers < cores else {}
    return Finding(
        "waiting for data",
        f"Training waits for images {waiting:.0%} of its time, as they are read from files. More processes "
        "read faster (data.workers); images in memory need not be read (data.memory_limit_gb), and those in "
        "a cache are decoded already (data.cache=disk).",
        {"data_wait": waits, "workers": workers, "cores": cores},
        0.4,
        changes,
    )


def memory_nearly_full(run: RunRecord) -> Finding | None:
    """The process used nearly all the memory there is."""
    peak, limit = run.summary.get("peak_memory_gb"), run.summary.get("memory_gb")
    if not peak or not limit or peak < NEARLY_ALL * limit:
        return None
    batch = run.batch_size
    return Finding(
        "memory nearly full",
        f"Training used {peak:.1f} of {limit:.1f} GB of memory; a little more, and the system ends it. Halve "
        "the batch, with trainer.accumulate_steps=2 for the same updates.",
        {"peak_memory_gb": peak, "memory_gb": limit},
        0.4,
        {"data.batch_size": batch // 2, "trainer.accumulate_steps": 2 * run.config.trainer.accumulate_steps}
        if batch > 1
        else {},
    )


RULES: tuple[Rule, ...] = (waiting_for_data, memory_nearly_full)
