"""What every destination of metrics has."""

from __future__ import annotations

from typing import Any, Protocol

# One record: metric names, as slash paths, with their values.
Row = dict[str, Any]


class Sink(Protocol):
    """A destination of records."""

    def write(self, row: Row) -> None:
        """Take one record; its numbers are finite, or None."""

    def close(self) -> None:
        """Flush and end."""
