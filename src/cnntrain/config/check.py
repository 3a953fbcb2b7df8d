"""Step 4 of 4, check: every setting against its rule, and settings against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..settings.tree import Config
from .cross_checks import check_source_run, cross_checks
from .rules import rule_problems


@dataclass(frozen=True)
class Checked:
    """A checked configuration, which jobs take.

    notices: what the user should know of it. folder: that of a new run. named_by_user: whether the user
    named that folder.
    """

    config: Config
    notices: list[str]
    folder: Path
    named_by_user: bool


def check(config: Config, problems: list[str], folder: Path, named_by_user: bool) -> Checked:
    """Return the configuration with its notices; `problems` are those found before.

    Raises ConfigError with all problems; DataError where there are none but a missing run to start from.
    """
    notices: list[str] = []
    wrong = rule_problems(config)
    if not wrong:
        # Also where overrides were wrong: the tree then has defaults in their place.
        wrong, notices = cross_checks(config)
    if problems or wrong:
        raise ConfigError([*problems, *wrong])
    check_source_run(config)
    return Checked(config, list(map(str, notices)), folder, named_by_user)
