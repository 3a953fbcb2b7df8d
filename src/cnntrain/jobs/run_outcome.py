"""How a run that does not finish is recorded in its folder, and how it is continued."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import DataError, Diverged, Interrupted, Stopped, UserError, first_line
from ..logger.processes import RunLoggers
from ..machine_errors import ReaderDied, machine_error
from ..output_streams import print_last
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, run_override
from ..runs.status import DIVERGED, FAILED, INTERRUPTED
from ..training.hooks import Hooks
from ..training.process_group import LostProcess
from ..user_code import place_in_users_code
from .processes import Processes


@dataclass
class Outcome:
    """Whether how a run ends is recorded: not where it was refused before anything of it was changed.

    hooks: those of the run, None before they are made; they, its loggers and its other processes end when its
    outcome is recorded.
    """

    is_recorded: bool = False
    hooks: Hooks | None = None
    loggers: RunLoggers = field(default_factory=RunLoggers)
    processes: Processes = field(default_factory=Processes)


@contextmanager
def recorded_outcome(folder: RunFolder) -> Iterator[Outcome]:
    """Record the status and error of a run that does not finish in its folder; end its hooks and loggers.

    An error has the folder of the run as its attribute.
    """
    outcome = Outcome()
    try:
        with _recorded_in(folder, outcome):
            yield outcome
            _end_hooks(outcome, folder)
    except BaseException as stopped:
        if isinstance(stopped, UserError | Interrupted):
            stopped.folder = folder.path
        try:
            _end_hooks(outcome, folder)
        except (Exception, SystemExit) as error:
            where = place_in_users_code(error) or "trainer.hooks"
            print(f"warning   {where}: on_end failed: {type(error).__name__}: {first_line(error)}")
        raise
    finally:
        outcome.loggers.end()
        outcome.processes.end()


def _end_hooks(outcome: Outcome, folder: RunFolder) -> None:
    if outcome.hooks is not None:
        outcome.hooks.end(folder.read_summary() or {})


@contextmanager
def _recorded_in(folder: RunFolder, outcome: Outcome) -> Iterator[None]:
    try:
        yield
    except Stopped:
        raise
    except (Interrupted, KeyboardInterrupt):
        if outcome.is_recorded:
            record_outcome(folder, INTERRUPTED, None)
        print_last(f"continue  {_continue_command(folder)}")
        raise
    except Diverged as error:
        record_outcome(folder, DIVERGED, str(error))
        raise
    except SystemExit as error:  # called in a network of the user's own
        ended = UserError(f"the run was ended by sys.exit({error.code}) in Python code that it called")
        record_outcome(folder, FAILED, str(ended))
        raise ended from error
    except BaseException as error:  # a network of the user's own may raise anything
        in_words = error if isinstance(error, UserError) else machine_error(error)
        if in_words is None:
            record_outcome(folder, FAILED, traceback.format_exc())
            if (place := place_in_users_code(error)) is None:
                raise
            raise UserError(
                f"{place}: {type(error).__name__}: {first_line(error)}; the traceback is in {folder.error}"
            ) from error
        if outcome.is_recorded:
            record_outcome(folder, FAILED, str(in_words))
            if isinstance(in_words, DataError | ReaderDied | LostProcess) and folder.checkpoints.exist():
                print_last(f"continue  {_continue_command(folder)}")
        if in_words is error:
            raise
        raise in_words from error


def record_outcome(folder: RunFolder, status: str, error: str | None) -> None:
    """Write status and error into the folder; print a warning if that is not possible."""
    try:
        folder.write_summary((folder.read_summary() or {}) | {"status": status})
        if error is not None:
            write_text(folder.error, error + "\n")
    except DataError as unwritable:
        print(f"warning   {unwritable}")


def remove_error(folder: RunFolder) -> None:
    """Remove the error of an earlier attempt; raises DataError."""
    try:
        folder.error.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{folder.error}: cannot be removed ({error.strerror}); remove it") from error


def _continue_command(folder: RunFolder) -> str:
    if (folder.path / file_names.JOB).is_file():
        return f"cnntrain -m {run_override(folder.path.parent)}"
    return f"cnntrain {run_override(folder.path)}"
