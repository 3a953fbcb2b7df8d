"""The part of a batch, or of a sequence of batches, that one of several processes takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of process `rank` of `count`: contiguous, and by one larger than another at most."""

    rank: int = 0
    count: int = 1

    def of(self, number: int) -> slice:
        """Return the own part of so many images or batches."""
        return slice(self.rank * number // self.count, (self.rank + 1) * number // self.count)


# Of a process that trains alone.
WHOLE = Share()
