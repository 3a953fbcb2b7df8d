"""Images as files, or as members of tar files, by their paths: content, size and time of change."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from typing import Any


class TarMember(str):
    """The path of a member of a tar file, FILE.tar/MEMBER, which knows where its bytes lie in the file."""

    file: str
    offset: int
    size: int

    def __new__(cls, file: str, member: str, offset: int, size: int) -> TarMember:
        path = super().__new__(cls, f"{file}/{member}")
        path.file, path.offset, path.size = file, offset, size
        return path

    def __reduce__(self) -> Any:
        return type(self), (self.file, self[len(self.file) + 1 :], self.offset, self.size)


def content_of(path: str) -> bytes:
    """Return the content of an image; raises ValueError where its file is a pipe or a device, OSError."""
    if isinstance(path, TarMember):
        with open(path.file, "rb") as file:
            file.seek(path.offset)
            return file.read(path.size)
    check_regular(path)
    with open(path, "rb") as file:
        return file.read()


def to_open(path: str | BytesIO) -> str | BytesIO:
    """Return what Pillow opens: what it is given, or the content of a member of a tar file."""
    return BytesIO(content_of(path)) if isinstance(path, TarMember) else path


def size_of(path: str) -> int:
    """Return the bytes of an image; raises OSError."""
    return path.size if isinstance(path, TarMember) else os.path.getsize(path)


def changed_at(path: str) -> int:
    """Return when the file of an image was changed, in ns; raises OSError."""
    return os.stat(path.file if isinstance(path, TarMember) else path).st_mtime_ns


def check_regular(path: str) -> None:
    """Raise ValueError for a pipe or a device, which would be waited for."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
