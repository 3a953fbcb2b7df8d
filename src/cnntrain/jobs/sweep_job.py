"""One job of a sweep, in a process of its own: trained as far as its task asks, its end noted in job.json."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from ..config import stored_config
from ..config.check import Checked
from ..config.resume_overrides import difference
from ..data.splits import Splits
from ..errors import DataError, Diverged, Interrupted, Stopped, UserError
from ..loss import label_statistics  # noqa: F401 - with those below, imported once for all jobs
from ..machine_errors import machine_error
from ..model import classifier, feature_map_sizes  # noqa: F401
from ..regularization import plain_dropout, stochastic_depth  # noqa: F401
from ..runs import file_names
from ..runs.folder_lock import InUse
from ..runs.metrics_file import Row, is_of_epoch, read_rows, validation_of
from ..runs.run_folder import RunFolder
from ..runs.signals import signals_as_exceptions
from ..runs.status import DIVERGED, FAILED, FINISHED, INTERRUPTED, PAUSED, STOPPED
from ..runs.sweep_folder import ENDED, JobRecord, SweepFolder
from ..settings.config_tree import Config
from ..training.stop_rule import StopRule
from .dispatch import start
from .train import HoldsRun, InSearch, resume, train

# Exit codes of the process of a job: another process trains it; the disk is full.
TAKEN, DISK_FULL = 75, 74
# The one signal by which a job is stopped: others, sent to all processes of a terminal or a scheduler, reach
# the process that started it, which passes on a single one.
STOP = signal.SIGUSR2
IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")


@dataclass(frozen=True)
class Work:
    """What a process of a job is told.

    sweep: the sweep's folder. epochs: after which the job pauses. objective: the metric that is noted, None
    for the one by which the best epoch of the job is chosen. splits: the data if they are loaded already.
    device: the job's GPU, None for all.
    """

    sweep: Path
    job: str
    config: Config
    record: JobRecord
    epochs: int
    stop_hopeless: bool
    objective: str | None
    splits: Splits | None = None
    device: str | None = None


def run_job(work: Work, connection: Connection) -> None:
    """Train a job once something is received, write its record, send 0 or an exit code of above, and exit."""
    _end_with_parent()
    connection.recv()
    _separate(work)
    began = time.monotonic()
    code, record = _trained(work)
    if record is not None:
        seconds = work.record.seconds + time.monotonic() - began
        record = _with_curve(replace(record, seconds=round(seconds, 3)), work)
        if not record.seconds_per_epoch and record.epochs:
            record = replace(record, seconds_per_epoch=round(seconds / record.epochs, 4))
        try:
            _write(record, work)
        except DataError as error:
            print(f"cnntrain: {error}", file=sys.stderr)
            code = DISK_FULL
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # the process that started it is gone
        connection.send(code)
    os._exit(code)


def _end_with_parent() -> None:
    """Let this process be stopped by STOP alone, and when the one that started it ends."""
    for name in IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(STOP, signal.SIG_DFL)  # nothing is lost before training
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, STOP)  # PR_SET_PDEATHSIG


def _separate(work: Work) -> None:
    """Give the process its own output, and its GPU."""
    log = os.open(work.sweep / work.job / file_names.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    if work.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = work.device


def _trained(work: Work) -> tuple[int, JobRecord | None]:
    """Return the exit code and the job's new record, None for a job that is to be continued."""
    record = work.record
    try:
        with signals_as_exceptions():
            _train(work)
    except Stopped as stop:
        print(stop)
        status = PAUSED if stop.may_go_on else STOPPED
        return 0, replace(record, status=status, reason="" if stop.may_go_on else str(stop))
    except Interrupted as stop:
        print(f"cnntrain: {stop}", file=sys.stderr)
        if stop.exit_code:
            return stop.exit_code, None
        return 0, replace(record, status=INTERRUPTED, reason=str(stop))
    except InUse:
        return TAKEN, None
    except Exception as error:
        in_words = error if isinstance(error, UserError) else machine_error(error)
        if in_words is None:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
        else:
            if error.__cause__ is not None:
                traceback.print_exc()
            print(f"cnntrain: {in_words}", file=sys.stderr)
            reason = str(in_words)
        if _disk_is_full(error, work.sweep):
            return DISK_FULL, None
        return 0, replace(record, status=DIVERGED if isinstance(error, Diverged) else FAILED, reason=reason)
    return 0, replace(record, status=FINISHED, reason="")


def _train(work: Work) -> None:
    folder, config = work.sweep / work.job, work.config
    in_search = InSearch(StopRule(work.epochs, work.stop_hopeless), work.splits)
    if config.job != "train":
        for name in (file_names.CONFIG, file_names.SUMMARY):  # of an attempt that did not end
            (folder / name).unlink(missing_ok=True)
        start(Checked(config, [], folder, named_by_user=True))
    elif (folder / file_names.CONFIG).exists():
        _resume(folder, config, in_search)
    else:
        try:
            train(config, folder, named_by_user=True, in_search=in_search)
        except HoldsRun:  # another worker began and ended the job since
            _resume(folder, config, in_search)


def _resume(folder: Path, config: Config, in_search: InSearch) -> None:
    before = stored_config.read(folder)
    if (found := difference(before, config)) is not None:
        raise DataError(f"{folder}: holds a run of other settings ({found[0]})")
    resume(folder, before, config, in_search)


def _write(record: JobRecord, work: Work) -> None:
    """Write the record of a job, unless another process that has ended it since trained it for longer."""
    folder = SweepFolder(work.sweep)
    with folder.locked():
        now = folder.job(work.job)
        if now is None or now.status not in ENDED or now.seconds <= record.seconds:
            folder.write(work.job, record)


def _with_curve(record: JobRecord, work: Work) -> JobRecord:
    """Return a record with the epochs done and the objective after each, or the one of a head."""
    try:
        rows = _validations(work)
    except DataError:
        return record
    names = [name for row in rows[:1] for name in row if name.startswith("val/")]
    if work.objective is not None and names and f"val/{work.objective}" not in names:
        known = ", ".join(sorted(name.removeprefix("val/") for name in names))
        reason = f"search.objective={work.objective}: is none of the validation metrics: {known}"
        return replace(record, status=FAILED, reason=reason)
    primary = next((name.removeprefix("val/") for name in names if name != "val/loss"), None)
    metric = work.objective
    if metric is None and primary is not None:
        metric = work.config.trainer.selected_by(primary)
    results = [] if metric is None else [validation_of(row, metric) for row in rows]
    curve, losses = [result.value for result in results], [result.loss for result in results]
    epochs = 0 if work.config.job == "head" else len(rows)
    return replace(record, epochs=epochs, curve=curve, metric=metric, losses=losses)


def _validations(work: Work) -> list[Row]:
    """Return the rows with validation metrics: of each epoch, or that of a head; raises DataError."""
    folder = RunFolder(work.sweep / work.job)
    if work.config.job == "head":
        summary = folder.read_summary() or {}
        return [summary] if "val/loss" in summary else []
    return [row for row in read_rows(folder.metrics) if is_of_epoch(row)]


def _disk_is_full(error: BaseException | None, folder: Path) -> bool:
    """Return whether an error, or one that it was raised from, says that no space is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "disk is full" in str(error):
            return True
        error = error.__cause__
    return False
