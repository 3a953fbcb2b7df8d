"""The values of an override of a sweep, in Hydra's notation, and how many jobs a sweep may have."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, first_line
from ..settings.config_tree import Config
from ..settings.fields import default_of, settings_of, shorten
from .choice_files import EXPERIMENT, Choices
from .compose import RUN_FOLDER

# Characters that Hydra escapes in the values of a list; a single value has them as they are.
ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser


def max_jobs(overrides: list[str], choices: Choices) -> int:
    """Return the largest number of jobs: the override's, else the experiment's, else the default."""
    named = [override.lstrip("+").partition("=")[::2] for override in overrides]
    limit: Any = default_of(settings_of(Config)["max_jobs"])
    for key, value in named:
        if key == EXPERIMENT and (experiment := choices.find(EXPERIMENT, value)) is not None:
            limit = experiment.values.get("max_jobs", limit)
    limits = [value for key, value in named if key == "max_jobs" and value.isdigit()]
    return int(limits[-1] if limits else limit)


def too_many(limit: int) -> ConfigError:
    """Return the error for a sweep of more than `limit` jobs."""
    return ConfigError(
        [f"-m: more than max_jobs={limit} jobs; take fewer values, or raise the limit: max_jobs=NUMBER"]
    )


def run_folder_problems(overrides: list[str]) -> list[str]:
    """Return errors for overrides that name the folder of a single run."""
    return [
        f"{shorten(override)}: is for a single run; with -m, write hydra.sweep.dir=FOLDER"
        for override in overrides
        if override.lstrip("+").partition("=")[0] == RUN_FOLDER
    ]


def values_of(text: str, parser: OverridesParser, limit: int) -> list[str] | None:
    """Return the values of an override of a sweep as Hydra's grammar has them, at most `limit` + 1.

    None for an override with one value. An interval, which only plugins take, is represented by its ends.
    Raises ConfigError where the values cannot be enumerated, or there are none.
    """
    from hydra.errors import HydraException

    try:
        (override,) = parser.parse_overrides([text])
    except (HydraException, ValueError):
        return None
    if override.is_interval_sweep():
        interval: Any = override.value()
        return [str(interval.start), str(interval.end)]
    if not override.is_sweep_override():
        return None
    try:
        values = list(itertools.islice(override.sweep_string_iterator(), limit + 1))
    except (HydraException, ValueError, ArithmeticError) as error:
        reason = "cannot be counted" if isinstance(error, ArithmeticError) else first_line(error)
        raise ConfigError([f"{shorten(text)}: {shorten(reason)}"]) from error
    if not values:
        raise ConfigError([f"{shorten(text)}: has no values"])
    return [value if value[:1] in "'\"" else ESCAPED.sub(r"\1", value) for value in values]
