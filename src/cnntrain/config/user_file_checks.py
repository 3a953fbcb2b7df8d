"""Checks of a user's own YAML files: unknown keys, values of the wrong type, a missing schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..settings.config_tree import GROUPS, Config
from ..settings.fields import problem, rule_of, settings_of, type_of
from ..settings.nearest_name import did_you_mean
from .choice_files import EXPERIMENT, SCHEMA, Choice, Choices
from .read_yaml import read_yaml
from .unknown_names import unknown_choice

OVERRIDE = re.compile(r"^override /(\w+)$")
# What an experiment can set of Hydra; all but the folder of a run in a sweep only.
HYDRA_PARTS = ("run", "sweep", "sweeper", "launcher", "callbacks")
GLOBAL_PACKAGE = re.compile(r"^\s*#\s*@package\s+_global_\s*$", re.MULTILINE)


def file_problems(choice: Choice, choices: Choices, chosen: dict[str, Choice]) -> list[str]:
    """Return an error for each problem of the user's file behind a choice.

    `chosen` maps each group to its effective choice, against whose settings an experiment is checked.
    """
    content, problems = read_yaml(choice.path)
    if problems:
        return problems
    group, where = choice.group, f"{choice.path}: "
    others = [name for name in choices.names(group) if name != choice.name]
    beginning = f"`defaults: [NAME, _self_]`, NAME being one of {', '.join(others)}"
    if content is None and group == EXPERIMENT:
        return [f"{where}is empty; begin with the line `# @package _global_`, then settings"]
    if content is None:
        return [f"{where}is empty; begin with {beginning}"]
    if not isinstance(content, dict):
        return [f"{where}must be a mapping of settings, one `key: value` per line"]
    entries = content.pop("defaults", [])
    entries = entries if isinstance(entries, list) else [entries]
    if group == EXPERIMENT:
        if not GLOBAL_PACKAGE.search(choice.path.read_text(encoding="utf-8-sig")):
            return [f"{where}an experiment begins with the line `# @package _global_`; add it"]
        inside, problems = _experiment_choices(entries, choices, chosen, where)
        return [*problems, *_experiment_problems(content, inside, where)]
    if problems := list(_defaults_problems(entries, choice, choices, where)):
        return problems
    if choice.schema is None:
        return [f"{where}does not say which settings it has; begin with {beginning}"]
    return [
        *_mapping_problems(content, choice.schema, f"{group}.", where),
        *(
            f"{where}{group}.{key}: {value}: is replaced by a file that defaults names after _self_; write "
            "_self_ last"
            for key, value in content.items()
            if choice.values.get(str(key), value) != value
        ),
    ]


def _defaults_problems(entries: list[Any], choice: Choice, choices: Choices, where: str) -> Iterator[str]:
    group = choice.group
    known = choices.names(group)
    for entry in entries:
        if not isinstance(entry, str):
            yield f"{where}defaults has {entry}; it takes names, as in [{known[0]}, _self_]"
        elif match := SCHEMA.match(entry):
            if match["group"] != group or choice.schema is None:
                yield f"{where}defaults names {entry}, which is no schema of {group}"
        elif entry == choice.name:
            yield f"{where}defaults names the file itself; name another choice of {group}"
        elif entry != "_self_" and choices.find(group, entry) is None:
            yield f"{where}defaults: {unknown_choice(group, entry, choices)}"


def _experiment_choices(
    entries: list[Any], choices: Choices, chosen: dict[str, Choice], where: str
) -> tuple[dict[str, Choice], list[str]]:
    """Return the effective choices inside an experiment, and the errors of its defaults list."""
    inside, problems = dict(chosen), []
    for entry in entries:
        if entry == "_self_":
            continue
        key, value = next(iter(entry.items())) if isinstance(entry, dict) else (str(entry), None)
        match, name = OVERRIDE.match(key), str(value)
        if match is None:
            problems.append(f"{where}defaults has {entry}; an experiment writes `override /model: vgg11`")
        elif match[1] not in GROUPS:
            problems.append(f"{where}defaults names the group {match[1]}; {did_you_mean(match[1], GROUPS)}")
        elif (choice := choices.find(match[1], name)) is None:
            problems.append(f"{where}{unknown_choice(match[1], name, choices)}")
        else:
            inside[match[1]] = choice
    return inside, problems


def _experiment_problems(content: dict[str, Any], chosen: dict[str, Choice], where: str) -> Iterator[str]:
    for key, value in content.items():
        schema = chosen[key].schema if key in chosen else None
        if schema is not None and isinstance(value, dict):
            yield from _mapping_problems(value, schema, f"{key}.", where)
        elif schema is not None:
            yield f"{where}{key}: {value}: choose with `override /{key}: …` in defaults"
        elif key == "run":
            yield f"{where}run: names a folder for one command; write run=FOLDER on the command line"
        elif key == "hydra":
            yield from _hydra_problems(value, where)
        else:
            yield from _mapping_problems({key: value}, Config, "", where)


def _hydra_problems(value: Any, where: str) -> Iterator[str]:
    """Yield an error for each part of an experiment's `hydra` that nothing reads."""
    for name in value if isinstance(value, dict) else [value]:
        if name not in HYDRA_PARTS:
            yield f"{where}hydra.{name}: has no effect; {', '.join(HYDRA_PARTS)} can be set"


def _mapping_problems(content: dict[str, Any], schema: type, prefix: str, where: str) -> Iterator[str]:
    fields = settings_of(schema)
    for key, value in content.items():
        if key not in fields:
            known = [name for name in fields if name != "name"]
            yield f"{where}{prefix}{key} is not a setting; {did_you_mean(str(key), known)}"
        elif "rule" not in fields[key].metadata:
            yield from _mapping_problems(value, type_of(schema, key), f"{prefix}{key}.", where)
        elif not (isinstance(value, str) and "${" in value):
            wrong = problem(type_of(schema, key), rule_of(fields[key]), value)
            if wrong is not None:
                written = f'"{value}"' if isinstance(value, str) else str(value)
                yield f"{where}{prefix}{key}: {written}: {wrong}"
