"""A schedule of the user's own: their function is called at each step, and tried before the first."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigError
from ..user_code import UserFunction
from .schedules import Shape

# Steps at which it is tried before a run, evenly spaced.
TRIED = 200


def custom_shape(function: UserFunction, steps: int, warmup: int) -> Shape:
    """Return step → function(step - warmup, steps - warmup, **arguments).

    Raises ConfigError where it cannot be called, or returns at one of TRIED steps what is no number ≥ 0, or
    another number at a second call. In training, it fails as the function fails.
    """
    called, total = function.load(), max(1, steps - warmup)

    def factor(step: int) -> float:
        # The first step after the last, at which a picture ends, has the factor of the last.
        after_warmup = min(step - warmup, total - 1)
        return _checked(function, called(after_warmup, total, **function.arguments), after_warmup, total)

    tried = sorted({index * (total - 1) // TRIED for index in range(TRIED + 1)})
    with function.running(f"calling {function.name}(step, {total})"):
        factors = [factor(warmup + step) for step in tried]
        again = [factor(warmup + step) for step in reversed(tried)]
    for step, first, second in zip(tried, factors, reversed(again), strict=True):
        if first != second:
            raise function.wrong(
                f"returned {first:g} at step {step}, then {second:g}; the factor must depend on step and "
                "total_steps alone, so that a run can be resumed"
            )
    if not any(factors):
        raise function.wrong(f"returns 0 at all of {total} steps; the factor on optim.lr is 1 at its highest")
    return factor


def _checked(function: UserFunction, returned: Any, step: int, total: int) -> float:
    """Return what the function returned as a number; raises ConfigError where it is no number ≥ 0."""
    try:
        factor = math.nan if isinstance(returned, str) else float(returned)
    except (TypeError, ValueError, RuntimeError):
        factor = math.nan
    if not 0 <= factor < math.inf:
        shown = repr(returned) if isinstance(returned, int | float) else type(returned).__name__
        raise ConfigError(
            [f"{function.prefix}: returned {shown} at step {step} of {total}; it must return a number ≥ 0"]
        )
    return factor
