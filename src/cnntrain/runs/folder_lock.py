"""The lock of a run's folder, the claim and sign of life of the process that uses it.

It is a lock of the operating system, free at once when its process ends, and beside it a lease: a file that
the process touches every few seconds. The lease tells of processes on other machines, whose locks some
network file systems do not show, and stands in where a file system has no locks at all.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, SoftFileLease, Timeout
from filelock import LeaseCompromise as Lost

from ..errors import DataError

LOCK, LEASE = ".lock", ".lease"
# A lease that its process has not touched for so many seconds is taken over.
LEASE_SECONDS = 30.0
# Errors of file systems without locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class InUse(DataError):
    """Another process uses the folder of a run."""


class Owner(NamedTuple):
    """The process that a lease names."""

    pid: str
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class FolderLock:
    """The lock and the lease of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = _native_lock(folder)
        self._lease = SoftFileLease(folder / LEASE, lease_duration=LEASE_SECONDS, on_compromise=self._end)

    def acquire(self) -> None:
        """Take both; raises InUse, or DataError where the folder cannot be written.

        A lease of another machine's is watched for LEASE_SECONDS: without a sign of life it is taken over.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InUse(f"{self.folder}: is in use by {self._user()}; wait for it or stop it") from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise _unwritable(self.folder, error) from error
        try:
            self._acquire_lease()
        except BaseException:
            self._lock.release()
            raise

    def release(self, remove: bool = False) -> None:
        """Give both back; remove: with the lock's file.

        It stays otherwise: two processes could lock two files of its name if it were removed. In a folder
        that goes with it, filelock notices that its file is gone.
        """
        with suppress(OSError):
            self._lease.release()
        if remove:
            with suppress(OSError):
                (self.folder / LOCK).unlink(missing_ok=True)
        self._lock.release()

    def _acquire_lease(self) -> None:
        owner = owner_of(self.folder)
        if owner is None and self._lock.is_locked:  # none, or one that a full disk cut short
            with suppress(OSError):
                (self.folder / LEASE).unlink(missing_ok=True)
        try:
            with suppress(Timeout):
                self._lease.acquire(timeout=0)
                return
            print(f"waiting   for a sign of life of {self._user()}, {LEASE_SECONDS:g} s at most", flush=True)
            self._lease.acquire(timeout=1.2 * LEASE_SECONDS)
        except Timeout as error:
            raise InUse(
                f"{self.folder}: is in use by {self._user()}, as its lease tells: this file system does not "
                "show the locks of other machines; wait for it or stop it"
            ) from error
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _user(self) -> str:
        return str(owner_of(self.folder) or "another process")

    def _end(self, lost: Lost) -> None:
        """End this process, which slept for so long that another one took its place."""
        if lost.reason == "owner-changed":
            print(f"cnntrain: {self.folder}: was taken over by {self._user()}", file=sys.stderr, flush=True)
            os._exit(DataError.exit_code)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder's lock for a moment, once it is free; where the file system has none, hold nothing."""
    lock = _native_lock(folder)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(folder: Path, error: OSError) -> DataError:
    where = error.filename if isinstance(error.filename, str) else folder
    hint = "; remove it" if isinstance(error, IsADirectoryError) else ""
    return DataError(f"{where}: cannot be written ({error.strerror or error}){hint}")


def _native_lock(folder: Path) -> FileLock:
    # With its file preserved, filelock has no substitute of its own for file systems without locks.
    return FileLock(folder / LOCK, preserve_lock_file=True)


def owner_of(folder: Path) -> Owner | None:
    """Return the process that the lease of a folder names, None where there is none."""
    try:
        lines = (folder / LEASE).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return Owner(fields["pid"], fields["host"]) if {"pid", "host"} <= fields.keys() else None


class Watch:
    """Tells whether folders are in use, without taking them from the processes that use them."""

    def __init__(self) -> None:
        # Folder → the last change of its lease, and when it was first seen on this machine's clock.
        self._seen: dict[Path, tuple[int, float]] = {}

    def is_used(self, folder: Path) -> bool:
        """Return whether a process holds a folder's lock, or touched its lease in the last LEASE_SECONDS."""
        lock = _native_lock(folder)
        try:
            with lock.acquire(timeout=0):
                has_locks = True
        except Timeout:
            return True
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            has_locks = False
        owner = owner_of(folder)
        if owner is None or (has_locks and owner.host == socket.gethostname()):
            return False
        try:
            changed = (folder / LEASE).stat().st_mtime_ns
        except OSError:
            return False
        now = time.monotonic()
        if self._seen.get(folder, (0, now))[0] != changed:
            self._seen[folder] = changed, now
        return now - self._seen[folder][1] < LEASE_SECONDS
