"""Checkpoints: written atomically, verified when read, with the previous one as a backup.

A checkpoint is an ordinary torch file of plain types and tensors, readable by
`torch.load(path, weights_only=True)`. It is a zip archive whose comment is the SHA-256 of everything before
it, so that a flipped bit anywhere is detected before the content is used.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, first_line
from .atomic_write import atomic_write
from .checkpoint_schema import RunState, TrainedState, check_state
from .file_names import BEST, LAST, PREVIOUS

FORMAT = 2
LABEL = b"cnntrain sha256 "
COMMENT_LENGTH = len(LABEL) + 64

State = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: last.pt, the one before it as previous.pt, and best.pt."""

    def __init__(self, folder: Path):
        self.folder = folder

    def exist(self) -> bool:
        """Return whether there is a checkpoint to continue from."""
        return any((self.folder / name).exists() for name in (LAST, PREVIOUS))

    def make(self) -> None:
        """Create the folder; raises DataError."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be created ({error.strerror})") from error

    def save_last(self, state: State) -> None:
        """Save `state` as the newest checkpoint, last.pt; the one it replaces becomes previous.pt."""
        last = self.folder / LAST
        with atomic_write(last, before=lambda: _back_up(last, self.folder / PREVIOUS)) as temporary:
            _write(temporary, state)

    def save_best(self, state: State) -> None:
        """Save `state` as the checkpoint of the best epoch, best.pt."""
        with atomic_write(self.folder / BEST) as temporary:
            _write(temporary, state)

    def save_epoch(self, state: State, epoch: int) -> None:
        """Save `state` as a checkpoint that later epochs do not replace."""
        with atomic_write(self.folder / f"epoch-{epoch:04d}.pt") as temporary:
            _write(temporary, state)

    def load_last(self) -> tuple[State, str | None]:
        """Return the newest undamaged checkpoint, and a warning if that is previous.pt.

        Raises DataError if there is none.
        """
        last, previous = self.folder / LAST, self.folder / PREVIOUS
        try:
            return read(last, RunState), None
        except DataError as damage:
            if not previous.exists():
                raise
            return read(previous, RunState), f"{damage}; continuing from {previous}"

    def load_best(self) -> State:
        """Return the checkpoint of the best epoch; raises DataError."""
        has_last, has_best = self.exist(), (self.folder / BEST).exists()
        if has_last and not has_best and self._has_best_epoch():
            raise DataError(f"{self.folder / BEST}: is missing; restore it, or start a new run")
        if has_last and not has_best:
            raise DataError(
                f"{self.folder.parent}: has no best weights yet, as no epoch has ended; let it finish one: "
                f"cnntrain {shlex.quote(f'run={self.folder.parent}')}"
            )
        return read(self.folder / BEST, TrainedState)

    def _has_best_epoch(self) -> bool:
        """Return whether the newest checkpoint knows of a best epoch."""
        return bool(self.load_last()[0]["progress"].get("best_epoch"))


def read(path: Path, schema: type | None = None) -> State:
    """Return a checkpoint's content after verifying its SHA-256, and its keys and types by a schema.

    Raises DataError naming the file.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such checkpoint; start a new run")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; remove or rename it")
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: is not a checkpoint of cnntrain ({first_line(error)})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: is a checkpoint of another version of cnntrain (format {FORMAT} expected)")
    if schema is not None:
        check_state(state, schema, str(path))
    return state


def digest(path: Path) -> str:
    """Return the SHA-256 that a checkpoint states of itself; raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(-COMMENT_LENGTH, os.SEEK_END)
            return file.read().removeprefix(LABEL).decode("ascii", "replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _write(path: Path, state: State) -> None:
    # An open file, as this context closes it (which frees its disk space) even if writing fails.
    with path.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
    with path.open("rb+") as file:
        # A zip archive ends with the two-byte length of its comment, which is still 0.
        file.seek(-2, os.SEEK_END)
        file.write(COMMENT_LENGTH.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.write(LABEL + digest.encode())


def _verify(path: Path) -> None:
    content_length = path.stat().st_size - COMMENT_LENGTH
    if content_length <= 0:
        raise DataError(f"{path}: is damaged: the file is truncated")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        remaining = content_length
        while remaining:
            block = file.read(min(remaining, 1 << 20))
            digest.update(block)
            remaining -= len(block)
        comment = file.read()
    if not comment.startswith(LABEL):
        raise DataError(f"{path}: is damaged or no checkpoint of cnntrain: it has no SHA-256")
    if comment != LABEL + digest.hexdigest().encode():
        raise DataError(f"{path}: is damaged: its content does not match its SHA-256")


def _back_up(path: Path, backup: Path) -> None:
    """Make `backup` a hard link to `path`, if it exists; at least one of the two exists at any time."""
    if not path.exists():
        return
    link = backup.with_name(f".{backup.name}.linking")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        path.replace(backup)
        return
    try:
        link.replace(backup)
    finally:
        # It is still there after an error, and where `backup` was a link to `path` already: a rename between
        # two links to one file does nothing.
        with suppress(OSError):
            link.unlink()
