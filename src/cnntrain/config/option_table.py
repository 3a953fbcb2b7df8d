"""The table of all options: which dataclass stands behind which name in which group.

It is found from the groups' settings modules: an option is a dataclass with a fixed `name` of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf

from ..settings.config_tree import GROUP_PACKAGES, Config
from ..settings.fields import convert, is_fixed, settings_of, type_of


def name_of(option: type) -> str:
    """Return the fixed name of an option's dataclass."""
    name = settings_of(option)["name"].default
    assert isinstance(name, str)
    return name


def names_of(option: type) -> tuple[str, ...]:
    """Return an option's name, and the names under which earlier versions stored it."""
    former: tuple[str, ...] = getattr(option, "former_names", ())
    return name_of(option), *former


def option(group: str, name: str) -> type | None:
    """Return the dataclass called `name` in `group`, now or formerly, or None."""
    return next((entry for entry in OPTIONS[group] if name in names_of(entry)), None)


def typed(tree: Any) -> Config:
    """Return a composed tree as dataclasses; raises OmegaConf's errors where a value does not fit."""
    # Hydra keeps the types of groups, not that of the root.
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), tree))
    assert isinstance(config, Config)
    # OmegaConf leaves 2.0 as it is where whole and other numbers are allowed.
    config.trainer.epochs = convert(type_of(type(config.trainer), "epochs"), config.trainer.epochs)
    return config


def _options(package: str) -> list[type]:
    """Return the options that a group's settings define, in the order of definition."""
    return [
        entry
        for module in _settings_modules(package)
        for entry in vars(module).values()
        if isinstance(entry, type) and entry.__module__ == module.__name__ and _is_option(entry)
    ]


def _settings_modules(package: str) -> Iterator[ModuleType]:
    """Yield the module `settings` of a group's package, and those in it where it is a package."""
    settings = importlib.import_module(f"..{package}.settings", __package__)
    yield settings
    for found in pkgutil.iter_modules(getattr(settings, "__path__", ())):
        yield importlib.import_module(f"{settings.__name__}.{found.name}")


def _is_option(entry: type) -> bool:
    return is_dataclass(entry) and "name" in vars(entry) and is_fixed(settings_of(entry)["name"])


OPTIONS: dict[str, list[type]] = {group: _options(package) for group, package in GROUP_PACKAGES.items()}
