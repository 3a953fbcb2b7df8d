"""Settings of the extra log (group `logger`); metrics.jsonl is always written."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import fixed


@dataclass
class Logger:
    """What every logger has."""

    name: str = ""


@dataclass
class NoLogger(Logger):
    """metrics.jsonl alone."""

    name: str = fixed("none")


@dataclass
class TensorBoard(Logger):
    """TensorBoard event files in the run's folder, under tensorboard/."""

    name: str = fixed("tensorboard")
