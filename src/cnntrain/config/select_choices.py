"""Step 2 of 4, select: the effective choice of each group, and the settings that the overrides give.

Each override is parsed and checked against the effective choice; nothing is composed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..settings.config_tree import GROUPS, Config
from ..settings.fields import (
    default_of,
    expanded,
    format_value,
    is_free_text,
    problem,
    rule_of,
    settings_of,
    shorten,
    type_of,
)
from ..settings.nearest_name import did_you_mean, nearest
from .choice_files import EXPERIMENT, Choice, Choices, overridden_groups
from .option_table import OPTIONS
from .other_tools import COMMANDS, SETTINGS
from .parse_override import Override, parse_override
from .read_yaml import read_yaml
from .unknown_names import find_setting, unknown_choice
from .user_file_checks import file_problems

# What can be set of hydra.run and hydra.sweep: folders, which are text whatever their characters.
HYDRA_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
# What else of Hydra's configuration has an effect, in a sweep.
HYDRA_SWEEPS = (
    *("hydra/launcher", "hydra/sweeper", "hydra/callbacks", "hydra.launcher.", "hydra.sweeper."),
    *("hydra.callbacks.", "hydra.job.env_set.", "hydra.job.env_copy"),
)

RANGE = re.compile(r"^(log|uniform|int)\(.*,.*\)$")
CALL = re.compile(r"^[A-Za-z_]\w*\(.*\)$")


@dataclass
class Selection:
    """What the overrides of one run select.

    chosen: the effective choice of each group. given: the choices that the overrides name, the experiment
    included. settings: dotted key → value. folders: those of Hydra's run and sweep, by key. hydra: other
    overrides of Hydra's own configuration. problems: a line for each override that is wrong. file_problems:
    a line for each error in the user's selected files.
    """

    chosen: dict[str, Choice] = field(default_factory=dict)
    given: dict[str, Choice] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    hydra: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    file_problems: list[str] = field(default_factory=list)


def select(overrides: list[str], choices: Choices, stored: dict[str, Choice] | None = None) -> Selection:
    """Return what the overrides select; `stored` are the choices of an earlier run, which they cannot change.

    The effective choice of a group is that of the command line, else the experiment's, else the default.
    """
    selection = Selection()
    settings: list[Override] = []
    invalid: set[str] = set()
    for override in _parsed(overrides, selection.problems):
        group = override.key
        if group in (*GROUPS, EXPERIMENT) and override.package is None:
            wrong = _select_group(override, choices, selection)
        else:
            wrong = _sort_setting(override, selection, settings)
        if wrong is not None:
            selection.problems.append(wrong)
            invalid.add(group)
    selection.chosen = _effective_choices(selection.given, choices) if stored is None else stored
    for override in settings:
        group = override.key.partition(".")[0]
        if group in invalid:
            wrong = _wrong_for_every_option(override)
        else:
            wrong = _select_setting(override, choices, selection)
        selection.problems += [wrong] if wrong else []
    if stored is None:
        _check_user_files(selection, choices)
    return selection


def _parsed(overrides: list[str], problems: list[str]) -> list[Override]:
    """Return the parsed overrides; adds a line for each that cannot be parsed."""
    parsed, skip = [], 0
    for i, text in enumerate(overrides):
        if skip:
            skip -= 1
        elif i + 1 < len(overrides) and overrides[i + 1] == "=":
            value = overrides[i + 2] if i + 2 < len(overrides) else "VALUE"
            problems.append(f"{text} = {value}: settings are written without spaces: {text}={value}")
            skip = 2
        elif text in COMMANDS:
            problems.append(f"{text}: {COMMANDS[text]}")
        elif "=" not in text and not text.startswith("~"):
            problems.append(f"{shorten(text)}: settings are written key=value, as in trainer.epochs=10")
        else:
            try:
                parsed.append(parse_override(text))
            except ValueError as error:
                problems.append(f"{shorten(text)}: cannot be read ({shorten(error)})")
    return parsed


def _select_group(override: Override, choices: Choices, selection: Selection) -> str | None:
    """Store the choice of a group, or return an error for it."""
    group, name, text = override.key, override.written, shorten(override.text)
    known = choices.names(group)
    if override.deletes and group == EXPERIMENT:
        return f"{text}: there is none unless it is chosen; leave it out"
    if override.deletes:
        return f"{text}: a run needs its {group}; choose with {group}=NAME, one of {', '.join(known)}"
    if group == EXPERIMENT and override.value is None:
        return None
    if override.sweeps:
        return f"{text}: several values, one for each run, need -m"
    if override.error is None and (not isinstance(override.value, str | int | float | bool) or not name):
        return f"{text}: {group} needs a name, one of {', '.join(known)}"
    choice = choices.find(group, name)
    if choice is None:
        return f"{text}: {unknown_choice(group, name, choices)}"
    selection.given[group] = choice
    return None


def _sort_setting(override: Override, selection: Selection, settings: list[Override]) -> str | None:
    """Add an override to Hydra's or to the settings, or return an error for its form."""
    key, text = override.key, shorten(override.text)
    if key.startswith(("hydra.", "hydra/")):
        return _select_hydra(override, selection)
    if key == "schema" or key.startswith(("schema/", "schema.")):
        return f"{text}: schemas are not choices; choose by {key.split('/')[-1]}=NAME"
    if override.package is not None:
        return f"{text}: a choice cannot be moved with @; write {key}=NAME"
    if override.deletes:
        return f"{text}: nothing can be removed from the configuration; settings are changed by key=value"
    if "." not in key and key not in settings_of(Config):
        near = None if key in SETTINGS else nearest(key, [*GROUPS, EXPERIMENT])
        if near is not None:
            return f"{text}: unknown; did you mean {near}={shorten(override.written)}?"
    settings.append(override)
    return None


