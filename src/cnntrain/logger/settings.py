"""Settings of the additional logger (group `logger`); metrics.jsonl is always written."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..settings.fields import fixed
from ..settings.option import Option

if TYPE_CHECKING:
    from .sink import Sink


@dataclass
class Logger(Option):
    """Method common to all loggers."""

    def build(self, folder: Path, start_step: int) -> Sink | None:
        """Return the sink for the metrics of the run in `folder` from `start_step` on, or None."""
        raise NotImplementedError


@dataclass
class NoLogger(Logger):
    """No additional log: metrics.jsonl only."""

    name: str = fixed("none")

    def build(self, folder: Path, start_step: int) -> Sink | None:
        return None


@dataclass
class TensorBoard(Logger):
    """TensorBoard event files in the run's folder, under tensorboard/."""

    name: str = fixed("tensorboard")

    def problems(self) -> Iterator[str]:
        if importlib.util.find_spec("tensorboard") is None:
            yield "logger=tensorboard: is not installed; pip install 'cnntrain[tensorboard]'"

    def build(self, folder: Path, start_step: int) -> Sink:
        from .tensorboard import TensorBoardSink

        return TensorBoardSink(folder / "tensorboard", start_step + 1 if start_step else None)
