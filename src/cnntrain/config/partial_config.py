"""The configuration behind invalid overrides, so that all other settings are checked with them."""

from __future__ import annotations

from typing import Any

from ..settings.config_tree import Config
from ..settings.fields import convert, settings_of, type_of
from .choice_files import EXPERIMENT
from .select_choices import Selection


def partial_config(selection: Selection) -> Config | None:
    """Return the chosen files with all valid settings laid over them, None where a file has no schema.

    Equal to what Hydra composes, which takes too long to import for an error message; interpolations, which
    only Hydra resolves, leave the default.
    """
    config = Config()
    for group, choice in selection.chosen.items():
        if choice.schema is None:
            return None
        setattr(config, group, choice.schema())
        _lay_over(getattr(config, group), choice.values)
    if EXPERIMENT in selection.given:
        _lay_over(config, selection.given[EXPERIMENT].values)
    for key, value in selection.settings.items():
        for name in reversed(key.split(".")):
            value = {name: value}
        _lay_over(config, value)
    return config


def _lay_over(settings: Any, values: dict[str, Any]) -> None:
    """Set the fields of a settings dataclass that `values` names, nested ones included."""
    fields = settings_of(type(settings))
    for name, value in values.items():
        if name not in fields or (isinstance(value, str) and "${" in value):
            continue
        if "rule" not in fields[name].metadata:
            if isinstance(value, dict):
                _lay_over(getattr(settings, name), value)
            continue
        old = getattr(settings, name)
        try:
            new = convert(type_of(type(settings), name), value)
        except ValueError:
            continue
        setattr(settings, name, {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new)
