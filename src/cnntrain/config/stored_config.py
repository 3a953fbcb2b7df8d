"""The configuration of a run on disk: written as YAML, read back key by key, never composed again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..runs import file_names
from ..settings.config_tree import GROUPS, OF_SWEEPS, Config
from ..settings.fields import convert, is_fixed, problem, rule_of, settings_of, shorten, type_of
from ..settings.option import Option
from ..version import __version__
from .option_table import OPTIONS, option
from .read_yaml import dump_yaml, parse_yaml
from .what_is_named import no_run

# Jobs that make a network.
TRAINING = ("train", "head")


def to_yaml(config: Config, with_search: bool = False) -> str:
    """Return the configuration as YAML text: every setting, those of a search if with_search."""
    tree = asdict(config) if with_search else to_tree(config)
    return f"# cnntrain {__version__}\n" + dump_yaml(tree)


def to_tree(config: Config) -> dict[str, Any]:
    """Return the configuration as nested mappings, without the settings of a search."""
    tree = asdict(config)
    del tree[OF_SWEEPS]
    return tree


def from_yaml(text: str, source: str) -> Config:
    """Return the configuration a YAML text holds; raises DataError naming `source` where it does not fit.

    Options and settings under names of earlier versions are accepted; settings that are missing have their
    defaults. Nothing is resolved: interpolations are refused.
    """
    content, problems = parse_yaml(text, "")
    if not problems and not isinstance(content, dict):
        problems = ["holds no settings"]
    config = Config()
    if not problems:
        problems = _set_options(config, content) or _set_values(config, content, "")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{source}: is not a stored configuration of cnntrain: {problems[0]}{more}")
    return config


def _set_options(config: Config, content: dict[str, Any]) -> list[str]:
    """Set each group of a configuration to its stored option, with defaults; return what is wrong."""
    problems = []
    for group in GROUPS:
        stored = content.get(group)
        name = stored.get("name") if isinstance(stored, dict) else None
        found = option(group, name) if isinstance(name, str) else None
        if stored is None and group == OF_SWEEPS:
            setattr(config, group, OPTIONS[group][0]())
        elif stored is None:
            problems.append(f"it has no {group}; it was written by an earlier version, start a new run")
        elif name is None:
            problems.append(f"{group} has no name")
        elif found is None:
            problems.append(f"{group} is {shorten(name)}, which this version does not have")
        else:
            assert issubclass(found, Option)
            setattr(config, group, found.from_stored(name))
    return problems


def _set_values(settings: Any, content: dict[Any, Any], prefix: str) -> list[str]:
    """Set the fields of a settings dataclass, nested ones included; return what is wrong with them."""
    fields, schema = settings_of(type(settings)), type(settings)
    problems = []
    for name, field in fields.items():
        if name not in content and "rule" in field.metadata and rule_of(field).former is not None:
            setattr(settings, name, rule_of(field).former)
    for name, value in content.items():
        key = f"{prefix}{name}"
        if name not in fields:
            problems.append(f"{shorten(key)} is not a setting")
        elif "rule" not in fields[name].metadata:
            if isinstance(value, dict):
                problems += _set_values(getattr(settings, name), value, f"{key}.")
            else:
                problems.append(f"{key}: must be a mapping of settings")
        elif is_fixed(fields[name]):
            continue
        elif "${" in str(value):
            problems.append(f"{key}: {shorten(value)}: interpolations are not read here; write the value")
        elif wrong := problem(type_of(schema, name), rule_of(fields[name]), value):
            problems.append(f"{key}: {shorten(value)}: {wrong}")
        else:
            setattr(settings, name, convert(type_of(schema, name), value))
    return problems


def trains_nothing(config: Config) -> str | None:
    """Return in words that the job of a stored configuration trains no network, None where it does."""
    return None if config.job in TRAINING else f"was made by job={config.job}, which trains nothing"


def read(folder: Path, setting: str = "run") -> Config:
    """Return the configuration in a run's folder, which `setting` named; raises DataError where none is."""
    file = folder / file_names.CONFIG
    if (wrong := no_run(folder)) is not None:
        raise DataError(f"{setting}={shorten(folder)}: {wrong}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{setting}={shorten(folder)}: cannot be read ({error.strerror})") from error
    return from_yaml(text, str(file))
