"""Where job=predict writes to: a file of the user's, standard output, or a file in the run's folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..runs.file_names import BEST, CHECKPOINTS
from ..runs.unnamed_file import UnnamedFile, unnamed_file
from ..settings.fields import expanded
from ..settings.job_settings import Predict
from .image_sources import label_of
from .result_rows import Writable

STANDARD_OUTPUT = "-"
# How the tables begin, in CSV and in lines of JSON.
BEGINNINGS = (b"file,", b'{"file":')


@dataclass(frozen=True)
class Output:
    """The files of a prediction.

    file: of the table, None where its name follows from the images. folder and prefix: of that name. format:
    csv or jsonl. to_standard_output: whether the table is printed.
    """

    file: Path | None
    folder: Path
    prefix: str
    format: str
    to_standard_output: bool

    @classmethod
    def of(cls, run: Path, settings: Predict) -> Output:
        """Return where the settings say; raises DataError where a file cannot be written there."""
        to_standard_output = settings.file == STANDARD_OUTPUT
        file = expanded(settings.file) if settings.file and not to_standard_output else None
        if file is not None:
            _check(file, settings.file, settings.sheet is not False)
        ending = ".jsonl" if file is not None and file.suffix.lower() in (".jsonl", ".ndjson") else ".csv"
        folder, network = _folder_of(run)
        prefix = "-".join(part for part in ("predict", network, label_of(settings.images)) if part)
        return cls(file, folder, prefix, settings.format or ending[1:], to_standard_output)

    def path(self, digest: str) -> Path:
        """Return the path of the table; digest: a text that other images do not have."""
        return self.file or self.folder / f"{self.prefix}-{digest}.{self.format}"

    def sheet(self, digest: str) -> Path:
        """Return the path of the contact sheet, beside the table."""
        return _sheet_of(self.path(digest))

    @contextmanager
    def opened(self) -> Iterator[Writable]:
        """Yield what the table is written to; raises DataError."""
        if self.to_standard_output:
            yield sys.stdout
            return
        folder = self.folder if self.file is None else self.file.parent
        with unnamed_file(folder, self.file) as stream:
            yield stream

    def store(self, stream: Writable, digest: str) -> list[Path]:
        """Let the table appear; return its path, none if it was printed. Raises DataError."""
        if not isinstance(stream, UnnamedFile):
            return []
        stream.store(self.path(digest))
        return [self.path(digest)]


def _folder_of(run: Path) -> tuple[Path, str]:
    """Return the folder that belongs to a network, and the network's name if it is one of several in it."""
    if not run.is_file():
        return run, ""
    in_run = run.parent.name == CHECKPOINTS
    return run.parent.parent if in_run else run.parent, "" if in_run and run.name == BEST else run.stem


def _check(file: Path, written: str, has_sheet: bool) -> None:
    """Raise DataError for the name of something that a table, or the sheet beside it, must not replace.

    Only an earlier prediction is replaced, with its sheet.
    """
    if file.is_dir():
        raise DataError(f"predict.file={written}: is a folder; name a file in it")
    if not file.parent.is_dir():
        raise DataError(f"predict.file={written}: there is no folder {file.parent}; make it, or name another")
    if file.exists() and not file.is_file():
        raise DataError(f"predict.file={written}: is no regular file; write - for standard output")
    if not _may_be_replaced(file):
        raise DataError(f"predict.file={written}: exists, and is no earlier prediction; name another file")
    sheet = _sheet_of(file)
    if has_sheet and sheet.exists() and not file.exists():
        raise DataError(
            f"predict.file={written}: the sheet would replace {sheet}; name another file, or write "
            "predict.sheet=false"
        )


def _may_be_replaced(file: Path) -> bool:
    """Return whether a file is missing, empty, or begins like the tables of job=predict; raises DataError."""
    try:
        with file.open("rb") as stream:
            beginning = stream.read(max(map(len, BEGINNINGS)))
    except FileNotFoundError:
        return True
    except OSError as error:
        raise DataError(f"predict.file={file}: cannot be read ({error.strerror})") from error
    return not beginning or beginning.startswith(BEGINNINGS)


def _sheet_of(table: Path) -> Path:
    return table.with_name(f"{table.stem}-sheet.png")
