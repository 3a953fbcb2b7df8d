"""The way from overrides to a checked configuration: select, compose, check; for one run and for a sweep."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..settings.config_tree import Config
from ..settings.fields import default_of, settings_of, shorten
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
    if problems := _sweep_problems(overrides):
        raise ConfigError(problems)
    in_files = composer.swept_in_files(select(combinations(overrides, loader)[0], choices))
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    swept = [f"{key}={value}" for key, value in in_files.items() if key not in given]
    jobs, problems = [], list[str]()
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
    limit = max_jobs(overrides)
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except (HydraException, ValueError):
            alternatives.append([text])
            continue
        key = override.get_key_element()
        if override.is_interval_sweep():
            interval: Any = override.value()
            alternatives.append([f"{key}={interval.start}", f"{key}={interval.end}"])
        elif override.is_sweep_override():
            try:
                values = list(itertools.islice(override.sweep_string_iterator(), limit + 1))
            except HydraException as error:
                raise ConfigError([f"{shorten(text)}: {shorten(error)}"]) from error
            if not values:
                raise ConfigError([f"{shorten(text)}: has no values"])
            alternatives.append([f"{key}={value}" for value in values])
        else:
            alternatives.append([text])
    jobs = math.prod(len(values) for values in alternatives)
    if jobs > limit:
        raise ConfigError(
            [f"-m: more than max_jobs={limit} jobs; take fewer values, or raise the limit: max_jobs=NUMBER"]
        )
    return [list(job) for job in itertools.product(*alternatives)]


def max_jobs(overrides: list[str]) -> int:
    """Return the largest number of jobs of a sweep: the default, unless an override sets it."""
    texts = [override.lstrip("+").partition("=") for override in overrides]
    values = [value for key, _, value in texts if key == "max_jobs"]
    default: int = default_of(settings_of(Config)["max_jobs"])
    return int(values[-1]) if values and values[-1].isdigit() else default


def _sweep_problems(overrides: list[str]) -> list[str]:
    """Return errors for overrides of a sweep that no job by itself would show."""
    return [
        f"{shorten(override)}: all jobs would share one folder; write {override.partition('=')[0]}="
        "'${hydra.job.num}'"
        for override in overrides
        if override.lstrip("+").startswith("hydra.sweep.subdir=") and "${" not in override
    ]


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