def _select_hydra(override: Override, selection: Selection) -> str | None:
    """Store an override of Hydra's own configuration, or return an error for it."""
    key, text = override.key, shorten(override.text)
    if key.startswith("hydra.searchpath"):
        return f"{text}: give your own folder of YAML files as --config-dir FOLDER"
    if key.startswith(("hydra.run.", "hydra.sweep.")):
        if key not in HYDRA_FOLDERS:
            return f"{text}: is not a setting; {did_you_mean(key, HYDRA_FOLDERS)}"
        folder = override.literal()
        if not folder or override.deletes:
            return f"{text}: name a folder, as in {key}=outputs/first"
        selection.folders[key] = str(expanded(folder))
        return None
    if "_target_" in key:
        return f"{text}: is not a setting; choose a launcher or sweeper by hydra/launcher=NAME"
    if not key.startswith(HYDRA_SWEEPS):
        return (
            f"{text}: has no effect; of Hydra's configuration, folders (hydra.run.dir, hydra.sweep.dir), the "
            "launcher and the sweeper (hydra/launcher=NAME, hydra/sweeper=NAME) can be set"
        )
    if override.error is not None:
        return f"{text}: cannot be read ({shorten(override.error)})"
    selection.hydra.append(override.text)
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
    key, value = override.key, override.value
    written = f"{key}={shorten(override.written)}"
    found = find_setting(key, selection.chosen, choices)
    if isinstance(found, str):
        return f"{written}: {found}"
    if not found.inside and is_free_text(found.schema, found.name):
        value = override.literal()
    elif RANGE.match(override.written) or override.error is not None:
        return f"{written}: {_unreadable(override)}"
    elif override.sweeps:
        if "list" in str(type_of(found.schema, found.name)):
            return f"{written}: a list is written {key}=[{shorten(override.written)}]; several runs need -m"
        return f"{written}: several values, one for each run, need -m"
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


def _unreadable(override: Override) -> str:
    """Return why a value cannot be read: it may be a range, which a single run cannot have."""
    if RANGE.match(override.written):
        return "a range is searched by a sweep; add -m"
    if CALL.match(override.written):
        return "is no function; ranges are log(low,high), uniform(low,high), int(low,high), lists choice(a,b)"
    return f"cannot be read ({shorten(override.error)})"


def _wrong_for_every_option(override: Override) -> str | None:
    """Return an error for a setting of a group with an unknown choice, if every option would reject it."""
    group, _, leaf = override.key.partition(".")
    having = [option for option in OPTIONS.get(group, []) if leaf in settings_of(option)]
    found = [
        problem(type_of(option, leaf), rule_of(settings_of(option)[leaf]), override.value)
        for option in having
    ]
    if not having or any(wrong is None for wrong in found):
        return None
    return f"{override.key}={override.written}: {found[0]}"


def _check_user_files(selection: Selection, choices: Choices) -> None:
    effective = {**selection.chosen, **selection.given}
    for choice in effective.values():
        if choice.from_user:
            selection.file_problems += file_problems(choice, choices, selection.chosen)
