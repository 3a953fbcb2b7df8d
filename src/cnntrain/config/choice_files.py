"""The YAML files on disk: the choices of each group, from the user's folder and from ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .option_table import option
from .read_yaml import read_yaml

EXPERIMENT = "experiment"
# The file that names the default choice of every group.
DEFAULT_CHOICES = "config.yaml"
FILE_NAME = re.compile(r"^[\w.+-]{1,100}$")
SCHEMA = re.compile(r"^/?schema/(?P<group>\w+)/(?P<name>\w+)@_here_$")


@dataclass(frozen=True)
class Choice:
    """A YAML file that can be chosen as group=name.

    folders: those in which the names of its defaults list are looked up, the user's before ours.
    from_user: it lies in the user's own folder.
    """

    group: str
    name: str
    path: Path
    folders: tuple[Path, ...]
    from_user: bool

    @cached_property
    def schema(self) -> type | None:
        """The dataclass its settings are checked against: the one its defaults list leads to, or None."""
        path, seen = self.path, set[Path]()
        while path not in seen:
            seen.add(path)
            entries = _defaults_entries(path)
            for entry in entries:
                if (match := SCHEMA.match(entry)) and match["group"] == self.group:
                    return option(self.group, match["name"])
            parents = [entry for entry in entries if entry != "_self_" and "/" not in entry]
            path = next((found for entry in parents if (found := self._parent(path, entry))), path)
        return None

    @cached_property
    def values(self) -> dict[str, Any]:
        """The settings in the file, over those of the files that its defaults list names."""
        return self._values(self.path, frozenset())

    @cached_property
    def sets_hydra(self) -> bool:
        """Whether the file has settings of Hydra itself."""
        content, _ = read_yaml(self.path)
        return isinstance(content, dict) and "hydra" in content

    def _values(self, path: Path, seen: frozenset[Path]) -> dict[str, Any]:
        content, _ = read_yaml(path)
        if not isinstance(content, dict) or path in seen:
            return {}
        own = {str(name): value for name, value in content.items() if name not in ("defaults", "hydra")}
        entries = _defaults_entries(path)
        values: dict[str, Any] = {}
        for entry in entries if "_self_" in entries else [*entries, "_self_"]:
            if entry == "_self_":
                values |= own
            elif "/" not in entry and (parent := self._parent(path, entry)) is not None:
                values |= self._values(parent, seen | {path})
        return values

    def description(self) -> str:
        """Return the first comment line of the file, which describes the choice."""
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("#") and "@package" not in line:
                return line.lstrip("# ").rstrip()
        return ""

    def _parent(self, path: Path, name: str) -> Path | None:
        """Return the file that a defaults list names; a file that names itself means ours of that name."""
        folders = (built_in_folder(),) if path.stem == name else self.folders
        files = [folder / self.group / f"{name}.yaml" for folder in folders]
        return next((file for file in files if file.is_file()), None)


@cache
def built_in_folder() -> Path:
    """Return the folder of our own YAML files: cnntrain/conf in a wheel, conf/ beside src/ in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent.parent / "conf"


class Choices:
    """The choices of every group, those of the user's folder before ours; each file is read once."""

    def __init__(self, user_folder: Path | None = None):
        self.user_folder = user_folder
        self._folders = tuple(folder for folder in (user_folder, built_in_folder()) if folder is not None)
        self._found: dict[tuple[str, str], Choice | None] = {}

    def names(self, group: str) -> list[str]:
        """Return the names of the choices of a group, in natural order."""
        found = {path.stem for folder in self._folders for path in (folder / group).glob("*.yaml")}
        return sorted((name for name in found if FILE_NAME.match(name)), key=_natural)

    def find(self, group: str, name: str) -> Choice | None:
        """Return the choice group=name, or None where there is no such file."""
        key = (group, name)
        if key not in self._found:
            self._found[key] = self._find(group, name)
        return self._found[key]

    def all(self, group: str) -> list[Choice]:
        """Return all choices of a group, in natural order."""
        return [choice for name in self.names(group) if (choice := self.find(group, name)) is not None]

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The name of the default choice of every group."""
        return overridden_groups(read_yaml(built_in_folder() / DEFAULT_CHOICES)[0])

    def _find(self, group: str, name: str) -> Choice | None:
        if not FILE_NAME.match(name):
            return None
        for folder in self._folders:
            path = folder / group / f"{name}.yaml"
            if path.is_file():
                return Choice(group, name, path, self._folders, folder == self.user_folder)
        return None


def overridden_groups(content: Any) -> dict[str, str]:
    """Return group → name of a defaults list with entries `model: vgg11` or `override /model: vgg11`."""
    entries = content.get("defaults", []) if isinstance(content, dict) else []
    found = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            key, value = next(iter(entry.items()))
            if value is not None:
                found[str(key).replace("override /", "")] = str(value)
    return found


def _defaults_entries(path: Path) -> list[str]:
    """Return the plain entries of a file's defaults list; none where it has none or cannot be read."""
    content, _ = read_yaml(path)
    entries = content.get("defaults", []) if isinstance(content, dict) else []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts vgg11 before vgg16 and resnet20 before resnet110."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]
