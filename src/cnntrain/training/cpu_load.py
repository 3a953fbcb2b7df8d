"""How busy the machine's cores are with other processes. Imports no torch.

Threads of one operation wait for each other. On cores that other processes use, a thread waits for partners
that are not running, and a training of seconds takes minutes: with more threads than free cores, two runs of
the default network at once on two cores took five times as long as one (benchmarks/README.md).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

# How long an OpenMP thread polls for its partners before it sleeps, in iterations. GNU OpenMP's own 300 000
# occupy a core for longer than most of our operations take; this many cost nothing on idle cores.
SPIN_COUNT = "3000"
# Shorter than this, clock ticks of 10 ms say little.
MIN_SECONDS = 0.3


def limit_spinning() -> None:
    """Let OpenMP's threads poll for a shorter time, unless the user has set how they wait.

    Read when torch loads the OpenMP library, so this comes before torch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


class LoadMeter:
    """Measures how many cores other processes use, from one call of `others` to the next."""

    def __init__(self) -> None:
        self._last = _reading()

    def others(self) -> float:
        """Return how many cores other processes have used on average since the last call.

        0.0 where the system does not tell (Linux does), or where the last call was a moment ago.
        """
        before, now = self._last, _reading()
        self._last = now
        if before is None or now is None or now[0] - before[0] < MIN_SECONDS:
            return 0.0
        seconds, busy, own = (later - earlier for later, earlier in zip(now, before, strict=True))
        return max(0.0, (busy - own) / seconds)


def _reading() -> tuple[float, float, float] | None:
    """Return the time, and seconds for which cores were busy: all in all, and with this process."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, softirq = (int(ticks) for ticks in fields[:7])
    except (OSError, ValueError):
        return None
    own = os.times()
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system


# Begins to measure when the program starts.
LOAD = LoadMeter()
