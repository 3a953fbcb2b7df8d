"""Arrays of your own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import TARGET_HELP, TARGETS, Data, path_problems

if TYPE_CHECKING:
    from ..splits import Splits


@dataclass
class Npz(Data):
    """Your own arrays: an .npz file with x_train, y_train, x_test, y_test, and x_val, y_val if any."""

    name: str = fixed("npz")
    path: str = setting("", "the .npz file", resume="free", path="path")
    target: str = setting(
        "classes",
        f"{TARGET_HELP} in y_train and y_test; classes: whole numbers (N,); attributes: 0 or 1 (N, A); "
        "values: numbers (N, V); an optional array `names` contains their names (D7)",
        choices=TARGETS,
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from path_problems(self.name, self.path)

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from ..npz_file import read_npz

        return read_npz(self.path, target=self.target)
