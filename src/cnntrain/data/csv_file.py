"""CSV files: their columns and cells, with everything that is wrong in them said at once, line by line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError

DELIMITERS = (",", ";", "\t")
MAX_NAMED = 10


@dataclass
class LineProblems:
    """What is wrong in the lines of a file.

    found: (line, what is wrong). remedies: said once, after the lines.
    """

    file: Path
    found: list[tuple[int, str]] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def add(self, line: int, problem: str, remedy: str | None = None) -> None:
        """Add a problem of a line, and what to do about all of its kind."""
        self.found.append((line, problem))
        if remedy is not None and remedy not in self.remedies:
            self.remedies.append(remedy)

    def check(self) -> None:
        """Raise DataError if there are problems, naming the first ten and counting the rest."""
        if not self.found:
            return
        found = sorted(self.found, key=lambda problem: problem[0])
        if len(found) == 1:
            line, problem = found[0]
            raise DataError("; ".join([f"{self.file}, line {line}: {problem}", *self.remedies]))
        lines = [f"line {line}: {problem}" for line, problem in found[:MAX_NAMED]]
        if len(found) > MAX_NAMED:
            lines.append(f"and {len(found) - MAX_NAMED} more")
        heading = "; ".join([f"{self.file}: {len(found)} problems", *self.remedies])
        raise DataError("\n  ".join([f"{heading}:", *lines]))


@dataclass(frozen=True)
class CsvFile:
    """The content of a CSV file, without spaces around cells.

    columns: the names in its first line. rows: the line number and the cells of each other line.
    """

    file: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]


def read_csv(file: Path, problems: LineProblems) -> CsvFile:
    """Return the cells of a CSV file in UTF-8, with or without BOM, separated by commas, semicolons or tabs.

    Empty lines are left out, and those with another number of cells than the first, as problems. Raises
    DataError where the file cannot be read.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); write data.csv=FILE") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text; save it as CSV in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    rows = []
    try:
        columns = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(columns):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
            else:
                problems.add(reader.line_num, f"has {len(cells)} cells, the first line {len(columns)}")
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: is no CSV ({error})") from error
    return CsvFile(file, columns, rows)


def _delimiter(text: str) -> str:
    """Return the delimiter that is most frequent in the first line outside of quotes, a comma if none is."""
    unquoted = "".join(text.split("\n", 1)[0].split('"')[::2])
    return max(DELIMITERS, key=unquoted.count)
