"""Settings and choices by name, and what to write in place of an unknown one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..settings.config_tree import GROUPS, Config
from ..settings.fields import settings_of, shorten, type_of
from ..settings.job_settings import JOB_SETTINGS
from ..settings.nearest_name import did_you_mean, nearest
from .choice_files import EXPERIMENT, Choice, Choices
from .option_table import OPTIONS
from .other_tools import SETTINGS


@dataclass(frozen=True)
class Setting:
    """A field of a settings dataclass; `inside` is what follows it, where a key leads into a free mapping."""

    schema: type
    name: str
    inside: str = ""


def find_setting(key: str, chosen: dict[str, Choice], choices: Choices) -> Setting | str:
    """Return the setting behind a dotted key under the effective choices, or an error for the key."""
    head, _, rest = key.partition(".")
    if head in chosen:
        return _setting_of_choice(head, rest, chosen[head], choices)
    if key in settings_of(Config) and key not in GROUPS and key not in JOB_SETTINGS:
        return Setting(Config, key)
    if head in JOB_SETTINGS and rest in settings_of(JOB_SETTINGS[head]):
        return Setting(JOB_SETTINGS[head], rest)
    near = _nearest_key(key, chosen)
    return f"is not a setting; {f'did you mean {near}?' if near else 'cnntrain --help lists the groups'}"


def unknown_choice(group: str, name: str, choices: Choices) -> str:
    """Return the error for a choice that a group does not have."""
    known = choices.names(group)
    family = [other for other in known if len(name) > 2 and other.startswith(name.lower())]
    is_family = len(family) > 1 and name.lower() not in known
    hint = f"choose one of {', '.join(family)}" if is_family else did_you_mean(name, known)
    folder = choices.user_folder
    if folder is not None and (folder / group / f"{name}.yml").is_file():
        hint = f"rename {folder / group / name}.yml to {name}.yaml"
    elif folder is not None and (folder / group / f"{name}.yaml").is_file():
        hint = f"rename {folder / group / name}.yaml: letters, digits and . + - _ can be chosen"
    return f"{group} has no choice {shorten(name)}; {hint}"


def find_anywhere(name: str) -> str | None:
    """Return the dotted key of a setting called `name`, or spelt like it, whatever its group."""
    known = {leaf: leaf for leaf in settings_of(Config) if leaf not in GROUPS and leaf not in JOB_SETTINGS}
    for group, options in OPTIONS.items():
        for option in options:
            for leaf in settings_of(option):
                known.setdefault(leaf, f"{group}.{leaf}")
    known |= {group: group for group in (*GROUPS, EXPERIMENT)}
    known.pop("name", None)
    near = name if name in known else nearest(name, known)
    return known[near] if near else None


def is_setting(key: str) -> bool:
    """Return whether a dotted key is a setting of some option, of a job or of the tree."""
    head, _, leaf = key.partition(".")
    schemas = OPTIONS.get(head, [JOB_SETTINGS[head]] if head in JOB_SETTINGS else [])
    in_tree = key in settings_of(Config) and key not in JOB_SETTINGS
    return in_tree or any(leaf in settings_of(schema) for schema in schemas)


def _setting_of_choice(group: str, rest: str, choice: Choice, choices: Choices) -> Setting | str:
    schema = choice.schema
    if schema is None:
        return f"the file behind {group}={choice.name} does not say which settings it has"
    fields = settings_of(schema)
    if rest in fields:
        return Setting(schema, rest)
    name, dot, inside = rest.partition(".")
    if dot and name in fields and re.match(r"^dict", str(type_of(schema, name))):
        return Setting(schema, name, inside)
    if not rest:
        return f"choose with {group}=NAME, one of {', '.join(choices.names(group))}"
    having = [other.name for other in choices.all(group) if rest in settings_of(other.schema or Config)]
    others = f" ({rest} belongs to {group}={', '.join(having[:6])}{', …' if len(having) > 6 else ''})"
    own = [name for name in fields if name != "name"]
    near = nearest(rest, own)
    hint = f"did you mean {group}.{near}?" if near else f"its settings are {', '.join(own) or 'none'}"
    return f"{group}={choice.name} has no setting {rest}{others if having else ''}; {hint}"


def _nearest_key(key: str, chosen: dict[str, Choice]) -> str | None:
    """Return the nearest dotted key: first one with the same last part, else one spelt like it."""
    known = [name for name in settings_of(Config) if name not in GROUPS and name not in JOB_SETTINGS]
    known += [f"{job}.{name}" for job, settings in JOB_SETTINGS.items() for name in settings_of(settings)]
    for group, choice in chosen.items():
        leaves = settings_of(choice.schema) if choice.schema else {}
        known += [f"{group}.{leaf}" for leaf in leaves if leaf != "name"]
    if key in SETTINGS:
        return SETTINGS[key]
    leaf = key.rpartition(".")[2]
    same = [entry for entry in known if entry.rpartition(".")[2] == leaf]
    near = nearest(key, same) or (same[0] if same else nearest(key, [*known, *GROUPS, EXPERIMENT]))
    if near is None:
        near_leaf = nearest(leaf, [entry.rpartition(".")[2] for entry in known])
        near = next((entry for entry in known if entry.rpartition(".")[2] == near_leaf), None)
    return near
