"""A text file without a name while it is written, so that nothing is left of it unless it is stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ..errors import DataError
from ..machine_errors import remedy
from .atomic_write import atomic_write


class UnnamedFile:
    """Text on the way to a file of a folder; names that are not UTF-8 are written with escapes.

    path: of the file or of its folder, for messages.
    """

    def __init__(self, binary: IO[bytes], path: Path):
        self._binary = binary
        self._path = path
        self._text = TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")

    def write(self, text: str) -> int:
        """Write text; raises DataError."""
        try:
            return self._text.write(text)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def store(self, path: Path) -> None:
        """Let the file appear, whole, under its name; raises DataError."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            self._text.seek(0)
            shutil.copyfileobj(self._binary, file)

    def close(self) -> None:
        with suppress(OSError):  # as of a full disk, which was said before
            self._text.close()


@contextmanager
def unnamed_file(folder: Path, path: Path | None = None) -> Iterator[UnnamedFile]:
    """Yield a file to write in a folder; raises DataError naming `path`, that of the file, or the folder."""
    try:
        binary = TemporaryFile(dir=folder)  # noqa: SIM115 - closed below, where errors are left out
    except OSError as error:
        raise _unwritable(path or folder, error) from error
    file = UnnamedFile(binary, path or folder)
    try:
        yield file
    finally:
        file.close()


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: could not be written ({error.strerror}); {remedy(error)}, then try again")
