"""Functions of the user's own: how they are found and where their errors are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cnntrain.errors import ConfigError
from cnntrain.user_code import UserFunction, place_in_users_code


def test_arguments_passed_by_position_may_have_any_names_and_are_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    Path("by_position.py").write_text("def factor(k, n, *, power=1.0):\n    return (1 - k / n) ** power\n")

    def function(**arguments: Any) -> UserFunction:
        return UserFunction("schedule.function", "by_position:factor", arguments, ("step", "total_steps"))

    assert function(power=2).call(1, 2) == 0.25
    prefix = "schedule.function=by_position:factor: "
    assert function(n=3).problems() == [
        f"{prefix}n is passed by the program; take it out of schedule.arguments"
    ]
    assert function(pwoer=3).problems() == [f"{prefix}factor has no argument pwoer; did you mean power?"]


def test_an_error_of_this_package_is_not_laid_at_the_door_of_its_caller() -> None:
    with pytest.raises(ConfigError) as caught:
        UserFunction("model.factory", "").load()
    assert place_in_users_code(caught.value) is None
    with pytest.raises(ZeroDivisionError) as own:
        print(1 / 0)
    assert place_in_users_code(own.value) is None
