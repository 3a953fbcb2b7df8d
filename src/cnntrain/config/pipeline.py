"""The way from overrides to a checked configuration: select, compose, check; for one run and for a sweep."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, first_line
from ..settings.config_tree import Config
from ..settings.fields import default_of, settings_of, shorten
from .check import Checked, check, problems_of
from .choice_files import EXPERIMENT, Choices
from .compose import RUN_FOLDER, SWEEP_FOLDER, compose, laid_over
from .read_yaml import read_yaml
from .select_choices import HYDRA_SWEEPS, Selection, select

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
    checked = _configure(overrides, choices, _single_run_problems(overrides))
    checked.notices.extend(_sweeps_only(overrides, choices))
    return checked


def configure_sweep(overrides: list[str], choices: Choices) -> CheckedSweep:
    """Return the checked jobs of a sweep, every combination of the values in `overrides`.

    Raises ConfigError with the problems of all jobs.
    """
    from .hydra_composer import composer_of

    composer = composer_of(choices)
    loader = composer.hydra.config_loader
    if problems := _sweep_problems(overrides):
        raise ConfigError(problems)
    limit = _max_jobs(overrides, choices)
    first = select(combinations(overrides, loader, limit)[0], choices)
    in_files = composer.swept_in_files(first)
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    swept = [f"{key}={value}" for key, value in in_files.items() if key not in given]
    jobs, problems = [], list[str]()
    for job in combinations([*overrides, *swept], loader, limit):
        try:
            jobs.append(_configure(job, choices, []))
        except ConfigError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise ConfigError(problems)
    return CheckedSweep(jobs, overrides, composer.sweep_folder(first), SWEEP_FOLDER in first.folders)


def combinations(overrides: list[str], loader: ConfigLoader, limit: int) -> list[list[str]]:
    """Return the overrides of every job of a sweep: one for each combination of comma-separated values.

    An interval, which only some sweepers support, is represented by both its ends. `loader` resolves glob(…).
    Raises ConfigError where there are more than `limit` jobs.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(config_loader=loader)
    alternatives: list[list[str]] = []
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
            except (HydraException, ValueError, ArithmeticError) as error:
                reason = "cannot be counted" if isinstance(error, ArithmeticError) else first_line(error)
                raise ConfigError([f"{shorten(text)}: {shorten(reason)}"]) from error
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


def _max_jobs(overrides: list[str], choices: Choices) -> int:
    """Return the largest number of jobs: the override's, else the experiment's, else the default."""
    named = [override.lstrip("+").partition("=")[::2] for override in overrides]
    limit: Any = default_of(settings_of(Config)["max_jobs"])
    for key, value in named:
        if key == EXPERIMENT and (experiment := choices.find(EXPERIMENT, value)) is not None:
            limit = experiment.values.get("max_jobs", limit)
    limits = [value for key, value in named if key == "max_jobs" and value.isdigit()]
    return int(limits[-1] if limits else limit)


def _sweep_problems(overrides: list[str]) -> list[str]:
    """Return errors for overrides of a sweep that no job by itself would show."""
    problems = []
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key == RUN_FOLDER:
            problems.append(
                f"{shorten(override)}: is for a single run; with -m, write hydra.sweep.dir=FOLDER"
            )
        elif key == "hydra.sweep.subdir" and "${" not in override:
            problems.append(
                f"{shorten(override)}: all jobs would share one folder; write {key}='${{hydra.job.num}}'"
            )
    return problems


def _sweeps_only(overrides: list[str], choices: Choices) -> list[str]:
    """Return a notice if a single run's experiment has settings of Hydra that apply to sweeps only."""
    names = [override.partition("=")[2] for override in overrides if override.startswith(f"{EXPERIMENT}=")]
    experiment = choices.find(EXPERIMENT, names[-1]) if names else None
    content = {} if experiment is None else read_yaml(experiment.path)[0]
    parts = content.get("hydra") if isinstance(content, dict) else None
    found = [name for name in parts or {} if name in ("sweep", "sweeper", "launcher", "callbacks")]
    if not found:
        return []
    return [f"experiment={names[-1]}: its hydra.{found[0]} applies to sweeps only; add -m"]


def _single_run_problems(overrides: list[str]) -> list[str]:
    """Return errors for overrides of Hydra's configuration that have an effect in a sweep only."""
    problems = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key == SWEEP_FOLDER:
            problems.append(
                f"{shorten(override)}: is the folder of a sweep; write hydra.run.dir={value}, or add -m"
            )
        elif key.startswith(HYDRA_SWEEPS):
            problems.append(f"{shorten(override)}: applies to sweeps only; add -m")
    return problems


def _configure(overrides: list[str], choices: Choices, problems: list[str]) -> Checked:
    """Return the checked configuration of one run.

    Raises ConfigError with `problems`, those of the overrides themselves, and all others.
    """
    selection = select(overrides, choices)
    selection.problems += problems
    if selection.problems or selection.file_problems:
        raise ConfigError(_all_problems(selection))
    composed = compose(selection, choices)
    return check(composed.config, composed.run_folder, RUN_FOLDER in selection.folders)


def _all_problems(selection: Selection) -> list[str]:
    """Return the problems of a selection, then those of its valid settings."""
    found = [*selection.problems, *selection.file_problems]
    config = None if selection.file_problems else laid_over(selection)
    return found if config is None else found + problems_of(config)
