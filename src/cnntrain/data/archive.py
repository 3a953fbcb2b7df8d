"""Archives of images, .zip or .tar, unpacked once into the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from ..errors import DataError
from ..settings.cache_folder import cache_folder
from ..settings.fields import expanded
from .folder_scan import holds_only_a_folder

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What an archive may have, unpacked; a small file can be made to hold any number of zeros.
MAX_BYTES = 200 * 10**9
MAX_FILES = 10**7
# The flag of an encrypted file in a zip archive.
ENCRYPTED = 1


def is_archive(path: Path) -> bool:
    """Return whether a path names an archive."""
    return path.name.lower().endswith(ENDINGS)


def folder_of(path: str) -> Path:
    """Return the folder of a path, that of an archive unpacked; raises DataError."""
    root = expanded(path)
    return unpacked(root) if is_archive(root) and not root.is_dir() else root


def unpacked(archive: Path) -> Path:
    """Return the folder with the content of an archive, below $XDG_CACHE_HOME/cnntrain or ~/.cache/cnntrain.

    It is unpacked if that was not done before; one that was changed is another one. A folder that alone lies
    in it is descended into. Raises DataError where the archive cannot be read or is not safe to unpack.
    """
    try:
        state = archive.stat()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror})") from error
    text = f"{archive.resolve()} {state.st_size} {state.st_mtime_ns}"
    name = f"{archive.name.partition('.')[0]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    folder = cache_folder("archives") / name
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{name}.lock")):
                if not folder.is_dir():
                    _unpack(archive, folder)
        except OSError as error:
            raise DataError(
                f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})"
            ) from error
    while (inner := holds_only_a_folder(folder)) is not None:
        folder = inner
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack under a temporary name, and rename the folder when it is complete."""
    print(f"unpacking {archive} into {folder}", flush=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, temporary)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, temporary)
        else:
            raise DataError(f"{archive}: is no zip or tar archive, or incomplete")
        temporary.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        entries = content.infolist()
        _check_size(archive, folder, len(entries), sum(entry.file_size for entry in entries))
        if any(entry.flag_bits & ENCRYPTED for entry in entries):
            raise DataError(f"{archive}: is encrypted; unpack it yourself, and name the folder")
        for entry in entries:
            entry.filename = entry.filename.replace("\\", "/")  # as some programs for Windows write it
        _check_names(archive, [entry.filename for entry in entries])
        for entry in entries:
            content.extract(entry, folder)  # which reads no more than the size that was checked


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        members = content.getmembers()
        _check_size(archive, folder, len(members), sum(member.size for member in members))
        _check_names(archive, [member.name for member in members])
        # No links to or files outside of the folder, no devices, no permissions of others.
        content.extractall(folder, filter="data")


def _check_size(archive: Path, folder: Path, files: int, size: int) -> None:
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    if size > MAX_BYTES or files > MAX_FILES:
        raise DataError(
            f"{archive}: has {files} files of {size / 1e9:.1f} GB in all; unpack it yourself if that is right"
        )
    if size > free:
        raise DataError(
            f"{archive}: needs {size / 1e9:.1f} GB unpacked, but {folder} has {free / 1e9:.1f} GB free; set "
            "XDG_CACHE_HOME to a folder with more room"
        )


def _check_names(archive: Path, names: list[str]) -> None:
    """Raise DataError for a file that would lie outside of the folder, or that is there twice."""
    for name in names:
        _check_name(archive, name)
    twice = [name for name, count in Counter(names).items() if count > 1 and not name.endswith("/")]
    if twice:
        raise DataError(f"{archive}: has two files of the name {twice[0][:100]!r}; unpack it yourself")


def _check_name(archive: Path, name: str) -> None:
    path = Path(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":"):
        raise DataError(
            f"{archive}: has a file that would be unpacked outside of its folder ({name[:100]!r})"
        )
