"""Arrays of your own, in a file or from a function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...settings.fields import fixed, setting
from .base import TARGET_HELP, TARGETS, Data, path_problems

if TYPE_CHECKING:
    from ...user_code import UserFunction
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


@dataclass
class Custom(Data):
    """Data of your own: the splits that factory(**arguments) returns, a mapping with train, and val, test and
    names if any.

    A split is a pair of images, uint8 (N, H, W, C), and labels, or a torch Dataset of such pairs, which is
    read once into memory.
    """

    name: str = fixed("custom")
    factory: str = setting("", "package.module:function, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")
    target: str = setting(
        "classes",
        f"{TARGET_HELP}; classes: whole numbers (N,); attributes: 0 or 1 (N, A); values: numbers (N, V) (D7)",
        choices=TARGETS,
    )
    test_fraction: float = setting(
        0.1,
        "fraction of the training images used for the test split if there is none; independent of the seed",
        gt=0,
        lt=1,
    )
    memory_limit_gb: float = setting(
        4.0, "size in GB (uint8) up to which a Dataset is read into memory", gt=0, resume="free"
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from self._user_function().problems()

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from ..custom_data import read_custom

        return read_custom(self._user_function(), self.target, self.test_fraction, self.memory_limit_gb)

    def _user_function(self) -> UserFunction:
        from ...user_code import UserFunction

        return UserFunction("data.factory", self.factory, self.arguments)
