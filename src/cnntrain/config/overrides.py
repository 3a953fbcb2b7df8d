"""Checks of what stands on the command line, word by word, before anything is composed."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from .choices import EXPERIMENT, Choices, built_in_folder
from .fields import default_of, problem, rule_of, settings_of, spelt, type_of
from .options import GROUPS, OPTIONS
from .root import JOB_SETTINGS, Config
from .suggest import did_you_mean, nearest

DEFAULT_CHOICES = "config.yaml"


@dataclass
class Selection:
    """The words of one run, sorted: the file of each group, the settings given, what is Hydra's."""

    groups: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    hydra: list[str] = field(default_factory=list)


def combinations(words: list[str], loader: ConfigLoader) -> list[list[str]]:
    """Return the words of every job of a sweep: each word with commas takes each of its values.

    An interval, which only some sweepers take, stands with both its ends. `loader` resolves glob(…).
    """
    parser = OverridesParser.create(config_loader=loader)
    alternatives: list[list[str]] = []
    for word in words:
        try:
            (override,) = parser.parse_overrides([word])
        except HydraException:
            alternatives.append([word])
            continue
        key = override.get_key_element()
        if override.is_interval_sweep():
            interval: Any = override.value()
            alternatives.append([f"{key}={interval.start}", f"{key}={interval.end}"])
        elif override.is_sweep_override():
            alternatives.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            alternatives.append([word])
    return [list(job) for job in itertools.product(*alternatives)]


def sort_words(words: list[str], choices: Choices) -> tuple[Selection, list[str]]:
    """Return the valid words of one run sorted by kind, and a line for each word that is not valid."""
    selection, problems = Selection(), []
    undecided: set[str] = set()
    parser = OverridesParser.create()
    later: list[Override] = []
    skip = 0
    for i, word in enumerate(words):
        if skip:
            skip -= 1
        elif i + 1 < len(words) and words[i + 1] == "=":
            value = words[i + 2] if i + 2 < len(words) else "VALUE"
            problems.append(f"{word} = {value}: settings are written without spaces: {word}={value}")
            skip = 2
        elif "=" not in word and not word.startswith("~"):
            problems.append(f"{word}: settings are written key=value, as in trainer.epochs=10")
        else:
            try:
                override = parser.parse_override(word)
            except HydraException as error:
                problems.append(f"{word}: cannot be read ({str(error).splitlines()[0]})")
                continue
            wrong = _sort(override, word, choices, selection, later)
            if wrong is not None:
                problems.append(wrong)
                undecided.add(override.key_or_group)
    chosen = effective_choices(selection, choices)
    for override in later:
        if override.key_or_group.partition(".")[0] in undecided:
            wrong = _wrong_for_all(override)
        else:
            wrong = _check_setting(override, chosen, choices, selection)
        if wrong is not None:
            problems.append(wrong)
    return selection, problems


def effective_choices(selection: Selection, choices: Choices) -> dict[str, str]:
    """Return the choice of each group in force: the command line's, else the experiment's, else ours."""
    from .files import read_strictly

    def entries(path: Any) -> dict[str, str]:
        content, problems = read_strictly(path)
        found = {}
        listed = content.get("defaults", []) if isinstance(content, dict) else []
        for entry in listed if isinstance(listed, list) and not problems else []:
            if isinstance(entry, dict):
                key, value = next(iter(entry.items()))
                found[str(key).replace("override /", "")] = str(value)
        return found

    chosen = entries(built_in_folder() / DEFAULT_CHOICES)
    if EXPERIMENT in selection.groups:
        path = choices.path(EXPERIMENT, selection.groups[EXPERIMENT])
        assert path is not None
        chosen |= entries(path)
    chosen |= selection.groups
    return {group: chosen[group] for group in GROUPS if choices.path(group, chosen[group]) is not None}


def _sort(
    override: Override, word: str, choices: Choices, selection: Selection, later: list[Override]
) -> str | None:
    """Put one word where it belongs, or return what is wrong with it; settings are checked later."""
    key = override.key_or_group
    if key.startswith(("hydra.", "hydra/")):
        if key.startswith("hydra.searchpath"):
            return f"{word}: give your own folder of YAML files as --config-dir FOLDER"
        selection.hydra.append(word)
        return None
    if key == "schema" or key.startswith(("schema/", "schema.")):
        return f"{word}: schemas are not choices; choose by {key.split('/')[-1]}=NAME"
    if override.package is not None:
        return f"{word}: a choice cannot be moved with @; write {key}=NAME"
    if override.is_sweep_override():
        return f"{word}: a list of values needs -m (cnntrain -m {word})"
    groups = [*GROUPS, EXPERIMENT]
    if key in groups:
        return _sort_group(override, word, choices, selection)
    if override.type == OverrideType.DEL:
        return f"{word}: nothing can be removed from the configuration; settings are changed by key=value"
    if override.value_type is not None and "." not in key and key not in settings_of(Config):
        near = nearest(key, groups)
        if near is not None:
            return f"{word}: unknown; did you mean {near}={_plain(override)}?"
    later.append(override)
    return None


def _sort_group(override: Override, word: str, choices: Choices, selection: Selection) -> str | None:
    group, name = override.key_or_group, _plain(override)
    known = choices.names(group)
    if override.type == OverrideType.DEL:
        return f"{word}: a run needs its {group}; choose with {group}=NAME, one of {', '.join(known)}"
    if group == EXPERIMENT and override.value() is None:
        return None
    if not isinstance(override.value(), str | int | float | bool | QuotedString):
        return f"{word}: {group} needs a name, one of {', '.join(known)}"
    if not name:
        return f"{word}: {group} needs a name, one of {', '.join(known)}"
    if choices.path(group, name) is None:
        return f"{word}: {group} has no choice {name}; {did_you_mean(name, known)}"
    selection.groups[group] = name
    return None


