"""Every setting of a tree against its own rule: type, range, choices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..settings.fields import problem, rule_of, settings_of, type_of
from ..settings.tree import GROUPS, JOB_SETTINGS, Config


def rule_problems(config: Config) -> list[str]:
    """Return a line for every setting that breaks its rule, wherever its value came from."""
    parts = (*GROUPS, *JOB_SETTINGS)
    problems = list(_broken(config, "", skip=parts))
    for part in parts:
        problems += _broken(getattr(config, part), f"{part}.")
    return problems


def _broken(node: Any, prefix: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in settings_of(type(node)).items():
        if name in skip:
            continue
        value = getattr(node, name)
        wrong = problem(type_of(type(node), name), rule_of(field), value)
        if wrong is not None:
            yield f"{prefix}{name}={value}: {wrong}"
