"""Base class of the options of all groups: a name, and checks of settings against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from .fields import make_paths_absolute


class Notice(str):
    """A message about settings that are valid but may have an unexpected effect; plain strings are errors."""


@dataclass
class Option:
    """One option of a group as a dataclass; its fields are the keys of its YAML files."""

    # Names of this option in the stored configurations of earlier versions.
    former_names: ClassVar[tuple[str, ...]] = ()

    name: str = ""

    @classmethod
    def from_stored(cls, name: str) -> Option:
        """Return the option that a stored configuration means by `name`, its own or one of `former_names`."""
        return cls()

    def problems(self) -> Iterable[str]:
        """Yield a message for each setting that contradicts another of this option or has no effect.

        A plain string is an error, a `Notice` is not.
        """
        return ()

    def store_absolute_paths(self) -> None:
        """Replace paths by absolute ones, so that a run can be continued from any folder."""
        make_paths_absolute(self)
