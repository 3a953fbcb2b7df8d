"""The work on a sweep: whatever its folder has open is trained, job by job, until nothing is open.

Any number of such workers may share a folder. Each asks the plan for its tasks with the results in the
folder, and trains the first that is neither done nor locked by another. It keeps nothing in memory that the
next one, after whatever end, could not read again.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from ..config.check import store_absolute_paths
from ..config.option_table import OPTIONS
from ..config.sweep import CheckedSweep
from ..data.splits import Splits
from ..errors import ConfigError, UserError
from ..metrics import LOWER_IS_BETTER, format_metric
from ..runs import file_names
from ..runs.signals import StopSignals
from ..runs.status import DIVERGED, FAILED, OPEN
from ..runs.sweep_folder import JobRecord, JobResults, SweepFolder
from ..runs.sweep_ranking import best_of
from ..search.plan import Task
from ..settings.accelerators import cuda_devices
from ..settings.config_tree import OF_SWEEPS, Config
from .shared_data import SharedData
from .sweep_job import DISK_FULL, STOP, TAKEN, Work, run_job

# Seconds between two looks at the processes of jobs, and at a folder in which others work.
LOOK, WAIT = 0.003, 0.5
# In messages that are compared: files of jobs, rates, losses.
NUMBER = re.compile(r"[\d.]+(e[+-]?\d+)?")
# Of a job's own trainer.…, unless the sweep sets them: its page and pictures are made by job=report, and the
# test split is not for choosing among jobs.
OF_JOBS = {"report": False, "pictures": False, "test": False}


@dataclass
class Running:
    """A job that is being trained: its process, the task, when it began, the GPU it uses."""

    process: Any
    task: Task
    began: float
    device: str | None


class SweepWorker:
    """Works on a sweep. fork: whether processes of jobs may be copies of this one, which never used torch."""

    def __init__(self, sweep: CheckedSweep, folder: SweepFolder, threads: int, fork: bool):
        self.sweep = sweep
        self.search = sweep.search
        self.folder = folder
        self.threads = threads
        self.plan = self.search.plan(sweep.space, sweep.base.trainer.epochs, sweep.base.seed)
        self.running: dict[str, Running] = {}
        self._context = _context(fork)
        self._devices = _devices(self.search.workers)
        self._data = SharedData()
        self._failures: list[str] = []
        self._bar: tqdm[Any] | None = None
        # Whether jobs were left open as search.minutes were over.
        self.out_of_time = False
        # When to look for an open task again; at once when a job of this worker has ended.
        self._look_at = 0.0

    def run(self) -> None:
        """Work until nothing is open; raises Interrupted after a signal, UserError to stop the sweep."""
        if self.search.retry_failed:
            self._reopen_failed()
        with StopSignals().caught() as signals, tqdm(disable=None, unit="job", leave=False) as self._bar:
            try:
                while signals.received is None and self._work():
                    time.sleep(LOOK)
            except BaseException:
                self._stop_jobs()
                raise
            if signals.received is not None:
                self._stop_jobs()
                raise signals.received

    def _work(self) -> bool:
        """Start and end jobs; return False once nothing is left to do here."""
        for job in list(self.running):
            if self.running[job].process.exitcode is not None:
                self._end(job)
                self._look_at = 0.0
        if time.monotonic() < self._look_at:
            return True
        open_elsewhere = False
        while len(self.running) < self.search.workers and not self._time_is_up():
            with self.folder.locked():
                task, open_elsewhere = self._next()
                if task is not None and task.job not in self.folder.jobs():
                    self._create(task)
            if task is None:
                break
            self._start(task)
        self._look_at = time.monotonic() + WAIT
        if not self.running and not open_elsewhere and self._time_is_up():
            self.out_of_time = self._next()[0] is not None
        return bool(self.running) or open_elsewhere

    def _next(self) -> tuple[Task | None, bool]:
        """Return the first task that is open and that no one works on, and whether others work on some."""
        results = self._results()
        elsewhere = False
        tasks = list(self.plan.tasks(results))
        self._show(tasks, results)
        for task in tasks:
            if results.closed(task) or task.job in self.running:
                continue
            if task.job in results.jobs and self.folder.is_running(task.job):
                elsewhere = True
                continue
            return task, elsewhere
        return None, elsewhere

    def _create(self, task: Task) -> None:
        """Write the record of a new job, with the settings that the plan gives it."""
        settings = self.plan.settings(task.job, self._results())
        self.folder.write(task.job, JobRecord(settings, task.stage))

    def _start(self, task: Task) -> None:
        record = self.folder.jobs()[task.job]
        try:
            config = self._config(record.settings)
        except ConfigError as error:
            self._close(task.job, replace(record, status=FAILED, reason=" ".join(error.problems)))
            return
        used = [running.device for running in self.running.values()]
        device = min(self._devices, key=used.count) if self._devices else None
        work = Work(
            self.folder.path,
            task.job,
            config,
            replace(record, stage=task.stage, status=OPEN, reason=""),
            task.epochs,
            self.search.stop_hopeless,
            self.search.objective,
            self._splits(config),
            device,
        )
        process = self._context.Process(target=run_job, args=(work,))
        sys.stdout.flush()
        sys.stderr.flush()
        # A stop that comes before the new process handles it waits until it does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {STOP})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP})
        self.running[task.job] = Running(process, task, time.monotonic(), device)

    def _config(self, settings: dict[str, str]) -> Config:
        """Return the configuration of a job; raises ConfigError."""
        config = self.sweep.job(settings).config
        for name, value in {**OF_JOBS, "threads": self.threads}.items():
            if f"trainer.{name}" not in self.sweep.given:
                setattr(config.trainer, name, value)
        config.search = OPTIONS[OF_SWEEPS][0]()  # that of an experiment is no part of a run
        store_absolute_paths(config)
        return config

    def _end(self, job: str) -> None:
        """Take note of a process that has ended."""
        running = self.running.pop(job)
        code = running.process.exitcode
        running.process.close()
        record = self.folder.jobs()[job]
        if code == TAKEN:
            return
        if code == DISK_FULL:
            raise UserError(
                f"the disk is full (see {self.folder.path / job / file_names.LOG}); free space, then continue"
            )
        if record.status == OPEN or code != 0:
            killed = (
                f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            )
            reason = (
                f"its process {killed}; if memory was short, lower data.batch_size or search.workers; "
                "search.retry_failed=true goes on with it"
            )
            self._close(job, replace(record, status=FAILED, reason=reason))
            return
        self._report(job, record)

    def _close(self, job: str, record: JobRecord) -> None:
        self.folder.write(job, record)
        self._report(job, record)

    def _report(self, job: str, record: JobRecord) -> None:
        """Print a line on a job that has ended or paused; raises UserError if the sweep has to stop."""
        settings = " ".join(f"{key}={value}" for key, value in record.settings.items()) or "defaults"
        if record.status in (FAILED, DIVERGED):
            first_sentence = record.reason.partition(". ")[0]
            self._print(f"cnntrain: job {job} ({settings}) failed: {first_sentence}", sys.stderr)
            self._failures.append(NUMBER.sub("", record.reason))
            self._check_failures(job)
            return
        self._failures.clear()
        best = best_of(record)
        result = "" if best is None else f"  val {format_metric(str(record.metric), best)}"
        epochs = f"  {record.epochs} epochs" if record.epochs != 1 else "  1 epoch"
        reason = f"  {record.reason}" if record.reason else ""
        self._print(f"job {job}  {settings}{result}{epochs if record.curve else ''}{reason}", sys.stdout)

    def _check_failures(self, job: str) -> None:
        log = self.folder.path / job / file_names.LOG
        if self.search.on_error == "stop":
            raise UserError(f"stopped after a failed job (search.on_error=stop); its output is in {log}")
        limit = self.search.max_equal_failures
        if len(self._failures) >= limit and len(set(self._failures[-limit:])) == 1:
            raise UserError(
                f"stopped: {limit} jobs in a row failed with the same message (search.max_equal_failures); "
                f"the output of the last is in {log}"
            )

    def _reopen_failed(self) -> None:
        for job, record in self.folder.jobs().items():
            if record.status == FAILED:
                self.folder.write(job, replace(record, status=OPEN, reason=""))

    def _stop_jobs(self) -> None:
        """Let all jobs save and stop, and wait for them."""
        for running in self.running.values():
            if running.process.exitcode is None:
                os.kill(running.process.pid, STOP)
        for running in self.running.values():
            running.process.join()
        self.running.clear()

    def _time_is_up(self) -> bool:
        if self.search.minutes is None:
            return False
        seconds = sum(record.seconds for record in self.folder.jobs().values())
        seconds += sum(time.monotonic() - running.began for running in self.running.values())
        return seconds >= 60 * self.search.minutes * self.search.workers

    def _splits(self, config: Config) -> Splits | None:
        """Return the data of a job if processes of jobs are copies of this one, which hold them."""
        copied = self._context.get_start_method() == "fork" and config.job == "train"
        return self._data.splits(config) if copied else None

    def _results(self) -> JobResults:
        return JobResults(self.folder.jobs(), frozenset(LOWER_IS_BETTER))

    def _show(self, tasks: Iterable[Task], results: JobResults) -> None:
        if self._bar is None or self._bar.disable:
            return
        tasks = list(tasks)
        self._bar.total, self._bar.n = len(tasks), sum(map(results.closed, tasks))
        scores = [results.score(job, record.epochs) for job, record in results.jobs.items() if record.curve]
        if scores:
            self._bar.set_postfix_str(f"best {abs(max(scores)):.4g}", refresh=False)
        self._bar.refresh()

    def _print(self, line: str, stream: Any) -> None:
        if self._bar is not None and not self._bar.disable:
            self._bar.clear()
        print(line, file=stream, flush=True)


def _context(fork: bool) -> Any:
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


def _devices(workers: int) -> list[str]:
    """Return the GPUs to divide among jobs, as CUDA_VISIBLE_DEVICES names them; none for one worker."""
    if workers == 1:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(cuda_devices())]
