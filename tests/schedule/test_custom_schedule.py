"""Schedules of the user's own: a built-in one as a function, and what a trial of their steps finds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from cnntrain.errors import ConfigError
from cnntrain.schedule.settings import Cosine, Custom

calls = itertools.count()


def cosine(step: int, total_steps: int, final: float = 0.0) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (step / total_steps)))


def late(step: int, total_steps: int) -> float:
    return math.nan if step == total_steps - 1 else 1


def negative(step: int, total_steps: int) -> float:
    return 0.5 - step / total_steps


def nothing(step: int, total_steps: int) -> float:
    return 0.0


def text(step: int, total_steps: int) -> str:
    return "1"


def impure(step: int, total_steps: int) -> float:
    return next(calls)


def build(name: str, **settings: Any) -> Any:
    return Custom(function=f"{__name__}:{name}", **settings).build(steps_per_epoch=7, epochs=5)


@pytest.mark.parametrize("warmup", [None, 0.0, 2.0])
def test_the_cosine_as_a_function_is_the_built_in_one_with_its_warm_up(warmup: float | None) -> None:
    own = build("cosine", warmup_epochs=warmup, arguments={"final": 0.1})
    built_in = Cosine(warmup_epochs=warmup, final=0.1).build(7, 5)
    assert [own.factor(step) for step in range(35)] == [built_in.factor(step) for step in range(35)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("late", "returned nan at step 30 of 31; it must return a number ≥ 0"),
        ("negative", "at step 16 of 31; it must return a number ≥ 0"),
        ("nothing", "returns 0 at all of 31 steps"),
        ("text", "returned str at step 0 of 31; it must return a number ≥ 0"),
        ("impure", "the factor must depend on step and total_steps alone"),
    ],
)
def test_a_factor_that_cannot_be_used_is_refused_before_the_first_step(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name)
    assert expected in str(caught.value)
