"""A stopwatch for parts within parts: every moment belongs to the innermost part that is running."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from .clocks import Clock


class Stopwatch:
    """Times named parts; the seconds of all of them add up to the time from the first moment to the last.

    outside: the name of the time that is in no part.
    """

    def __init__(self, clock: Clock, outside: Hashable):
        self._clock = clock
        self._running: list[Hashable] = [outside]
        # What begins at each moment.
        self._moments: list[tuple[Any, Hashable]] = []
        self._undivided = 0

    def enter(self, part: Hashable) -> None:
        """Begin a part within the one that is running."""
        self._running.append(part)
        self._moments.append((self._clock.mark(), part))

    def leave(self) -> None:
        """End the innermost part."""
        self._running.pop()
        self._moments.append((self._clock.mark(), self._running[-1]))

    def go_over_to(self, part: Hashable) -> None:
        """End the innermost part, and begin another in its place."""
        self._running[-1] = part
        self._moments.append((self._clock.mark(), part))

    @contextmanager
    def around(self, part: Hashable) -> Iterator[None]:
        """Time a part, unless an undivided one is running."""
        if self._undivided:
            yield
            return
        depth = len(self._running)
        self.enter(part)
        try:
            yield
        finally:
            del self._running[depth + 1 :]  # parts that an exception has left
            self.leave()

    @contextmanager
    def around_undivided(self, part: Hashable) -> Iterator[None]:
        """Time a part with all that is in it."""
        with self.around(part):
            self._undivided += 1
            try:
                yield
            finally:
                self._undivided -= 1

    def is_in(self, part: Hashable) -> bool:
        """Return whether a part is running, inside an undivided one not."""
        return not self._undivided and part in self._running

    def seconds(self) -> dict[Hashable, float]:
        """Return the seconds of each part, those of the parts within it not included."""
        total: dict[Hashable, float] = defaultdict(float)
        for (first, part), (last, _) in itertools.pairwise(self._moments):
            total[part] += self._clock.seconds(first, last)
        return dict(total)
