"""CPU load of other processes on the machine. Does not import torch.

Threads of one operation wait for each other. With more threads than free cores, a thread waits for others
that are not scheduled, and training that takes seconds takes minutes: two concurrent runs of the default
network on two cores took five times as long as one (docs/benchmarks.md).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

# Iterations for which an OpenMP thread polls for the others before it sleeps. GNU OpenMP's default of 300 000
# occupies a core for longer than most of our operations take; this number costs nothing on idle cores.
SPIN_COUNT = "3000"
THREADS = "OMP_NUM_THREADS"
# Over shorter intervals, clock ticks of 10 ms are too coarse.
MIN_SECONDS = 0.3


def limit_spinning() -> None:
    """Shorten the polling of OpenMP threads, unless the user has set their wait policy.

    The variable is read when torch loads the OpenMP library, so call this before importing torch.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def threads_of_environment() -> str | None:
    """Return OMP_NUM_THREADS where it is a number of threads, or a list of them by level of nesting."""
    text = os.environ.get(THREADS, "")
    parts = text.split(",")
    return text if all(part.strip().isdecimal() and int(part) > 0 for part in parts) else None


class LoadMeter:
    """Measures the number of cores used by other processes, between calls of `cores_of_others`."""

    def __init__(self) -> None:
        self._last = _cpu_times()

    def cores_of_others(self) -> float:
        """Return the mean number of cores used by other processes since the last call.

        0.0 if the system does not report it (Linux does), or within MIN_SECONDS of the last call.
        """
        before, now = self._last, _cpu_times()
        self._last = now
        if before is None or now is None or now[0] - before[0] < MIN_SECONDS:
            return 0.0
        seconds, busy, own = (later - earlier for later, earlier in zip(now, before, strict=True))
        return max(0.0, (busy - own) / seconds)


def _cpu_times() -> tuple[float, float, float] | None:
    """Return the time, the CPU seconds of all processes and those of this process; None if unavailable."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, softirq = (int(ticks) for ticks in fields[:7])
    except (OSError, ValueError):
        return None
    own = os.times()
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system


# Created at import, so measurement begins when the program starts.
LOAD = LoadMeter()
