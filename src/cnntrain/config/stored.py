"""The configuration of a run on disk: written as YAML, merged back onto the schemas, never composed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .. import __version__
from ..errors import ConfigError, DataError
from .choices import Choices
from .fields import rule_of, settings_of, spelt
from .options import GROUPS, option, typed
from .overrides import sort_words
from .root import Config
from .suggest import did_you_mean, nearest

FILE_NAME = "config.yaml"
# Changing these continues a run that had come to its end.
CONTINUABLE = ("trainer.epochs", "trainer.early_stopping_epochs")


def to_yaml(config: Config) -> str:
    """Return the configuration as YAML text: every setting by name and value."""
    tree = OmegaConf.structured(config)
    return f"# cnntrain {__version__}\n" + OmegaConf.to_yaml(tree)


def from_yaml(text: str, source: str) -> Config:
    """Return the configuration a YAML text holds; raises DataError naming `source` where it does not fit."""
    try:
        stored: Any = OmegaConf.create(text)
        root = OmegaConf.structured(Config)
        for group in GROUPS:
            if group not in stored:
                raise DataError(
                    f"{source}: was written by an earlier version (it has no {group}); start anew"
                )
            entry = option(group, stored[group]["name"])
            if entry is None:
                raise DataError(
                    f"{source}: {group} is {stored[group]['name']}, which this version does not have"
                )
            root[group] = OmegaConf.structured(entry)
        return typed(OmegaConf.merge(root, stored))
    except (OmegaConfBaseException, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: is not a stored configuration of cnntrain ({reason})") from error


def read(folder: Path, setting: str = "run") -> Config:
    """Return the configuration in a run's folder, which `setting` named; raises DataError where none is."""
    file = folder / FILE_NAME
    if not folder.is_dir():
        near = nearest(folder.name, [entry.name for entry in folder.parent.glob("*") if entry.is_dir()])
        hint = f"; did you mean {folder.parent / near}?" if near else ""
        raise DataError(f"{setting}={folder}: there is no such folder{hint}")
    if not file.is_file():
        raise DataError(
            f"{setting}={folder}: holds no run (no {FILE_NAME}); name the folder that a run printed"
        )
    try:
        return from_yaml(file.read_text(encoding="utf-8"), str(file))
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error


def with_changes(config: Config, words: list[str], free: bool = False) -> Config:
    """Return a stored configuration with the words of the command line laid over it.

    Taken are settings that change neither weights nor metrics, and more epochs; with `free`
    everything is. Raises ConfigError with both values for each other change.
    """
    from .checks import rule_problems

    choices = Choices()
    problems: list[str] = []
    tree = OmegaConf.structured(config)
    for word in words:
        key, _, value = word.partition("=")
        key = key.lstrip("+")
        if key in GROUPS:
            problems += _group_change(tree, key, value, choices)
            continue
        selection, wrong = sort_words([*_choice_words(config), word], choices)
        if wrong:
            problems += wrong
            continue
        for name, new in selection.settings.items():
            old = OmegaConf.select(tree, name)
            if new != old and not (free or _taken(config, name)):
                problems.append(
                    f"{name}={new}: this run was started with {old}; start a new run to change it"
                )
            elif name == CONTINUABLE[0] and new < old and not free:
                problems.append(f"{name}={new}: this run has {old}; a run can only be made longer")
            else:
                OmegaConf.update(tree, name, new)
    if problems:
        raise ConfigError(problems)
    changed = typed(tree)
    problems = rule_problems(changed)
    if problems:
        raise ConfigError(problems)
    return changed


def alike(one: Any, other: Any) -> bool:
    """Return whether two settings of the same option agree in all that shapes weights and metrics."""
    return all(
        rule_of(field).resume == "free" or getattr(one, name) == getattr(other, name)
        for name, field in settings_of(type(one)).items()
    )


def shown(settings: Any) -> str:
    """Return an option's name and settings on one line."""
    listed = [
        f"{name}={spelt(getattr(settings, name))}" for name in settings_of(type(settings)) if name != "name"
    ]
    return f"{settings.name} ({', '.join(listed)})" if listed else str(settings.name)


def _choice_words(config: Config) -> list[str]:
    """Return words that choose, for each group, some file of the stored option, to check settings against."""
    choices = Choices()
    words = []
    for group in GROUPS:
        stored = type(getattr(config, group))
        name = next(entry for entry in choices.names(group) if choices.schema(group, entry) is stored)
        words.append(f"{group}={name}")
    return words


def _taken(config: Config, name: str) -> bool:
    node: Any = config
    *path, leaf = name.split(".")
    for part in path:
        node = getattr(node, part)
    return name in CONTINUABLE or rule_of(settings_of(type(node))[leaf]).resume == "free"


def _group_change(tree: Any, group: str, value: str, choices: Choices) -> list[str]:
    """Choose another file of a group, which only the logger may; return what is wrong."""
    if choices.path(group, value) is None:
        return [f"{group}={value}: unknown; {did_you_mean(value, choices.names(group))}"]
    schema = choices.schema(group, value)
    if group == "logger" and schema is not None:
        tree.logger = OmegaConf.structured(schema)
        return []
    return [
        f"{group}={value}: this run was started with {group} {tree[group].name}; start a new run to change it"
    ]
