"""The process of a job, as the worker of a sweep sees it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from ..settings.accelerators import cuda_devices
from .sweep_job import STOP, Work, run_job


class JobProcess:
    """A process for a job, which waits until it is told to begin; before, it has written nothing."""

    def __init__(self, context: Any, work: Work):
        self.work = work
        self.began = time.monotonic()
        self._copied = context.get_start_method() == "fork"
        # Receives the exit code once the job's record is written; the process itself takes a while to end.
        self.connection, other = context.Pipe()
        self._process = context.Process(target=run_job, args=(work, other))
        sys.stdout.flush()
        sys.stderr.flush()
        # A stop that comes before the new process handles it waits until it does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {STOP})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP})
        other.close()

    def begin(self) -> None:
        """Let the process train its job."""
        self.began = time.monotonic()
        with suppress(OSError):  # it was killed, which its exit code tells
            self.connection.send(None)

    def exit_code(self) -> int | None:
        """Return with what the job has ended, None while it is being trained."""
        if self.connection.poll():
            try:
                code = int(self.connection.recv())
            except (EOFError, OSError):  # killed before its end
                self._process.join()
            else:
                if not self._copied:  # it may have used a GPU, whose memory is free at the end only
                    self._process.join()
                return code
        exit_code: int | None = self._process.exitcode
        return exit_code

    def stop(self) -> None:
        """Let the job save and stop."""
        if self._process.exitcode is None:
            os.kill(self._process.pid, STOP)

    def wait(self) -> None:
        """Wait until the process has ended."""
        self._process.join()

    def discard(self) -> None:
        """End a process that has not begun."""
        self._process.kill()
        self._process.join()


def process_context(fork: bool) -> Any:
    """Return how processes are started: as copies of this one if it may be copied, else of a fresh one.

    A process cannot be copied once torch's threads have run in it, or CUDA's driver was asked something.
    """
    if fork and sys.platform == "linux" and not cuda_devices():
        tqdm.monitor_interval = 0  # a thread of its own
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload(["cnntrain.jobs.sweep_job"])
    return context
