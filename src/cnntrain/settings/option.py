"""What the options of every group have: a name, and checks of their settings against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class Notice(str):
    """A line about settings that work, but perhaps not as expected; other lines are problems."""


@dataclass
class Option:
    """One choice of a group as a dataclass: its fields are the keys of its YAML files."""

    # Names under which earlier versions stored this option.
    former_names: ClassVar[tuple[str, ...]] = ()

    name: str = ""

    def problems(self) -> Iterable[str]:
        """Yield a line for each setting that contradicts another of this option, or would have no effect.

        A `Notice` among them is no problem.
        """
        return ()
