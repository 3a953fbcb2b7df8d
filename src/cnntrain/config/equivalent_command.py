"""The shortest command that gives a configuration: choices, and the settings that differ from them."""

from __future__ import annotations

import shlex
from typing import Any

from ..settings.config_tree import GROUPS, OF_SWEEPS, Config
from ..settings.fields import convert, format_value, is_fixed, settings_of, type_of
from .choice_files import Choice, Choices


def equivalent_command(config: Config, choices: Choices, changes: dict[str, Any] | None = None) -> str:
    """Return the command of a run with this configuration and `changes`, as for a shell.

    changes: setting or group → value; settings of a group's former choice are left out.
    """
    new = {key: written(value) for key, value in (changes or {}).items()}
    groups = tuple(f"{key}." for key in new if key in GROUPS)
    overrides = {
        key: value
        for key, value in equivalent_overrides(config, choices).items()
        if not (groups and key.startswith(groups))
    }
    if config.job == "train" and config.trainer.budget_minutes is not None:  # its epochs are known
        overrides.pop("trainer.budget_minutes", None)
        if "trainer.epochs" in new:
            overrides.pop("trainer.max_steps_per_epoch", None)
    changed = {**overrides, **new}
    return " ".join(["cnntrain", *(shlex.quote(f"{key}={value}") for key, value in changed.items())])


def equivalent_overrides(config: Config, choices: Choices) -> dict[str, str]:
    """Return the overrides of a training with this configuration, by key, in the order of the groups.

    Settings of other jobs are left out.
    """
    overrides: dict[str, str] = {}
    for group in GROUPS:
        if group == OF_SWEEPS:
            continue
        settings = getattr(config, group)
        name, different = _nearest_choice(settings, choices.all(group), choices.defaults[group])
        if name != choices.defaults[group]:
            overrides[group] = name
        overrides |= {f"{group}.{key}": written(value) for key, value in different.items()}
    if config.seed != Config().seed:
        overrides["seed"] = written(config.seed)
    return overrides


def written(value: Any) -> str:
    """Return a value as it is written in an override, floats with all their digits."""
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{written(entry)}' for key, entry in value.items())}}}"
    return format_value(value)


def _nearest_choice(settings: Any, candidates: list[Choice], default: str) -> tuple[str, dict[str, Any]]:
    """Return the choice with the fewest settings that differ from these, and the settings that do."""
    found = []
    for choice in candidates:
        if choice.schema is type(settings):
            own = choice.schema()
            values = choice.values
            for name, field in settings_of(type(settings)).items():
                if name in values and not is_fixed(field):
                    setattr(own, name, convert(type_of(type(settings), name), values[name]))
            different = {
                name: getattr(settings, name)
                for name in settings_of(type(settings))
                if getattr(settings, name) != getattr(own, name)
            }
            found.append((len(different), choice.name != default, choice.name, different))
    _, _, name, different = min(found, key=lambda entry: entry[:3])
    return name, different
