"""Overrides of the configuration of an earlier run: which are accepted, and which are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError, first_line
from ..settings.config_tree import GROUPS, Config
from ..settings.fields import format_value, rule_of, settings_of, shorten
from ..settings.job_settings import Head
from .check import option_problems, rule_problems, store_absolute_paths
from .choice_files import EXPERIMENT, Choice, Choices
from .equivalent_command import equivalent_overrides
from .job_checks import job_problems
from .option_table import typed
from .pipeline import configure
from .select_choices import select
from .unknown_names import unknown_choice

# Changing these continues a finished run.
CONTINUABLE = ("trainer.epochs", "trainer.early_stopping_epochs")
# Settings of data sets that decide which image is in which split.
DIVISION = (
    *("val_fraction", "limit", "folds", "fold", "test_fraction", "split_by"),
    *("csv_image", "csv_label", "csv_split", "csv_group"),
)
# Settings that jobs other than training use of an earlier run, besides their own and those of the data.
USED_BY_JOBS = (*("job", "run", "trainer.device", "trainer.precision", "trainer.threads", "trainer.quiet"),)


def changed(stored: Config, overrides: list[str], choices: Choices) -> Config:
    """Return the stored configuration of a run with overrides applied, for the job they name.

    A continued run accepts settings that change neither weights nor metrics, and more epochs. An evaluation
    accepts other data as well: settings of the run's data set, or another data set by data=NAME. Raises
    ConfigError with both values for each other change.
    """
    of_data = [override for override in overrides if override.startswith(("data=", "data."))]
    if "job=evaluate" in overrides and of_data:
        rest = [override for override in overrides if override not in of_data]
        config = _with_overrides(stored, rest, choices)
        if any(override.startswith("data=") for override in of_data):
            config.data = configure(of_data, choices).config.data
        else:
            config = _with_overrides(config, of_data, choices, any_setting=True)
        if problems := list(_other_division(stored, config)):
            raise ConfigError(problems)
    else:
        config = _with_overrides(stored, overrides, choices)
    if stored.job == "head" != config.job:
        config.head = Head()  # what the run was made with has no effect on other jobs
    if config.job == "report" and not any(
        text.lstrip("+").startswith("report.confirm=") for text in overrides
    ):
        config.report.confirm = None  # what the run was told was for its own end
    if config.job != "train" and not any(text.lstrip("+").startswith("trainer.quiet=") for text in overrides):
        config.trainer.quiet = False  # the run was told for its training
    if problems := list(job_problems(config, stored)):
        raise ConfigError(problems)
    store_absolute_paths(config)
    return config


def difference(one: Config, other: Config) -> tuple[str, Any, Any] | None:
    """Return the first setting that changes weights or metrics in which two configurations differ.

    With its two values; None if there is none. The epochs of a run may differ, as they can be raised.
    """
    if one.seed != other.seed:
        return "seed", one.seed, other.seed
    for group in GROUPS:
        mine, theirs = getattr(one, group), getattr(other, group)
        if type(mine) is not type(theirs):
            if group == "logger":
                continue
            return group, mine.name, theirs.name
        for name, field in settings_of(type(mine)).items():
            key, values = f"{group}.{name}", (getattr(mine, name), getattr(theirs, name))
            if rule_of(field).resume != "free" and key not in CONTINUABLE and values[0] != values[1]:
                return key, *values
    return None


def _other_division(stored: Config, config: Config) -> Iterator[str]:
    """Yield an error for each setting by which the run's own data would be divided into other splits."""
    config = copy.deepcopy(config)
    store_absolute_paths(config)
    if type(config.data) is not type(stored.data) or config.data.source() != stored.data.source():
        return
    for name in DIVISION:
        old, new = getattr(stored.data, name, None), getattr(config.data, name, None)
        if new != old:
            yield (
                f"data.{name}={format_value(new)}: the run was trained with {format_value(old)}, and other "
                "splits would have images that it was trained on; leave it out"
            )


