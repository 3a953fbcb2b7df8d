"""Step 2 of 4, select: the effective choice of each group, and the settings that the overrides give.

Each override is parsed by Hydra's own parser and checked against the effective choice; nothing is composed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from ..settings.fields import default_of, format_value, problem, rule_of, settings_of, type_of
from ..settings.suggest import did_you_mean, nearest
from ..settings.tree import GROUPS, Config
from .choices import EXPERIMENT, Choice, Choices, overridden_groups
from .options import OPTIONS
from .setting_names import find_setting
from .user_files import file_problems
from .yaml_files import read_yaml


@dataclass
class Selection:
    """What the overrides of one run select.

    chosen: the effective choice of each group. given: the choices that the overrides name, the experiment
    included. settings: dotted key → value. hydra: overrides of Hydra's own configuration. problems: a line
    for each override that is wrong. file_problems: a line for each error in the user's selected files.
    """

    chosen: dict[str, Choice] = field(default_factory=dict)
    given: dict[str, Choice] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    hydra: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    file_problems: list[str] = field(default_factory=list)


def select(overrides: list[str], choices: Choices, stored: dict[str, Choice] | None = None) -> Selection:
    """Return what the overrides select; `stored` are the choices of an earlier run, which they cannot change.

    The effective choice of a group is that of the command line, else the experiment's, else the default.
    """
    selection = Selection()
    parsed = list(_parsed(overrides, selection.problems))
    settings: list[Override] = []
    invalid: set[str] = set()
    for override, text in parsed:
        group = override.key_or_group
        if group in (*GROUPS, EXPERIMENT) and _is_plain(override):
            wrong = _select_group(override, text, choices, selection)
        else:
            wrong = _sort_setting(override, text, selection, settings)
        if wrong is not None:
            selection.problems.append(wrong)
            invalid.add(group)
    selection.chosen = _effective_choices(selection.given, choices) if stored is None else stored
    for override in settings:
        group = override.key_or_group.partition(".")[0]
        if group in invalid:
            wrong = _wrong_for_every_option(override)
        else:
            wrong = _select_setting(override, choices, selection)
        selection.problems += [wrong] if wrong else []
    if stored is None:
        _check_user_files(selection, choices)
    return selection


def _parsed(overrides: list[str], problems: list[str]) -> list[tuple[Override, str]]:
    """Return each override as Hydra parses it, with its text; adds a line for each that cannot be parsed."""
    parser = OverridesParser.create()
    parsed, skip = [], 0
    for i, text in enumerate(overrides):
        if skip:
            skip -= 1
        elif i + 1 < len(overrides) and overrides[i + 1] == "=":
            value = overrides[i + 2] if i + 2 < len(overrides) else "VALUE"
            problems.append(f"{text} = {value}: settings are written without spaces: {text}={value}")
            skip = 2
        elif "=" not in text and not text.startswith("~"):
            problems.append(f"{text}: settings are written key=value, as in trainer.epochs=10")
        else:
            try:
                parsed.append((parser.parse_override(text), text))
            except HydraException as error:
                problems.append(f"{text}: cannot be read ({str(error).splitlines()[0]})")
    return parsed


def _is_plain(override: Override) -> bool:
    """Return whether an override is one value for one key, without a package."""
    return override.package is None and not override.is_sweep_override()


def _select_group(override: Override, text: str, choices: Choices, selection: Selection) -> str | None:
    """Store the choice of a group, or return an error for it."""
    group, name = override.key_or_group, written_value(override)
    known = choices.names(group)
    if override.type == OverrideType.DEL:
        return f"{text}: a run needs its {group}; choose with {group}=NAME, one of {', '.join(known)}"
    if group == EXPERIMENT and override.value() is None:
        return None
    if not isinstance(override.value(), str | int | float | bool | QuotedString) or not name:
        return f"{text}: {group} needs a name, one of {', '.join(known)}"
    choice = choices.find(group, name)
    if choice is None:
        return f"{text}: {group} has no choice {name}; {did_you_mean(name, known)}"
    selection.given[group] = choice
    return None


def _sort_setting(
    override: Override, text: str, selection: Selection, settings: list[Override]
) -> str | None:
    """Add an override to Hydra's or to the settings, or return an error for its form."""
    key = override.key_or_group
    if key.startswith(("hydra.", "hydra/")):
        if key.startswith("hydra.searchpath"):
            return f"{text}: give your own folder of YAML files as --config-dir FOLDER"
        selection.hydra.append(text)
        return None
    if key == "schema" or key.startswith(("schema/", "schema.")):
        return f"{text}: schemas are not choices; choose by {key.split('/')[-1]}=NAME"
    if override.package is not None:
        return f"{text}: a choice cannot be moved with @; write {key}=NAME"
    if override.is_sweep_override():
        return f"{text}: a list of values needs -m (cnntrain -m {text})"
    if override.type == OverrideType.DEL:
        return f"{text}: nothing can be removed from the configuration; settings are changed by key=value"
    if override.value_type is not None and "." not in key and key not in settings_of(Config):
        near = nearest(key, [*GROUPS, EXPERIMENT])
        if near is not None:
            return f"{text}: unknown; did you mean {near}={written_value(override)}?"
    settings.append(override)
    return None


