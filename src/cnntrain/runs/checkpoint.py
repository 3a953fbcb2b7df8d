"""Checkpoints: written whole or not at all, verified when read, an older one kept in reserve.

A checkpoint is an ordinary torch file of plain types and tensors, readable by
`torch.load(path, weights_only=True)`. Being a zip archive it can carry a comment; the comment is the
SHA-256 of all that precedes it, so that a flipped bit anywhere is found before anything is used.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .atomic_write import atomic_write
from .layout import BEST, LAST, PREVIOUS

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

    def save_last(self, state: State) -> None:
        """Make `state` the newest checkpoint; the one it replaces stays as previous.pt."""
        last = self.folder / LAST
        with atomic_write(last, before=lambda: _keep(last, self.folder / PREVIOUS)) as temporary:
            _write(temporary, state)

    def save_best(self, state: State) -> None:
        """Make `state` the checkpoint of the best epoch."""
        with atomic_write(self.folder / BEST) as temporary:
            _write(temporary, state)

    def load_last(self) -> tuple[State, str | None]:
        """Return the newest undamaged checkpoint, and a warning where that is the older one.

        Raises DataError where there is none.
        """
        last, previous = self.folder / LAST, self.folder / PREVIOUS
        try:
            return read(last), None
        except DataError as damage:
            if not previous.exists():
                raise
            return read(previous), f"{damage}; continuing from {previous}"

    def load_best(self) -> State:
        """Return the checkpoint of the best epoch; raises DataError."""
        return read(self.folder / BEST)


def read(path: Path) -> State:
    """Return a checkpoint's content after verifying its SHA-256; raises DataError naming the file."""
    if not path.exists():
        raise DataError(f"{path}: there is no such checkpoint; start the run anew")
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is not a checkpoint of cnntrain ({str(error).splitlines()[0]})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: is a checkpoint of another version of cnntrain (format {FORMAT} expected)")
    return state


def _write(path: Path, state: State) -> None:
    # Through a file of our own, which is closed (and its space free) whatever happens.
    with path.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
    with path.open("rb+") as file:
        # A zip archive ends with the two-byte length of its comment, 0 so far.
        file.seek(-2, os.SEEK_END)
        file.write(COMMENT_LENGTH.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(LABEL + digest.encode())


def _verify(path: Path) -> None:
    content_length = path.stat().st_size - COMMENT_LENGTH
    if content_length <= 0:
        raise DataError(f"{path}: is damaged: it ends too early")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = content_length
        while left:
            block = file.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
        comment = file.read()
    if not comment.startswith(LABEL):
        raise DataError(f"{path}: is damaged or no checkpoint of cnntrain: it carries no SHA-256")
    if comment != LABEL + digest.hexdigest().encode():
        raise DataError(f"{path}: is damaged: its content does not match its SHA-256")


def _keep(path: Path, reserve: Path) -> None:
    """Make `reserve` another name of `path`, if it exists, without a moment in which neither is there."""
    if not path.exists():
        return
    link = reserve.with_name(f".{reserve.name}.linking")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        path.replace(reserve)
        return
    link.replace(reserve)
