"""The way from overrides to a checked configuration: select, compose, check; for one run and for a sweep."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .check import Checked, check, problems_of
from .choice_files import Choices
from .partial_config import partial_config
from .select_choices import Selection, select

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


@dataclass(frozen=True)
class CheckedSweep:
    """The checked jobs of a sweep, its overrides, and the folder of its jobs."""

    jobs: list[Checked]
    overrides: list[str]
    folder: Path
    named_by_user: bool

    def notices(self) -> list[str]:
        """Return the notices of all jobs, each once."""
        return list(dict.fromkeys(notice for job in self.jobs for notice in job.notices))


def configure(overrides: list[str], choices: Choices) -> Checked:
    """Return the checked configuration of one run; raises ConfigError with all problems."""
    return _configure(overrides, choices)[0]


def configure_sweep(overrides: list[str], choices: Choices) -> CheckedSweep:
    """Return the checked jobs of a sweep, every combination of the values in `overrides`.

    Raises ConfigError with the problems of all jobs.
    """
    from .compose import composer_of

    composer = composer_of(choices)
    loader = composer.hydra.config_loader
    in_files = composer.swept_in_files(select(combinations(overrides, loader)[0], choices))
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    swept = [f"{key}={value}" for key, value in in_files.items() if key not in given]
    jobs, problems = [], []
    for job in combinations([*overrides, *swept], loader):
        try:
            jobs.append(_configure(job, choices))
        except ConfigError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise ConfigError(problems)
    return CheckedSweep([job for job, _ in jobs], overrides, jobs[0][1], _sets(overrides, "hydra.sweep.dir"))


def combinations(overrides: list[str], loader: ConfigLoader) -> list[list[str]]:
    """Return the overrides of every job of a sweep: one for each combination of comma-separated values.

    An interval, which only some sweepers support, is represented by both its ends. `loader` resolves glob(…).
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(config_loader=loader)
    alternatives: list[list[str]] = []
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except HydraException:
            alternatives.append([text])
            continue
        key = override.get_key_element()
        if override.is_interval_sweep():
            interval: Any = override.value()
            alternatives.append([f"{key}={interval.start}", f"{key}={interval.end}"])
        elif override.is_sweep_override():
            alternatives.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            alternatives.append([text])
    return [list(job) for job in itertools.product(*alternatives)]


def _configure(overrides: list[str], choices: Choices) -> tuple[Checked, Path]:
    """Return the checked configuration of one run, and the folder of a sweep it may belong to."""
    selection = select(overrides, choices)
    if selection.problems or selection.file_problems:
        raise ConfigError(_all_problems(selection))
    from .compose import composer_of

    composed = composer_of(choices).compose(selection)
    checked = check(composed.config, composed.run_folder, _sets(overrides, "hydra.run.dir"))
    return checked, composed.sweep_folder


def _all_problems(selection: Selection) -> list[str]:
    """Return the problems of a selection, then those of its valid settings; Hydra is not imported."""
    found = [*selection.problems, *selection.file_problems]
    config = None if selection.file_problems else partial_config(selection)
    return found if config is None else found + problems_of(config)


def _sets(overrides: list[str], key: str) -> bool:
    return any(override.lstrip("+").startswith(f"{key}=") for override in overrides)
