"""A trace of a few steps and of the first evaluation, for Perfetto or chrome://tracing (trainer.profile)."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler import profile, record_function

from ..runs.atomic_write import atomic_write
from .instrument import EVALUATE, Instrument

# Steps before the first of the trace, whose memory is new; and those of the trace.
WARM_UP, STEPS = 10, 5


def first_step(step: int, left_in_epoch: int) -> int:
    """Return the number of updates before the first step of a trace, in the epoch that is being trained.

    step: updates so far, left_in_epoch: those to the end of the epoch.
    """
    return step + min(WARM_UP, max(0, left_in_epoch - STEPS))


class Trace(Instrument):
    """Writes a file of Chrome's trace event format: each operation, within the parts of training by name.

    It is written after the last of its steps, and again after the first evaluation that follows. path: ends
    in .json.gz. first: the number of updates before the first step of the trace.
    """

    def __init__(self, path: Path, first: int):
        self.path = path
        self._steps = range(first, first + STEPS)
        self._profile: Any = None
        self._content: dict[str, Any] | None = None
        self._is_complete = False

    def due(self, step: int, recording: bool) -> bool:
        return step in self._steps and not self._is_complete

    @contextmanager
    def around_step(self, step: int) -> Iterator[None]:
        """Begin with the first of the steps, and write the trace after the last."""
        if self._profile is None:
            self._start()
        with self._ended_by_errors():
            yield
        if step == self._steps[-1]:
            self._stop()

    @contextmanager
    def around_part(self, part: str) -> Iterator[None]:
        """Name a part of training in the trace."""
        is_first_evaluation = part == EVALUATE and not self._is_complete
        if is_first_evaluation and self._profile is None:
            self._start()
        with self._ended_by_errors(), nullcontext() if self._profile is None else record_function(part):
            yield
        if is_first_evaluation:
            self._is_complete = True
            self._stop()

    @contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        """Give up the trace where an exception leaves the context: torch has one profiler for all runs."""
        try:
            yield
        except BaseException:
            if self._profile is not None:
                self._profile.__exit__(None, None, None)
                self._profile, self._is_complete = None, True
            raise

    def _start(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it prints what it does
        # torch.profiler.profile is this one and imports torch's compiler, which takes seconds.
        self._profile = profile(use_kineto=True, use_device="cuda" if torch.cuda.is_available() else None)
        self._profile.__enter__()

    def _stop(self) -> None:
        """Add what was traced, and write the file; raises DataError."""
        self._profile.__exit__(None, None, None)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(file))
            traced = json.loads(file.read_text(encoding="utf-8"))
        self._profile = None
        if self._content is None:
            self._content = traced | {"traceName": self.path.name}
        else:
            self._content["traceEvents"] += traced["traceEvents"]
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(gzip.compress(json.dumps(self._content).encode(), mtime=0))