def _check_setting(
    override: Override, chosen: dict[str, str], choices: Choices, selection: Selection
) -> str | None:
    key = override.key_or_group
    value = _python(override.value())
    written = f"{key}={_plain(override)}"
    found = find_setting(key, chosen, choices)
    if isinstance(found, str):
        return f"{written}: {found}"
    schema, leaf = found
    if "." in leaf or (isinstance(value, str) and "${" in value):
        selection.settings[key] = value
        return None
    entry = settings_of(schema)[leaf]
    rule = rule_of(entry)
    if rule.fixed:
        return f"{written}: {key} cannot be set; choose with {key.split('.')[0]}=NAME"
    wrong = problem(type_of(schema, leaf), rule, value)
    if wrong is None:
        selection.settings[key] = value
        return None
    if rule.choices is not None:
        near = nearest(str(value), [str(choice) for choice in rule.choices])
        wrong += f"; did you mean {near}?" if near else ""
    else:
        wrong += f"; the default is {spelt(default_of(entry))}"
    return f"{written}: {wrong}"


def _wrong_for_all(override: Override) -> str | None:
    """Return what is wrong with a setting of a group whose choice is unknown, if it is for every choice."""
    group, _, leaf = override.key_or_group.partition(".")
    having = [option for option in OPTIONS.get(group, []) if leaf in settings_of(option)]
    value = _python(override.value())
    found = [problem(type_of(option, leaf), rule_of(settings_of(option)[leaf]), value) for option in having]
    if not having or any(wrong is None for wrong in found):
        return None
    return f"{override.key_or_group}={_plain(override)}: {found[0]}"


def find_setting(key: str, chosen: dict[str, str], choices: Choices) -> tuple[type, str] | str:
    """Return the dataclass and field name behind a dotted key, or what is wrong with the key."""
    head, _, rest = key.partition(".")
    if head in chosen:
        schema = choices.schema(head, chosen[head])
        if schema is None:
            return f"the file behind {head}={chosen[head]} does not say which settings it has"
        fields = settings_of(schema)
        if rest in fields or _inside_mapping(schema, rest):
            return schema, rest
        own = [name for name in fields if name != "name"]
        if not rest:
            return f"choose with {head}=NAME, one of {', '.join(choices.names(head))}"
        near = nearest(rest, own)
        having = [
            name for name in choices.names(head) if rest in settings_of(choices.schema(head, name) or Config)
        ]
        others = f" ({rest} belongs to {head}={', '.join(having[:6])}{', …' if len(having) > 6 else ''})"
        others = others if having else ""
        hint = f"did you mean {head}.{near}?" if near else f"its settings are {', '.join(own) or 'none'}"
        return f"{head}={chosen[head]} has no setting {rest}{others}; {hint}"
    if key in settings_of(Config) and key not in GROUPS and key not in JOB_SETTINGS:
        return Config, key
    if head in JOB_SETTINGS and rest in settings_of(JOB_SETTINGS[head]):
        return JOB_SETTINGS[head], rest
    return f"is not a setting; {_hint(key, chosen, choices)}"


def find_setting_anywhere(name: str) -> str | None:
    """Return the dotted key of a setting called `name` (or spelt like it), whatever group it is in."""
    known = {leaf: leaf for leaf in settings_of(Config) if leaf not in GROUPS and leaf not in JOB_SETTINGS}
    for group, options in OPTIONS.items():
        for option in options:
            for leaf in settings_of(option):
                known.setdefault(leaf, f"{group}.{leaf}")
    known |= {group: group for group in (*GROUPS, EXPERIMENT)}
    known.pop("name", None)
    near = name if name in known else nearest(name, known)
    return known[near] if near else None


def _inside_mapping(schema: type, rest: str) -> bool:
    """Whether `rest` lies inside a setting that is a free mapping, as in model.arguments.width."""
    name, dot, _ = rest.partition(".")
    return (
        bool(dot)
        and name in settings_of(schema)
        and re.match(r"^dict", str(type_of(schema, name))) is not None
    )


def _hint(key: str, chosen: dict[str, str], choices: Choices) -> str:
    """Return the nearest dotted key: first one with the same last part, else one spelt alike."""
    known = [name for name in settings_of(Config) if name not in GROUPS and name not in JOB_SETTINGS]
    known += [f"{job}.{name}" for job, settings in JOB_SETTINGS.items() for name in settings_of(settings)]
    for group, name in chosen.items():
        schema = choices.schema(group, name)
        known += [f"{group}.{leaf}" for leaf in settings_of(schema) if leaf != "name"] if schema else []
    leaf = key.rpartition(".")[2]
    same = [entry for entry in known if entry.rpartition(".")[2] == leaf]
    near = nearest(key, same) or (same[0] if same else nearest(key, [*known, *GROUPS, EXPERIMENT]))
    if near is None:
        near = nearest(leaf, [entry.rpartition(".")[2] for entry in known])
        near = next((entry for entry in known if entry.rpartition(".")[2] == near), None)
    return f"did you mean {near}?" if near else "cnntrain --help lists the groups"


def _plain(override: Override) -> str:
    """Return the value as the user wrote it."""
    if override.type == OverrideType.DEL:
        return ""
    return str(override.get_value_element_as_str()).strip("'\"")


def _python(value: Any) -> Any:
    """Return Hydra's parsed value as plain Python."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_python(entry) for entry in value]
    if isinstance(value, dict):
        return {str(_python(key)): _python(entry) for key, entry in value.items()}
    return value
