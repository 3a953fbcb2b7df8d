"""Checks of YAML files: what YAML would misread, unknown keys, wrong types, a missing schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from .choices import EXPERIMENT, SCHEMA, Choices
from .fields import problem, rule_of, settings_of, type_of
from .options import OPTIONS
from .root import Config
from .suggest import did_you_mean

# What YAML 1.1 reads as another number than the one written.
OCTAL = re.compile(r"^[-+]?0[0-9_]+$")
SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")


def file_problems(choices: Choices, group: str, name: str, chosen: dict[str, str]) -> list[str]:
    """Return everything wrong with the user's own file behind group=name, one line each.

    `chosen` maps each group to the choice in force, against whose settings an experiment is checked.
    """
    path = choices.path(group, name)
    assert path is not None
    content, problems = read_strictly(path)
    if problems:
        return problems
    where = f"{path}: "
    if content is None:
        return [f"{where}is empty; begin with {_beginning(choices, group)}"]
    if not isinstance(content, dict):
        return [f"{where}must be settings, written key: value, one a line"]
    entries = content.pop("defaults", [])
    if group == EXPERIMENT:
        chosen, problems = _experiment_choices(choices, where, entries, chosen)
        return problems + _experiment_problems(choices, where, content, chosen)
    problems = _defaults_problems(choices, where, group, name, entries)
    if problems:
        return problems
    schema = choices.schema(group, name)
    if schema is None:
        return [f"{where}does not say which settings it has; begin with {_beginning(choices, group)}"]
    return _mapping_problems(where, f"{group}.", content, schema)


def read_strictly(path: Path) -> tuple[Any, list[str]]:
    """Return a YAML file's content as OmegaConf reads it, and what is wrong with the file itself."""
    where = f"{path}: "
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [f"{where}is not UTF-8 (byte {error.start}); save it as UTF-8"]
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"^ *\t", line):
            return None, [f"{where}line {number} is indented with a tab; YAML takes spaces only"]
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        problems = _misread(where, root) if root is not None else []
        if problems:
            return None, problems
        content = OmegaConf.to_container(OmegaConf.create(text)) if root is not None else None
    except yaml.MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        return None, [f"{where}{at}{error.problem}"]
    return content, []


def _misread(where: str, node: yaml.Node) -> list[str]:
    """Return duplicate keys, and plain numbers that YAML 1.1 reads in base 8 or 60."""
    problems: list[str] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                problems.append(f"{where}line {line}: {key.value} is set twice; keep one of the two")
            seen.add(key.value)
            problems += _misread(where, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            problems += _misread(where, value)
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        line = node.start_mark.line + 1
        if OCTAL.match(node.value):
            plain = node.value.lstrip("0") or "0"
            problems.append(f"{where}line {line}: YAML reads {node.value} in base 8; write {plain}")
        elif SEXAGESIMAL.match(node.value):
            problems.append(
                f"{where}line {line}: YAML reads {node.value} in base 60; write a plain number, or quote it"
            )
    return problems


def _beginning(choices: Choices, group: str) -> str:
    names = ", ".join(choices.names(group))
    return f"`defaults: [NAME, _self_]`, NAME being one of {names}"


def _defaults_problems(choices: Choices, where: str, group: str, name: str, entries: Any) -> list[str]:
    problems = []
    for entry in entries if isinstance(entries, list) else [entries]:
        known = choices.names(group)
        if not isinstance(entry, str):
            problems.append(f"{where}defaults has {entry}; it takes names, as in [{known[0]}, _self_]")
        elif SCHEMA.match(entry):
            match = SCHEMA.match(entry)
            assert match is not None
            if match["group"] != group or choices.schema(group, name) is None:
                problems.append(f"{where}defaults names {entry}, which is no schema of {group}")
        elif entry != "_self_" and choices.path(group, entry) is None:
            problems.append(f"{where}defaults names {entry}, unknown; {did_you_mean(entry, known)}")
    return problems


def _experiment_choices(
    choices: Choices, where: str, entries: Any, chosen: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the choices in force inside an experiment, and what is wrong with its defaults list."""
    inside, problems = dict(chosen), []
    for entry in entries if isinstance(entries, list) else [entries]:
        if entry == "_self_":
            continue
        key, value = next(iter(entry.items())) if isinstance(entry, dict) else (str(entry), None)
        match = re.match(r"^override /(\w+)$", key)
        if match is None:
            problems.append(f"{where}defaults has {entry}; an experiment writes `override /model: vgg11`")
        elif match[1] not in OPTIONS:
            problems.append(f"{where}defaults names the group {match[1]}; {did_you_mean(match[1], OPTIONS)}")
        elif choices.path(match[1], str(value)) is None:
            known = choices.names(match[1])
            problems.append(f"{where}{match[1]} has no choice {value}; {did_you_mean(str(value), known)}")
        else:
            inside[match[1]] = str(value)
    return inside, problems


def _experiment_problems(
    choices: Choices, where: str, content: dict[str, Any], chosen: dict[str, str]
) -> list[str]:
    problems = []
    for key, value in content.items():
        schema = choices.schema(key, chosen[key]) if key in OPTIONS else None
        if schema is not None and isinstance(value, dict):
            problems += _mapping_problems(where, f"{key}.", value, schema)
        elif schema is not None:
            problems.append(f"{where}{key}: {value}: choose with `override /{key}: …` in defaults")
        elif key != "hydra":
            problems += _mapping_problems(where, "", {key: value}, Config)
    return problems


def _mapping_problems(where: str, prefix: str, content: dict[str, Any], schema: type) -> list[str]:
    problems = []
    fields = settings_of(schema)
    for key, value in content.items():
        if key not in fields:
            known = [name for name in fields if name != "name"]
            problems.append(f"{where}{prefix}{key} is not a setting; {did_you_mean(str(key), known)}")
        elif "rule" not in fields[key].metadata:
            inner = type_of(schema, key)
            problems += _mapping_problems(where, f"{prefix}{key}.", value, inner)
        elif not (isinstance(value, str) and "${" in value):
            wrong = problem(type_of(schema, key), rule_of(fields[key]), value)
            if wrong is not None:
                problems.append(f"{where}{prefix}{key}: {_shown(value)}: {wrong}")
    return problems


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
