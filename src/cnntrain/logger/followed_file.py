"""A file of JSON lines that another process is writing."""

from __future__ import annotations

import json
from pathlib import Path

from ..runs.metrics_file import Row


class FollowedFile:
    """The rows of a file of JSON lines, which may not exist yet."""

    def __init__(self, path: Path):
        self._path = path
        self._offset = 0

    def new_rows(self) -> list[Row]:
        """Return the whole rows since the last call; a line that is being written is left for the next."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().rpartition(b"\n")[0]
        self._offset += len(lines) + 1 if lines else 0
        return [json.loads(line) for line in lines.splitlines()]
