"""Which images predict.images names, found one after the other: files, arrays, names on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import cast

from torch import Tensor

from ..data.archive import is_archive
from ..data.folder_scan import EXTENSIONS, NoImage, images_and_others_below, is_image_name
from ..data.npz_stream import identity, stream_images
from ..errors import DataError
from ..machine_errors import remedy
from ..settings.fields import expanded, shorten

STANDARD_INPUT = "-"
# Bytes that are read from it at once, if there are so many.
CHUNK = 1 << 16


@dataclass(frozen=True)
class Source:
    """One image: its file, or its pixels uint8 (H, W, C) where it is part of a file of arrays.

    name: as in the results; of a file whose name is not UTF-8, as os.fsdecode returns it. version: a text
    that differs when the file was replaced. no_image: why it cannot be read, if that is known already.
    """

    name: str
    pixels: Tensor | None = None
    version: str = ""
    no_image: str | None = None


def find_images(where: str) -> Iterator[Source]:
    """Yield the images that predict.images names; raises DataError where there is none.

    where: an image file, a folder with all its subfolders, a pattern with *, an .npz file, or "-" for the
    names of files on standard input, one a line, or each with a NUL character behind it.
    """
    found = _found(where)
    first = next(found, None)
    if first is None:
        raise DataError(f"predict.images={shorten(where)}: {_why_none(where)}")
    return chain([first], found)


def label_of(where: str) -> str:
    """Return a short name of what predict.images names, for the names of files."""
    if where == STANDARD_INPUT:
        return "stdin"
    parts = [part for part in Path(where).parts if not set(part) & set("*?[]") and part not in ("/", "..")]
    stem = Path(parts[-1]).stem if parts else "images"
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in stem)[:60]


def _found(where: str) -> Iterator[Source]:
    path = expanded(where)
    if where == STANDARD_INPUT:
        return _listed()
    if os.path.isdir(path):
        return _of_folder(path)
    if not os.path.exists(path):
        return _matching(where)
    if not os.access(path, os.R_OK):
        raise DataError(
            f"predict.images={where}: cannot be read (Permission denied); change its access rights"
        )
    if path.suffix.lower() == ".npz":
        version = identity(path)
        return (Source(name, pixels, version) for name, pixels in stream_images(path))
    if is_archive(path):
        raise DataError(f"predict.images={where}: is an archive; unpack it and name its folder")
    return iter([_of_file(str(path))])


def _matching(pattern: str) -> Iterator[Source]:
    """Yield the images that a pattern matches, those in the folders that it matches among them."""
    folders: dict[str, str] = {}  # each by the first of its paths: links to folders above have many
    for match in sorted(glob.glob(str(expanded(pattern)), recursive=True)):
        folder = os.path.dirname(match)
        if folders.setdefault(os.path.realpath(folder), folder) != folder:
            continue
        if os.path.isdir(match):
            if "**" not in pattern:  # which matches the files of its folders, too
                yield from _of_folder(Path(match))
        elif is_image_name(os.path.basename(match)):
            yield _of_file(match)


def _of_folder(folder: Path) -> Iterator[Source]:
    for found in images_and_others_below(folder):
        yield Source(found.path, no_image=found.reason) if isinstance(found, NoImage) else _of_file(found)


def _listed() -> Iterator[Source]:
    """Yield the images whose names are on standard input."""
    if sys.stdin is None:  # closed
        return
    try:
        yield from map(_of_file, names_in(cast(BufferedIOBase, sys.stdin.buffer)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"predict.images=-: standard input cannot be read ({reason})") from error


def names_in(stream: BufferedIOBase) -> Iterator[str]:
    """Yield the names of files in a stream, each as soon as it is there, as os.fsdecode returns them.

    They are lines, or end with NUL characters, as `find -print0` and `ls --zero` write them: the latter if
    there is one in what is read at first.
    """
    separator, rest = b"", b""
    while chunk := stream.read1(CHUNK):
        rest += chunk
        separator = separator or (b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b"")
        if separator:
            *whole, rest = rest.split(separator)
            yield from _names(whole, separator)
    yield from _names([rest], separator)


def _names(entries: list[bytes], separator: bytes) -> Iterator[str]:
    """Yield the names that are not empty, lines without the line ends of Windows."""
    for entry in entries:
        if name := entry if separator == b"\0" else entry.rstrip(b"\r"):
            yield os.fsdecode(name)


def _of_file(path: str) -> Source:
    return Source(path, version=identity(Path(path)))


def _why_none(where: str) -> str:
    if where == STANDARD_INPUT:
        return "standard input has no names; write one a line, as find photos -name '*.jpg' does"
    if os.path.isdir(expanded(where)):
        return f"holds no images ({' '.join(EXTENSIONS)})"
    if glob.has_magic(where):
        return "matches no images; put the pattern into quotes, and see that it is relative to this folder"
    try:
        os.stat(expanded(where))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            return f"cannot be read ({error.strerror}); {remedy(error)}"
    except ValueError:
        pass  # a NUL character
    return (
        "does not exist; name an image, a folder, a pattern in quotes, an .npz file, or - for standard input"
    )
