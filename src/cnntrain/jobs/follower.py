"""A process that trains the network of a run with others, without a folder, a log or words of its own."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assemble.parts import build_instruments, evaluation_batches
from ..assemble.run import assemble
from ..config import stored_config
from ..errors import Interrupted, UserError, first_line
from ..machine_errors import machine_error
from ..output_streams import quiet_output
from ..runs.checkpoint import Checkpoints, State
from ..runs.metrics_file import Recorder, Row
from ..runs.run_folder import RunFolder
from ..runs.signals import StopSignals
from ..training.process_group import LostProcess, SeveralProcesses
from ..training.process_place import PARENT, Place, parent_is_gone
from .processes import evaluate_together, store_of, take_device, train_with


class _Unrecorded(Recorder):
    """Records nothing."""

    rows = 0

    def __init__(self, every_steps: int):
        self.every_steps = every_steps
        self.listeners = []
        self.failure = None

    def record(self, row: Row) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Unsaved(Checkpoints):
    """Saves nothing."""

    def save_last(self, state: State) -> None:
        pass

    def save_best(self, state: State) -> None:
        pass

    def save_epoch(self, state: State, epoch: int) -> None:
        pass


class _UnwrittenFolder(RunFolder):
    """The folder of a run as messages name it, in which nothing is read or written."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.checkpoints = _Unsaved(self.checkpoints.folder)

    def recorder(self, keep_rows: int, every_steps: int) -> Recorder:
        return _Unrecorded(every_steps)


def follow(here: Place) -> int:
    """Train with the process of the run, rank 0, until that ends; return the exit code.

    Whatever this process ends with, it waits for the end of rank 0, which watches it.
    """
    group = SeveralProcesses(here, lambda: store_of(here), lambda: _loss_of_first(here))
    own_code = _followed(group, here)
    group.leave()
    return group.meeting.exit_code() or own_code


def _followed(group: SeveralProcesses, here: Place) -> int:
    """Train with rank 0; return with what this process ends, which has told rank 0 of errors of its own."""
    try:
        with quiet_output(True), StopSignals().caught() as signals:
            if group.meeting.begins():
                _train(group, here, signals)
    except Interrupted as stop:
        return stop.exit_code
    except LostProcess as lost:
        if lost.is_told and str(lost) and not group.meeting.has_ended():
            print(f"cnntrain: {lost}", file=sys.stderr)
        return lost.exit_code
    except Exception as error:
        in_words = error if isinstance(error, UserError) else machine_error(error)
        _tell_failure(group, str(in_words or f"{type(error).__name__}: {first_line(error)}"))
        if in_words is None:
            traceback.print_exc()
        return 1
    return 0


def _train(group: SeveralProcesses, here: Place, signals: StopSignals) -> None:
    group.enter()
    work: dict[str, Any] = group.broadcast(None)
    given = stored_config.from_yaml(work["config"], "rank 0")
    config = replace(given, trainer=replace(given.trainer, instruments=False))
    take_device(config, here)
    assembled = assemble(config, _UnwrittenFolder(Path(work["folder"])), work["state"])
    step = assembled.trainer.step
    if given.trainer.instruments:  # without those that write files
        step.update.instruments = build_instruments(step.network)
    train_with(group, config, assembled)
    assembled.trainer.train(signals, work["stop_rule"])
    if config.trainer.test:
        test = assembled.parts.splits.test
        evaluate_together(step, evaluation_batches(test, assembled.parts.config, step.compute))


def _loss_of_first(here: Place) -> str | None:
    """Return what rank 1 says where rank 0 is gone, "" in others, None where it is there."""
    if not parent_is_gone():
        return None
    return f"rank 0 (process {os.environ[PARENT]}), which wrote the run, has ended" if here.rank == 1 else ""


def _tell_failure(group: SeveralProcesses, message: str) -> None:
    try:
        group.meeting.fail(message)
    except (RuntimeError, OSError):
        print(f"cnntrain: rank {group.rank}: {message}", file=sys.stderr)
