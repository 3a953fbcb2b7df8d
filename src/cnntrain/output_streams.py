"""Standard output and error: they may fail (a full device, a closed pipe, a daemon), and have a width."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from .errors import UserError

# Columns of the label with which the first lines of a run begin: data, network, device, notice.
LABEL_WIDTH = 10
CLOSED = "it is closed"


class _Tolerant:
    """A text stream whose failing writes are dropped: what is printed is also in the run's folder.

    failure: why nothing more is written, None where all of it was, or a reader has read enough.
    """

    def __init__(self, stream: TextIO | None):
        self._stream = stream
        self.failure = CLOSED if stream is None else None

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: OSError | ValueError) -> None:
        """Write nothing more; a reader that has read enough, such as head, is no failure."""
        self._stream = None
        if getattr(error, "errno", None) != errno.EPIPE:
            self.failure = getattr(error, "strerror", None) or CLOSED

    def is_open(self) -> bool:
        return self._stream is not None

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Quiet(io.TextIOBase):
    """A text stream that writes nothing, in place of `stream`."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def quiet_output(quiet: bool) -> Iterator[None]:
    """Print nothing on standard output inside the context if `quiet`, but by `print_last`."""
    before = sys.stdout
    sys.stdout = _Quiet(before) if quiet else before
    try:
        yield
    finally:
        sys.stdout = before


def is_quiet() -> bool:
    """Return whether standard output is that of `quiet_output`."""
    return isinstance(sys.stdout, _Quiet)


def print_last(line: str) -> None:
    """Print the line with which a job ends, also inside `quiet_output`."""
    print(line, file=sys.stdout.stream if isinstance(sys.stdout, _Quiet) else sys.stdout, flush=True)


def print_result(line: str) -> None:
    """Print the one line of a job inside `quiet_output`; outside, more than it has been printed before."""
    if is_quiet():
        print_last(line)


@contextmanager
def tolerant_output() -> Iterator[None]:
    """Let training go on inside the context where standard output or error cannot be written."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tolerant(before[0]), _Tolerant(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def can_print(text: str) -> bool:
    """Return whether standard output has the characters of a text in its encoding."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_output(name: str) -> None:
    """Raise UserError where standard output did not take what was printed inside `tolerant_output`.

    name: what was to be printed, for the message. A reader that has read enough is no failure.
    """
    sys.stdout.flush()
    if isinstance(sys.stdout, _Tolerant) and sys.stdout.failure is not None:
        raise UserError(f"{name}: standard output could not be written ({sys.stdout.failure})")


def output_is_read() -> bool:
    """Return whether standard output still takes what is printed: not after `head` has read enough."""
    sys.stdout.flush()
    return not isinstance(sys.stdout, _Tolerant) or sys.stdout.is_open()


def open_standard_descriptors() -> None:
    """Open descriptors 0 to 2 where they are closed, so that no file of a run gets their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def print_labelled(lines: list[str]) -> None:
    """Print lines of a label and a text, the text wrapped at the width of the terminal, if it is one.

    The label takes the first LABEL_WIDTH columns, in which continued lines are indented.
    """
    if sys.stdout.isatty():
        width = max(2 * LABEL_WIDTH, shutil.get_terminal_size().columns)
        indent = " " * LABEL_WIDTH
        lines = [
            textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False) for line in lines
        ]
    print("\n".join(lines), flush=True)
