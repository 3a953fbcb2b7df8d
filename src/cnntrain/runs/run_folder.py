"""The folder of a run: created exclusively, locked while a process uses it."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DataError
from . import file_names
from .atomic_write import PARTIAL_FILES, write_text
from .checkpoint import Checkpoints
from .folder_lock import FolderLock
from .metrics_file import Recorder, finite


class RunFolder:
    """The files of one run; generated: whether its path was generated, outputs/DATE/TIME by default."""

    def __init__(self, path: Path, generated: bool = False):
        self.path = path
        self.generated = generated
        self.config = path / file_names.CONFIG
        self.metrics = path / file_names.METRICS
        self.summary = path / file_names.SUMMARY
        self.error = path / file_names.ERROR
        self.checkpoints = Checkpoints(path / file_names.CHECKPOINTS)
        self._discarded = False
        # What lay in the folder of a new run before it, and is not the run's to remove.
        self.others: set[str] = set()

    def recorder(self, keep_rows: int, every_steps: int) -> Recorder:
        """Return what writes metrics.jsonl, of which the first `keep_rows` rows are kept."""
        return Recorder(self.metrics, keep_rows, every_steps)

    def read_summary(self) -> dict[str, Any] | None:
        """Return the summary, or None if the run has not written one; raises DataError."""
        if not self.summary.exists():
            return None
        try:
            content = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.summary}: cannot be read ({reason}); remove it and continue") from error
        return content if isinstance(content, dict) else None

    def has_trained(self) -> bool:
        """Return whether a step was recorded or a summary written, which follow a first checkpoint."""
        recorded = self.metrics.is_file() and self.metrics.stat().st_size > 0
        return recorded or (self.read_summary() or {}).get("status") == "finished"

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the summary atomically; non-finite numbers become null."""
        summary = {name: finite(value) for name, value in summary.items()}
        write_text(self.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def write_unreadable(self, files: Iterable[tuple[str, str]]) -> None:
        """Write the paths of images that are left out, with the reason of each, if there are any."""
        lines = [f"{path}: {reason}\n" for path, reason in sorted(files)]
        if lines:
            write_text(self.path / file_names.UNREADABLE, "".join(lines))

    def _remove_partial_files(self) -> None:
        """Remove files that a killed process was writing."""
        for folder in (self.path, self.checkpoints.folder):
            for pattern in PARTIAL_FILES:
                for file in folder.glob(pattern):
                    with suppress(OSError):
                        file.unlink()

    def discard(self) -> None:
        """Remove the files of a run that did not start; `locked` then removes the folder if it is empty."""
        for name in set(file_names.BEFORE_TRAINING) - self.others:
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
        for name in (file_names.LOGGERS, file_names.TENSORBOARD):
            shutil.rmtree(self.path / name, ignore_errors=True)
        shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
        self._discarded = True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process; raises InUse naming the process that holds the lock."""
        lock = FolderLock(self.path)
        lock.acquire()
        try:
            self._remove_partial_files()
            yield
        finally:
            lock.release(remove=self._discarded)
            if self._discarded:
                remove_if_empty(self.path, self.generated)


def create(path: Path, named_by_user: bool, with_checkpoints: bool = True) -> RunFolder:
    """Return a new folder for a run; raises DataError if it holds a run already or is not writable."""
    folder = RunFolder(create_folder(path, named_by_user), generated=not named_by_user)
    if (path / file_names.SWEEP_FILE).exists() or (path / file_names.HYDRA_SWEEP).exists():
        raise DataError(f"{path}: is the folder of a sweep; name another one")
    if folder.config.exists():
        raise DataError(
            f"{path}: already holds a run; continue it with {run_override(path)}, or name another folder"
        )
    folder.others = {entry.name for entry in path.iterdir()} if named_by_user else set()
    if with_checkpoints:
        folder.checkpoints.make()
    return folder


def run_override(path: Path) -> str:
    """Return the override that names the folder of a run, quoted for a shell."""
    return shlex.quote(f"run={path}")


def create_folder(path: Path, named_by_user: bool) -> Path:
    """Create a folder and return its path.

    A path given by the user may be an existing folder; a generated one (the time) gets a number if it exists:
    path-2, path-3, … Raises DataError if the folder cannot be created.
    """
    try:
        if named_by_user:
            path.mkdir(parents=True, exist_ok=True)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
            with suppress(FileExistsError):
                candidate.mkdir()
                return candidate
    except OSError as error:
        raise DataError(f"{path}: cannot be created ({error.strerror}); name another folder") from error
    raise AssertionError("itertools.count does not end")


def remove_if_empty(path: Path, generated: bool) -> None:
    """Remove an empty folder, and if its path was generated, the folders above that are empty then."""
    folders = [path, path.parent, path.parent.parent] if generated else [path]
    with suppress(OSError):  # the first that is not empty
        for folder in folders:
            folder.rmdir()
