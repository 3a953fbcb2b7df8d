"""A sweep that Hydra runs, by a sweeper or launcher of its own or a plugin's: all jobs are checked first."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..settings.config_tree import OF_SWEEPS
from ..settings.fields import shorten
from .check import Checked
from .choice_files import Choices
from .compose import SWEEP_FOLDER
from .pipeline import configure_job
from .select_choices import select
from .sweep_values import max_jobs, run_folder_problems, too_many, values_of

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


@dataclass(frozen=True)
class HydraSweep:
    """The checked jobs of a sweep, its overrides, and the folder of its jobs."""

    jobs: list[Checked]
    overrides: list[str]
    folder: Path
    named_by_user: bool

    def notices(self) -> list[str]:
        """Return the notices of all jobs, each once."""
        return list(dict.fromkeys(notice for job in self.jobs for notice in job.notices))


def configure_hydra_sweep(overrides: list[str], choices: Choices) -> HydraSweep:
    """Return the checked jobs of a sweep, every combination of the values in `overrides`.

    Raises ConfigError with the problems of all jobs.
    """
    from .hydra_composer import composer_of

    composer = composer_of(choices)
    loader = composer.hydra.config_loader
    if problems := _problems(overrides):
        raise ConfigError(problems)
    limit = max_jobs(overrides, choices)
    first = select(combinations(overrides, loader, limit)[0], choices)
    in_files = composer.swept_in_files(first)
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    swept = [f"{key}={value}" for key, value in in_files.items() if key not in given]
    jobs, problems = [], list[str]()
    for job in combinations([*overrides, *swept], loader, limit):
        try:
            jobs.append(configure_job(job, choices))
        except ConfigError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise ConfigError(problems)
    return HydraSweep(jobs, overrides, composer.sweep_folder(first), SWEEP_FOLDER in first.folders)


def combinations(overrides: list[str], loader: ConfigLoader, limit: int) -> list[list[str]]:
    """Return the overrides of every job of a sweep: one for each combination of comma-separated values.

    An interval, which only some sweepers support, is represented by both its ends. `loader` resolves glob(…).
    Raises ConfigError where there are more than `limit` jobs.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=loader)
    alternatives: list[list[str]] = []
    for text in overrides:
        key = text.partition("=")[0].lstrip("+")
        values = values_of(text, parser, limit)
        alternatives.append([text] if values is None else [f"{key}={value}" for value in values])
    jobs = math.prod(len(values) for values in alternatives)
    if jobs > limit:
        raise too_many(limit)
    return [list(job) for job in itertools.product(*alternatives)]


def _problems(overrides: list[str]) -> list[str]:
    """Return errors for overrides of the sweep that no job by itself would show."""
    problems = run_folder_problems(overrides)
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key == "hydra.sweep.subdir" and "${" not in override:
            problems.append(
                f"{shorten(override)}: all jobs would share one folder; write {key}='${{hydra.job.num}}'"
            )
        elif key in (OF_SWEEPS, "trainer.quiet") or key.startswith(f"{OF_SWEEPS}."):
            problems.append(
                f"{shorten(override)}: has no effect beside hydra/…, with which Hydra runs the sweep"
            )
    return problems
