"""The configuration of a run on disk: written as YAML, merged back onto the schemas, never composed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import DataError
from ..runs import file_names
from ..settings.config_tree import GROUPS, Config
from ..settings.nearest_name import nearest
from ..version import __version__
from .option_table import name_of, option, typed


def to_yaml(config: Config) -> str:
    """Return the configuration as YAML text: every setting by name and value."""
    tree = OmegaConf.structured(config)
    return f"# cnntrain {__version__}\n" + OmegaConf.to_yaml(tree)


def from_yaml(text: str, source: str) -> Config:
    """Return the configuration a YAML text holds; raises DataError naming `source` where it does not fit.

    Options and settings under names of earlier versions are accepted.
    """
    try:
        stored: Any = OmegaConf.create(text)
        root = OmegaConf.structured(Config)
        for group in GROUPS:
            if group not in stored:
                raise DataError(
                    f"{source}: was written by an earlier version (it has no {group}); start a new run"
                )
            entry = option(group, stored[group]["name"])
            if entry is None:
                raise DataError(
                    f"{source}: {group} is {stored[group]['name']}, which this version does not have"
                )
            stored[group]["name"] = name_of(entry)
            root[group] = OmegaConf.structured(entry)
        return typed(OmegaConf.merge(root, stored))
    except (OmegaConfBaseException, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: is not a stored configuration of cnntrain ({reason})") from error


def read(folder: Path, setting: str = "run") -> Config:
    """Return the configuration in a run's folder, which `setting` named; raises DataError where none is."""
    file = folder / file_names.CONFIG
    if not folder.is_dir():
        near = nearest(folder.name, [entry.name for entry in folder.parent.glob("*") if entry.is_dir()])
        hint = f"; did you mean {folder.parent / near}?" if near else ""
        raise DataError(f"{setting}={folder}: there is no such folder{hint}")
    if not file.is_file():
        raise DataError(
            f"{setting}={folder}: holds no run (no {file_names.CONFIG}); name the folder that a run printed"
        )
    try:
        return from_yaml(file.read_text(encoding="utf-8"), str(file))
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
