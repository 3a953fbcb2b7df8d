"""The work on a sweep: whatever its folder has open is trained, job by job, until nothing is open.

Any number of such workers may share a folder. Each asks the plan for its tasks with the results in the
folder, and trains the first that is neither done nor locked by another. It keeps nothing in memory that the
next one, after whatever end, could not read again.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection

from ..config.check import store_absolute_paths
from ..config.option_table import OPTIONS
from ..config.sweep import CheckedSweep
from ..data.splits import Splits
from ..errors import ConfigError, UserError
from ..metrics import LOWER_IS_BETTER
from ..runs import file_names
from ..runs.signals import StopSignals
from ..runs.status import DIVERGED, FAILED, OPEN
from ..runs.sweep_folder import JobRecord, JobResults, SweepFolder
from ..search.plan import Task
from ..settings.accelerators import cuda_devices
from ..settings.config_tree import OF_SWEEPS, Config
from .job_process import JobProcess, process_context
from .shared_data import SharedData
from .sweep_job import DISK_FULL, TAKEN, Work
from .sweep_output import SweepOutput

# Seconds after which signals are looked at, and between two looks at a folder in which others work.
LOOK, WAIT = 0.1, 0.5
# In messages that are compared: files of jobs, rates, losses.
NUMBER = re.compile(r"[\d.]+(e[+-]?\d+)?")
# Of a job's own trainer.…, unless the sweep sets them: its page and pictures are made by job=report, and the
# test split is not for choosing among jobs.
OF_JOBS = {"report": False, "pictures": False, "test": False}


class SweepWorker:
    """Works on a sweep. fork: whether processes of jobs may be copies of this one, which never used torch."""

    def __init__(self, sweep: CheckedSweep, folder: SweepFolder, threads: int, fork: bool):
        self.sweep = sweep
        self.search = sweep.search
        self.folder = folder
        self.threads = threads
        self.plan = self.search.plan(sweep.space, sweep.base.trainer.epochs_counted(), sweep.base.seed)
        self.running: dict[str, JobProcess] = {}
        # For the job that is likely to be the next, started while others are trained.
        self._prepared: JobProcess | None = None
        self._context = process_context(fork)
        # Whether processes of jobs are copies of this one, and so hold the data that it has read.
        self._are_copies = self._context.get_start_method() == "fork"
        self._devices = _devices(self.search.workers)
        self._data = SharedData()
        self._failures: list[str] = []
        self._output = SweepOutput()
        # Whether jobs were left open as search.minutes were over.
        self.out_of_time = False
        # When to look for an open task again; at once when a job of this worker has ended.
        self._look_at = 0.0

    def run(self) -> None:
        """Work until nothing is open; raises Interrupted after a signal, UserError to stop the sweep."""
        if self.search.retry_failed:
            self._reopen_failed()
        with StopSignals().caught() as signals, self._output:
            try:
                while signals.received is None and self._work():
                    connection.wait([process.connection for process in self.running.values()], LOOK)
            finally:
                self._discard_prepared()
                self._stop_jobs()
            if signals.received is not None:
                raise signals.received

    def _work(self) -> bool:
        """Start and end jobs; return False once nothing is left to do here."""
        for job in list(self.running):
            code = self.running[job].exit_code()
            if code is not None:
                self._end(job, code)
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
        if self.running and not self._time_is_up():
            self._prepare_next()
        if not self.running and not open_elsewhere and self._time_is_up():
            self.out_of_time = self._next()[0] is not None
        return bool(self.running) or open_elsewhere

    def _next(self) -> tuple[Task | None, bool]:
        """Return the first task that is open and that no one works on, and whether others work on some."""
        results = self._results()
        elsewhere = False
        tasks = list(self.plan.tasks(results))
        self._output.progress(tasks, results)
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
        record = self._begun(task, self.folder.jobs()[task.job])
        prepared, self._prepared = self._prepared, None
        if prepared is not None and not _is_for(prepared.work, task, record):
            prepared.discard()
            prepared = None
        try:
            process = prepared or JobProcess(self._context, self._work_on(task, record))
        except ConfigError as error:
            self._close(task.job, replace(record, status=FAILED, reason=" ".join(error.problems)))
            return
        process.begin()
        self.running[task.job] = process

    def _prepare_next(self) -> None:
        """Start a process for the next task, which waits until there is room for it.

        Only copies of this process, as others take a GPU when they start.
        """
        if not self._are_copies or self._prepared is not None:
            return
        task, _ = self._next()
        if task is None:
            return
        results = self._results()
        record = results.jobs.get(task.job) or JobRecord(self.plan.settings(task.job, results), task.stage)
        with suppress(ConfigError):  # said when it is started
            self._prepared = JobProcess(self._context, self._work_on(task, self._begun(task, record)))

    @staticmethod
    def _begun(task: Task, record: JobRecord) -> JobRecord:
        return replace(record, stage=task.stage, status=OPEN, reason="")

    def _work_on(self, task: Task, record: JobRecord) -> Work:
        """Return what a process is told of a task; raises ConfigError."""
        config = self._config(record.settings)
        used = [process.work.device for process in self.running.values()]
        return Work(
            self.folder.path,
            task.job,
            config,
            record,
            task.epochs,
            self.search.stop_hopeless,
            self.search.objective,
            self._splits(config),
            min(self._devices, key=used.count) if self._devices else None,
        )

    def _config(self, settings: dict[str, str]) -> Config:
        """Return the configuration of a job; raises ConfigError."""
        config = self.sweep.job(settings).config
        for name, value in {**OF_JOBS, "threads": self.threads}.items():
            if f"trainer.{name}" not in self.sweep.given:
                setattr(config.trainer, name, value)
        config.search = OPTIONS[OF_SWEEPS][0]()  # that of an experiment is no part of a run
        store_absolute_paths(config)
        return config

    def _end(self, job: str, code: int) -> None:
        """Take note of a job that has ended; its process, which has no more to do, is waited for later."""
        self.running.pop(job).connection.close()
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
        self._output.job(job, record)
        if record.settings.get("job", self.sweep.base.job) != "train":
            self._output.log(self.folder.path / job / file_names.LOG)
        if record.status in (FAILED, DIVERGED):
            self._failures.append(NUMBER.sub("", record.reason))
            self._check_failures(job)
        else:
            self._failures.clear()

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
        jobs = self.folder.jobs()
        for job, record in jobs.items():
            if record.status == FAILED:
                self.folder.write(job, replace(record, status=OPEN, reason=""))
        if diverged := [job for job, record in jobs.items() if record.status == DIVERGED]:
            print(f"notice    not trained again, as they would diverge again: {', '.join(diverged)}")

    def _discard_prepared(self) -> None:
        if self._prepared is not None:
            self._prepared.discard()
            self._prepared = None

    def _stop_jobs(self) -> None:
        """Let all jobs save and stop, and wait for them."""
        for process in self.running.values():
            process.stop()
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def _time_is_up(self) -> bool:
        if self.search.minutes is None:
            return False
        seconds = sum(record.seconds for record in self.folder.jobs().values())
        seconds += sum(time.monotonic() - process.began for process in self.running.values())
        return seconds >= 60 * self.search.minutes * self.search.workers

    def _splits(self, config: Config) -> Splits | None:
        """Return the data of a job where it is a copy of this process."""
        return self._data.splits(config) if self._are_copies and config.job == "train" else None

    def _results(self) -> JobResults:
        return JobResults(self.folder.jobs(), frozenset(LOWER_IS_BETTER))


def _is_for(work: Work, task: Task, record: JobRecord) -> bool:
    return (work.job, work.epochs, work.record) == (task.job, task.epochs, record)


def _devices(workers: int) -> list[str]:
    """Return the GPUs to divide among jobs, as CUDA_VISIBLE_DEVICES names them; none for one worker."""
    if workers == 1:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(cuda_devices())]
