"""The lock of a folder on file systems that have none, or none that other machines see."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.runs import folder_lock
from cnntrain.runs.folder_lock import FolderLock, InUse, Watch

SECONDS = 0.6
# A process on another machine, which holds the lock of a folder; flock is what its file system offers.
HOLDER = f"""
import errno, fcntl, os, socket, sys, time
from pathlib import Path

def missing(*arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

socket.gethostname = lambda: "elsewhere"
fcntl.flock = {{"none": missing, "own": lambda *arguments: None}}[sys.argv[2]]
from cnntrain.runs import folder_lock

folder_lock.LEASE_SECONDS = {SECONDS}
lock = folder_lock.FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(folder_lock, "LEASE_SECONDS", SECONDS)

    def begin(locks: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), locks],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    return begin


@pytest.mark.parametrize("locks", ["none", "own"])
def test_a_process_elsewhere_keeps_its_folder_until_it_dies(
    locks: str, holder: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = holder(locks)
    watch = Watch()
    try:
        with pytest.raises(InUse, match=f"is in use by process {process.pid} on elsewhere, as its lease"):
            FolderLock(tmp_path).acquire()
        assert watch.is_used(tmp_path)
    finally:
        process.kill()
        process.communicate()
    assert watch.is_used(tmp_path)  # its last sign of life may be a moment ago
    time.sleep(SECONDS)
    assert not watch.is_used(tmp_path)
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert "waiting   for a sign of life of process" in capfd.readouterr().out
    lock.release()
    assert not (tmp_path / ".lease").exists()


def test_a_process_that_slept_too_long_ends_when_it_wakes(holder: Start, tmp_path: Path) -> None:
    process = holder("own")
    os.kill(process.pid, signal.SIGSTOP)
    lock = FolderLock(tmp_path)
    try:
        lock.acquire()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=20)
    lock.release()
    assert process.returncode == 3
    assert f"was taken over by process {os.getpid()} on " in errors


def test_a_run_is_trained_and_continued_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", missing)
    quick = ["model=linear", "trainer.pictures=false", "trainer.report=false"]
    run = tmp_path / "run"
    assert main([*quick, "trainer.epochs=1", f"hydra.run.dir={run}"]) == 0
    assert main([f"run={run}", "trainer.epochs=2"]) == 0
    assert not Watch().is_used(run)
