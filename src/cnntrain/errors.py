"""User-facing errors, each with the exit code of the program.

0 success · 1 failed while running, or left images out · 2 configuration · 3 data, checkpoint or folder
unusable · 4 diverged · 5 a check failed · 128 + signal interrupted, state saved.
"""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class UserError(Exception):
    """An error whose message is printed for the user, without a traceback.

    folder: of the run that ended with it, None where there was none.
    """

    exit_code = 1
    folder: Path | None = None


class ConfigError(UserError):
    """The configuration is invalid; `problems` has one line per problem."""

    exit_code = 2

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("\n".join(problems))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.problems,)


class DataError(UserError):
    """A data set, checkpoint or folder cannot be used; the message names the file and the remedy."""

    exit_code = 3


class Diverged(UserError):
    """The loss or the gradient is no longer finite; the weights are those before the failed update."""

    exit_code = 4


class CheckFailed(UserError):
    """A check before training failed."""

    exit_code = 5


class Interrupted(BaseException):
    """A signal or a time limit stops the program.

    Not an Exception, so that libraries that handle those, such as OmegaConf and Hydra, let it pass. folder:
    of the run that was stopped, None where there was none.
    """

    folder: Path | None = None

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.exit_code)


class Stopped(Interrupted):
    """A job of a search is trained no further now; may_go_on: a later stage of the search may continue it."""

    def __init__(self, message: str, may_go_on: bool):
        super().__init__(message, 0)
        self.may_go_on = may_go_on


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, the name of its type if it has none."""
    return next((line for line in text_of(error).splitlines() if line.strip()), type(error).__name__)


def text_of(error: BaseException) -> str:
    """Return an exception's message, "" where a class of the user's own fails to give it."""
    try:
        return str(error)
    except Exception:
        return ""


def interrupted_by(signal_number: int, message: str) -> Interrupted:
    """Return the error for a run stopped by a signal: exit code 128 + its number, as in shells."""
    return Interrupted(f"{signal.Signals(signal_number).name}: {message}", 128 + signal_number)