def _with_overrides(
    stored: Config, overrides: list[str], choices: Choices, any_setting: bool = False
) -> Config:
    """Return a configuration with overrides; `any_setting` accepts those that change results too."""
    of_groups = [override for override in overrides if override.lstrip("+").partition("=")[0] in GROUPS]
    rest = [override for override in overrides if override not in of_groups]
    selection = select(rest, choices, _stored_choices(stored, choices))
    tree = OmegaConf.structured(stored)
    problems = [line for override in of_groups if (line := _change_group(tree, override, choices))]
    problems += selection.problems
    problems += [
        f"experiment={choice.name}: a run keeps the settings that it was started with; start a new run"
        for group, choice in selection.given.items()
        if group == EXPERIMENT
    ]
    problems += [
        f"{key}: a run has its folder; leave it out"
        for key in (*selection.folders, *(override.partition("=")[0] for override in selection.hydra))
    ]
    job = selection.settings.get("job", stored.job)
    for name, written in selection.settings.items():
        old, new = OmegaConf.select(tree, name), written
        if isinstance(written, str) and "${" in written:
            try:
                new = _interpolated(tree, name, written)
            except OmegaConfBaseException as error:
                problems.append(f"{name}={shorten(written)}: {first_line(error)}")
                continue
        if new != old and not _has_effect(name, job):
            problems.append(
                f"{name}={format_value(new)}: has no effect on job={job} with run=…; leave it out"
            )
            continue
        # A prediction may be made in another precision, and by other threads, than a continued training.
        if new != old and not (any_setting or job == "predict" or _may_change(stored, name)):
            problems.append(
                f"{name}={format_value(new)}: this run was started with {format_value(old)}; start a new run "
                "to change it"
            )
        elif name == CONTINUABLE[0] and new < old and not any_setting:
            problems.append(f"{name}={format_value(new)}: this run has {old}; a run can only be made longer")
        else:
            OmegaConf.update(tree, name, new)
    if problems:
        raise ConfigError(problems)
    config = typed(tree)
    problems = rule_problems(config) or option_problems(config)
    if problems:
        raise ConfigError(problems)
    return config


def _interpolated(tree: Any, name: str, text: str) -> Any:
    """Return the value of an interpolation in the configuration of a run; raises OmegaConfBaseException."""
    resolved = copy.deepcopy(tree)
    OmegaConf.update(resolved, name, text)
    return OmegaConf.select(resolved, name, throw_on_missing=True)


def _has_effect(name: str, job: str) -> bool:
    """Return whether a setting changes what a job does with an earlier run, or what it may not change."""
    if name == "max_jobs":
        return False
    of_job = (f"{job}.",) if job == "predict" else (f"{job}.", "data.")
    return job == "train" or name in USED_BY_JOBS or name.startswith(of_job)


def _stored_choices(stored: Config, choices: Choices) -> dict[str, Choice]:
    """Return, for each group, a choice of the stored option, against which settings are checked."""
    built_in = Choices()  # a user's file may have taken the name of one
    return {
        group: next(
            entry
            for entry in (*choices.all(group), *built_in.all(group))
            if entry.schema is type(getattr(stored, group))
        )
        for group in GROUPS
    }


def _change_group(tree: Any, override: str, choices: Choices) -> str | None:
    """Change the option of a group, allowed for the logger only; return an error, or None."""
    group, _, name = override.lstrip("+").partition("=")
    choice = choices.find(group, name)
    if choice is None:
        return f"{override}: {unknown_choice(group, name, choices)}"
    if group == "logger" and choice.schema is not None:
        tree.logger = OmegaConf.merge(OmegaConf.structured(choice.schema), choice.values)
        return None
    before = equivalent_overrides(typed(tree), choices).get(group, choices.defaults[group])
    if name == before:
        return None
    return f"{override}: this run was started with {group}={before}; start a new run to change it"


def _may_change(stored: Config, name: str) -> bool:
    node: Any = stored
    *path, leaf = name.split(".")
    for part in path:
        node = getattr(node, part)
    return name in CONTINUABLE or rule_of(settings_of(type(node))[leaf]).resume == "free"
