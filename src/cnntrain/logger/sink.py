"""The interface of all destinations of metrics."""

from __future__ import annotations

from typing import Any, Protocol

# One record: metric names, such as val/loss, with their values.
Row = dict[str, Any]


class Sink(Protocol):
    """A destination of records."""

    def write(self, row: Row) -> None:
        """Write one record, whose numbers are finite or None; a histogram has the keys low, high, counts."""

    def close(self) -> None:
        """Flush and close."""
