"""trainer.compile=auto: whether compiling the network pays within a run, by the time of its first updates."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..data.splits import Splits
from ..settings.config_tree import Config
from ..training.device import free_device_memory
from ..training.settings import missing_compiler
from .run import Parts, build_parts
from .teacher import load_teacher
from .time_budget import seconds_per_update

# A run is tried compiled if a gain of so much of its updates' time would exceed so many seconds: compiling
# never gained more, nor took less, in docs/profiling.md.
MOST_GAIN, LEAST_START = 0.3, 30.0
# The smallest gain that is told from noise.
LEAST_GAIN = 0.03
# Seconds for which updates are timed with and without.
TIMED = 3.0


@dataclass(frozen=True)
class CompileTimes:
    """Seconds of an update with and without compiling, and of what precedes the first compiled one."""

    plain: float
    compiled: float
    start: float

    def pays(self, updates: int) -> bool:
        """Return whether a run of so many updates ends sooner compiled, by more than noise."""
        gain = self.plain - self.compiled
        return gain > LEAST_GAIN * self.plain and updates * gain > self.start


def choose_compile(config: Config, splits: Splits, folder: Path) -> tuple[bool, str]:
    """Return whether the network of a new run is to be compiled, and a line that says why.

    Copies of the run are timed, of which nothing remains. folder: that of the run, for messages.
    """
    if (compiler := missing_compiler()) is not None:
        return False, f"compile   no: there is no C++ compiler {compiler}"
    parts, trainer = _parts(config, splits, folder, compiles=False), config.trainer
    updates = trainer.total_steps(min(len(parts.train), trainer.max_steps_per_epoch or len(parts.train)))
    plain = seconds_per_update(parts, TIMED)
    if MOST_GAIN * updates * plain < LEAST_START:
        return False, f"compile   no: all updates take about {updates * plain:.0f} s, too few for its start"
    del parts
    free_device_memory()
    started = time.perf_counter()
    compiled = seconds_per_update(_parts(config, splits, folder, compiles=True), TIMED)
    times = CompileTimes(plain, compiled, time.perf_counter() - started - TIMED)
    torch.compiler.reset()
    free_device_memory()
    answer = "yes" if times.pays(updates) else "no"
    return times.pays(updates), (
        f"compile   {answer}: an update takes {compiled:.3g} s compiled, {plain:.3g} s else; "
        f"the start takes {times.start:.0f} s, there are {updates} updates"
    )


def _parts(config: Config, splits: Splits, folder: Path, compiles: bool) -> Parts:
    config = replace(config, trainer=replace(config.trainer, compile=compiles))
    parts = build_parts(config, None, folder, "", splits)
    if config.regularization.teacher is not None:
        parts.step.teacher, _ = load_teacher(config, splits.names, parts.network_input, parts.compute)
    return parts
