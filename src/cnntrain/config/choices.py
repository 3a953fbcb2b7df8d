"""The YAML files on disk: the choices of each group, ours and the user's."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml

from .options import option

EXPERIMENT = "experiment"
SCHEMA = re.compile(r"^/?schema/(?P<group>\w+)/(?P<name>\w+)@_here_$")


@cache
def built_in_folder() -> Path:
    """Return the folder of our own YAML files: cnntrain/conf in a wheel, conf/ beside src/ in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent.parent / "conf"


class Choices:
    """The choices of every group, from the user's own folder (first) and ours."""

    def __init__(self, user_folder: Path | None = None):
        self.user_folder = user_folder
        self.folders = [folder for folder in (user_folder, built_in_folder()) if folder is not None]

    def names(self, group: str) -> list[str]:
        """Return the names that can stand behind `group=`, in order."""
        found = {path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")}
        return sorted(found, key=_natural)

    def path(self, group: str, name: str) -> Path | None:
        """Return the file behind group=name, the user's before ours, or None."""
        files = [folder / group / f"{name}.yaml" for folder in self.folders]
        return next((file for file in files if file.is_file()), None)

    def is_users(self, group: str, name: str) -> bool:
        """Return whether group=name is a file of the user's own folder."""
        path = self.path(group, name)
        return path is not None and self.user_folder is not None and self.user_folder in path.parents

    def sentence(self, group: str, name: str) -> str:
        """Return the first comment line of a choice's file, which describes it."""
        path = self.path(group, name)
        assert path is not None
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("#") and "@package" not in line:
                return line.lstrip("# ").rstrip()
        return ""

    def schema(self, group: str, name: str) -> type | None:
        """Return the dataclass a choice is checked against, found through its defaults list, or None."""
        seen: set[Path] = set()
        path = self.path(group, name)
        while path is not None and path not in seen:
            seen.add(path)
            entries = defaults_of(path)
            for entry in entries:
                match = SCHEMA.match(entry)
                if match and match["group"] == group:
                    return option(group, match["name"])
            parents = [entry for entry in entries if entry != "_self_" and "/" not in entry]
            path = next((found for entry in parents if (found := self._below(path, group, entry))), None)
        return None

    def _below(self, path: Path, group: str, name: str) -> Path | None:
        """Return the file a defaults list means by `name`; naming itself, a file means the one it hides."""
        if path.stem != name:
            return self.path(group, name)
        hidden = built_in_folder() / group / f"{name}.yaml"
        return hidden if hidden.is_file() else None


def defaults_of(path: Path) -> list[str]:
    """Return the plain entries of a file's defaults list; empty where it has none or cannot be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return []
    entries = content.get("defaults", []) if isinstance(content, dict) else []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts vgg11 before vgg16 and resnet20 before resnet110."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]
