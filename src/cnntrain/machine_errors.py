"""Failures of the machine in words: a full disk, too little memory, a killed process, a torch that fails."""

from __future__ import annotations

import errno
import os
import re
import traceback
from pathlib import Path

from .errors import DataError, UserError, first_line, text_of

PACKAGE = str(Path(__file__).parent)
# How torch, numpy, Python and the dynamic loader say that memory is missing.
OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|unable to allocate|cannot allocate memory|out of memory"
    r"|bad_alloc"
    r"|failed to map segment|storage size calculation overflowed|numel: integer multiplication overflow"
    r"|overflow when unpacking long|invalid array size|array is too big|maximum supported dimension"
    r"|can't start new thread",
    re.IGNORECASE,
)
ALLOCATED = re.compile(r"allocate ([\d.]+) ?(bytes|\w?i?B)", re.IGNORECASE)
WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)(?: is killed by signal: ([\w ]+)| exited)")
# What to lower, by the part of the package in which memory was missing; the innermost one counts.
REMEDIES = {
    "costs": "in the estimate of costs; lower data.batch_size, summary.image_size or the network's width",
    "data": "for the data; lower data.limit, data.image_size, data.train_images or data.memory_limit_gb",
    "augmentation": "in augmentation; lower data.batch_size",
    "preprocessing": "in preprocessing; lower data.batch_size, data.image_size, evaluate.dense_size or "
    "preprocessing.components",
    "model": "in the network; lower its width (model.width, model.hidden, model.channels) or data.batch_size",
    "optim": "for the optimizer's state; take a smaller network, or optim=sgd, which keeps less",
    "averaging": "for the average of the weights; take a smaller network, or averaging=none",
    "training": "in a training step; lower data.batch_size or the network's width "
    "(job=summary summary.memory_gb=GB finds the largest batch)",
    "runs": "for a checkpoint; take a smaller network",
}
# The same of a step with a line search, whose batch is all training images.
OF_LINE_SEARCH = (
    "in a training step; raise trainer.accumulate_steps, which processes the batch in more parts, or lower "
    "optim.history, data.limit or the network's width"
)


class ReaderDied(UserError):
    """A process that reads images was killed."""

    def __init__(self, pid: str, cause: str):
        super().__init__(
            f"a process that reads images (pid {pid}) {cause}; if memory was short, lower data.workers or "
            "data.batch_size"
        )


class OutOfMemory(UserError):
    """The machine, or the process's limit, has less memory than was needed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory is missing, of the processor or of a device."""
    kinds = RuntimeError | OSError | ImportError | ValueError | OverflowError
    return isinstance(error, MemoryError) or (
        isinstance(error, kinds) and OUT_OF_MEMORY.search(" ".join(text_of(error).split())) is not None
    )


def machine_error(error: BaseException, in_line_search: bool = False) -> UserError | None:
    """Return the user-facing error for an exception that the machine caused, None for any other exception."""
    text = " ".join(text_of(error).split())
    if is_out_of_memory(error):
        part = OF_LINE_SEARCH if in_line_search else _part(error)
        return OutOfMemory(_memory_message(text, part))
    chain = f"{error.__cause__ or error.__context__ or ''} {text}"
    if isinstance(error, RuntimeError) and (match := WORKER.search(chain)):
        cause = f"was killed by signal {match[2]}" if match[2] else "ended unexpectedly"
        return ReaderDied(match[1], cause)
    if _on_importing_torch(error):
        return UserError(
            f"torch cannot be imported: {first_line(error)}; correct the environment variable, if it names "
            "one, or install torch anew"
        )
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename if isinstance(error.filename, str) else "a file"
        return DataError(f"{where}: {error.strerror}; {remedy(error)}, then try again")
    return None


def remedy(error: OSError) -> str:
    """Return what a user can do about an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space"
    if error.errno == errno.ELOOP:
        return "remove the symbolic link, which leads to itself"
    if error.errno == errno.ENAMETOOLONG:
        return "shorten the name"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit on open files (ulimit -n)"
    return "change its access rights" if error.errno in (errno.EACCES, errno.EPERM) else "check the device"


def _on_importing_torch(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(
        frame.name == "<module>" and frame.filename.endswith(os.path.join("torch", "__init__.py"))
        for frame in frames
    ) or (isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "torch")


def _memory_message(text: str, part: str) -> str:
    found = ALLOCATED.search(text)
    amount = f": {_amount(found)} could not be allocated" if found else ""
    return f"out of memory{amount} {part}"


def _amount(found: re.Match[str]) -> str:
    number, unit = found.groups()
    return f"{float(number) / 1e9:.3g} GB" if unit == "bytes" else f"{number} {unit}"


def _part(error: BaseException) -> str:
    """Return what was being done, and what to lower: by the innermost of our frames in the traceback."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(PACKAGE):
            part = Path(frame.filename).relative_to(PACKAGE).parts[0]
            if part in REMEDIES:
                return REMEDIES[part]
    return "while the program started; free memory, or raise the limit (ulimit -v)"
