"""A finding with the command that tries its remedy, and what trying it gained."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..config.pipeline import configure
from ..errors import UserError
from ..settings.config_tree import Config
from .finding import Finding
from .replay import Replay


@dataclass(frozen=True)
class Judged:
    """A finding, the command to try, None if there is none, and what a replay of its remedy gained."""

    finding: Finding
    command: str | None
    replay: Replay | None = None


def try_command(config: Config, finding: Finding) -> str | None:
    """Return the command that tries what a finding suggests; None if it is refused, or changes nothing."""
    choices = Choices()
    command = equivalent_command(config, choices, finding.changes)
    if command == equivalent_command(config, choices):
        return None
    try:
        configure(shlex.split(command)[1:], choices)
    except UserError:
        return None
    return command