def _effective_choices(given: dict[str, Choice], choices: Choices) -> dict[str, Choice]:
    named = dict(choices.defaults)
    if EXPERIMENT in given:
        content, problems = read_yaml(given[EXPERIMENT].path)
        named |= {} if problems else overridden_groups(content)
    found = {group: given.get(group) or choices.find(group, named[group]) for group in GROUPS}
    return {group: choice for group, choice in found.items() if choice is not None}


def _select_setting(override: Override, choices: Choices, selection: Selection) -> str | None:
    """Store the value of a setting, or return an error for its key or its value."""
    key, value = override.key_or_group, plain_value(override.value())
    written = f"{key}={written_value(override)}"
    found = find_setting(key, selection.chosen, choices)
    if isinstance(found, str):
        return f"{written}: {found}"
    if found.inside or (isinstance(value, str) and "${" in value):
        selection.settings[key] = value
        return None
    entry = settings_of(found.schema)[found.name]
    rule = rule_of(entry)
    if rule.fixed:
        return f"{written}: {key} cannot be set; choose with {key.split('.')[0]}=NAME"
    wrong = problem(type_of(found.schema, found.name), rule, value)
    if wrong is None:
        selection.settings[key] = value
        return None
    if rule.choices is not None:
        near = nearest(str(value), [str(choice) for choice in rule.choices])
        wrong += f"; did you mean {near}?" if near else ""
    else:
        wrong += f"; the default is {format_value(default_of(entry))}"
    return f"{written}: {wrong}"


def _wrong_for_every_option(override: Override) -> str | None:
    """Return an error for a setting of a group with an unknown choice, if every option would reject it."""
    group, _, leaf = override.key_or_group.partition(".")
    having = [option for option in OPTIONS.get(group, []) if leaf in settings_of(option)]
    value = plain_value(override.value())
    found = [problem(type_of(option, leaf), rule_of(settings_of(option)[leaf]), value) for option in having]
    if not having or any(wrong is None for wrong in found):
        return None
    return f"{override.key_or_group}={written_value(override)}: {found[0]}"


def _check_user_files(selection: Selection, choices: Choices) -> None:
    effective = {**selection.chosen, **selection.given}
    for choice in effective.values():
        if choice.from_user:
            selection.file_problems += file_problems(choice, choices, selection.chosen)


def written_value(override: Override) -> str:
    """Return an override's value as the user wrote it."""
    if override.type == OverrideType.DEL:
        return ""
    return str(override.get_value_element_as_str()).strip("'\"")


def plain_value(value: Any) -> Any:
    """Return a value that Hydra parsed as plain Python."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain_value(entry) for entry in value]
    if isinstance(value, dict):
        return {str(plain_value(key)): plain_value(entry) for key, entry in value.items()}
    return value
