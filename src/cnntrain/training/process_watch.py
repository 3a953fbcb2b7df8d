"""Ends a process whose partner is gone while it waits for it in a library."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

# Seconds between two looks, and those in which a broken connection usually ends the process before.
LOOK, GRACE = 0.5, 10.0


class Watch:
    """Looks in a thread whether the partners of this process are there.

    gone: returns what is to be said of one that is not, "" to say nothing; None while all are there.
    """

    def __init__(self, gone: Callable[[], str | None]):
        self.gone = gone
        self._over = threading.Event()
        threading.Thread(target=self._run, name="process watch", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(LOOK):
            if (message := self.gone()) is not None:
                if self._over.wait(GRACE):
                    return
                if message:
                    print(f"cnntrain: {message}", file=sys.stderr, flush=True)
                os._exit(1)
