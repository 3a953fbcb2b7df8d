"""Atomic writes: a file is written under a temporary name, flushed to disk, then renamed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DataError
from ..machine_errors import ReaderDied, machine_error

# Names of files that are not complete: those being written, and links that are not yet renamed.
PARTIAL_FILES = (".*.writing", ".*.linking")


@contextmanager
def atomic_write(path: Path, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield a temporary file to write; on success call `before`, then rename it to `path`.

    Raises DataError if writing fails; `path` is then unchanged and the temporary file removed.
    """
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        if isinstance(machine_error(error), ReaderDied):
            raise  # torch says so in whatever code is running
        if path.is_dir():
            raise DataError(f"{path}: is a folder; remove or rename it") from error
        # torch.save reports a full disk as a RuntimeError about its archive.
        reason = "the disk is full" if _is_full(path.parent) else getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: could not be written ({reason}); free space or make the folder writable, then try again"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 1 << 20
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; raises DataError."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, on systems that support it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
