"""YAML files, read as OmegaConf reads them, with what YAML would misread reported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

# What YAML 1.1 reads as another number than the one written.
OCTAL = re.compile(r"^[-+]?0[0-9_]+$")
SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")


def read_yaml(path: Path) -> tuple[Any, list[str]]:
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
