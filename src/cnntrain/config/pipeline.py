"""The way from the overrides of a run to its checked configuration: select, compose, check."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ConfigError
from ..settings.config_tree import OF_SWEEPS
from ..settings.fields import shorten
from ..settings.option import Notice
from .check import Checked, check, problems_of
from .choice_files import EXPERIMENT, Choices, built_in_folder
from .compose import RUN_FOLDER, SWEEP_FOLDER, compose, laid_over
from .read_by_jobs import without_effect
from .read_yaml import read_yaml
from .select_choices import HYDRA_SWEEPS, Selection, select


def configure(overrides: list[str], choices: Choices) -> Checked:
    """Return the checked configuration of one run; raises ConfigError with all problems."""
    checked = configure_job(overrides, choices, _single_run_problems(overrides))
    checked.notices.extend([*_sweeps_only(overrides, choices), *given_twice(overrides)])
    return checked


def given_twice(overrides: list[str]) -> Iterator[str]:
    """Yield a notice for each key that overrides give several values; the last one holds."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if equals:
            values.setdefault(key, []).append(value)
    for key, found in values.items():
        if len(set(found)) > 1:
            yield f"{key}: is given {len(found)} times; {shorten(found[-1])}, the last value, holds"


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
        elif key == "max_jobs" or key.startswith((*HYDRA_SWEEPS, f"{OF_SWEEPS}.")) or key == OF_SWEEPS:
            problems.append(f"{shorten(override)}: applies to sweeps only; add -m")
    return problems


def configure_job(overrides: list[str], choices: Choices, problems: list[str] | None = None) -> Checked:
    """Return the checked configuration of one run, alone or in a sweep.

    Raises ConfigError with `problems`, those of the overrides themselves, and all others.
    """
    selection = select(overrides, choices)
    selection.problems += problems or []
    if selection.problems or selection.file_problems:
        raise ConfigError(all_problems(selection))
    composed = compose(selection, choices)
    unread = list(without_effect(composed.config, [*selection.given, *selection.settings]))
    if problems := [line for line in unread if not isinstance(line, Notice)]:
        raise ConfigError(problems)
    checked = check(composed.config, composed.run_folder, RUN_FOLDER in selection.folders)
    checked.notices.extend([*map(str, unread), *_replaced_choices(selection)])
    return checked


def _replaced_choices(selection: Selection) -> list[str]:
    """Return a notice for each chosen file of the user's that has the name of one of ours."""
    return [
        f"{choice.path}: is used in place of the {group} {choice.name} that comes with the program"
        for group, choice in selection.chosen.items()
        if choice.from_user and (built_in_folder() / group / f"{choice.name}.yaml").is_file()
    ]


def all_problems(selection: Selection) -> list[str]:
    """Return the problems of a selection, then those of its valid settings."""
    found = [*selection.problems, *selection.file_problems]
    config = None if selection.file_problems else laid_over(selection)
    return found if config is None else found + problems_of(config)
