"""Ranges of settings that a search draws from, and their notation on the command line.

    optim.lr=log(1e-6,10)   model.dropout=uniform(0,1)   model.width=int(8,64)   optim=choice(sgd,adam)

Hydra's notation for sweepers is read, too: interval(0,1), int(interval(1,8)), tag(log, interval(1e-6,10)).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Protocol

CALL = re.compile(r"^\s*(\w+)\s*\((.*)\)\s*$", re.DOTALL)
# Digits of a number that is drawn; more would suggest a precision that no search has.
DIGITS = 4


class Parameter(Protocol):
    """The values that a setting or a group may take in a search, as texts of overrides."""

    def at(self, fraction: float) -> str:
        """Return the value at a fraction of the range, 0 ≤ fraction < 1."""

    def fraction(self, value: str) -> float | None:
        """Return where a value lies in the range, None outside it."""

    def ends(self) -> list[str]:
        """Return the values to check before the first job: the ends of a range, or all values of a list."""

    def written(self) -> str:
        """Return the notation that `parse_range` or a list of values reads."""


@dataclass(frozen=True)
class Values:
    """A list of values or choices, without an order."""

    values: tuple[str, ...]

    def at(self, fraction: float) -> str:
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]

    def fraction(self, value: str) -> float | None:
        """Return the middle of the part of [0, 1) that `at` maps to a value."""
        if value not in self.values:
            return None
        return (self.values.index(value) + 0.5) / len(self.values)

    def ends(self) -> list[str]:
        return list(self.values)

    def written(self) -> str:
        return f"choice({','.join(self.values)})"


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; log: on a logarithmic scale; whole: whole numbers only."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, fraction: float) -> str:
        low, high = self._bounds()
        value = self._unscaled(low + fraction * (high - low))
        if self.whole:
            return str(min(max(round(value), round(self.low)), round(self.high)))
        return number_text(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def fraction(self, value: str) -> float | None:
        try:
            number = float(value)
        except ValueError:
            return None
        if not self.low <= number <= self.high:
            return None
        low, high = self._bounds()
        return (self._scaled(number) - low) / (high - low) if low < high else 0.5

    def ends(self) -> list[str]:
        return [number_text(end, self.whole) for end in (self.low, self.high)]

    def written(self) -> str:
        ends = ",".join(self.ends())
        inner = f"{'log' if self.log else 'uniform'}({ends})"
        return f"int({inner})" if self.whole and self.log else f"int({ends})" if self.whole else inner

    def narrowed(self, low: float, high: float) -> Range:
        """Return the part of the range between two fractions of it."""
        start, end = self._bounds()
        ends = [self._unscaled(start + fraction * (end - start)) for fraction in (low, high)]
        if self.whole:
            ends = [math.floor(ends[0]), math.ceil(ends[1])]
        return replace(self, low=max(ends[0], self.low), high=min(ends[1], self.high))

    def widened(self, below: bool) -> Range:
        """Return a range that reaches half of its length further, below or above; to two digits."""
        start, end = self._scaled(self.low), self._scaled(self.high)
        reach = self._unscaled(start - (end - start) / 2 if below else end + (end - start) / 2)
        reach = round(reach) if self.whole else float(f"{reach:.2g}")
        return replace(self, low=reach) if below else replace(self, high=reach)

    def reaching(self, values: list[str]) -> Range:
        """Return a range that contains these values, too, but for those that its scale does not have."""
        numbers = [self.low, self.high]
        for text in values:
            try:
                number = float(text)
            except ValueError:
                continue
            on_scale = (number > 0 or not self.log) and (number.is_integer() or not self.whole)
            numbers += [number] if math.isfinite(number) and on_scale else []
        return replace(self, low=min(numbers), high=max(numbers))

    def _bounds(self) -> tuple[float, float]:
        """Return the ends on the range's scale; every whole number gets a part of its own around it."""
        margin = 0.5 if self.whole else 0.0
        return self._scaled(self.low - margin), self._scaled(self.high + margin)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self.log else value


def parse_range(text: str) -> Range | None:
    """Return the range that a value of an override is; None for any other value, a list included.

    Raises ValueError where the notation is that of a range but cannot be one.
    """
    match = CALL.match(text)
    if match is None:
        return None
    name, inside = match[1], match[2]
    if name == "int":
        inner = parse_range(inside)
        if inner is None and "," not in inside:
            return None  # Hydra's cast of a value
        return _whole(inner or _between(text, inside), text)
    if name == "tag":
        tags, comma, rest = inside.rpartition(",") if "(" not in inside else _before_call(inside)
        inner = parse_range(rest) if comma else None
        if inner is None:
            return None
        if tags.strip() != "log":
            raise ValueError(f"the tag {tags.strip()} means nothing here; write tag(log, interval(…))")
        return _log(inner, text)
    if name == "log":
        return _log(_between(text, inside), text)
    if name in ("uniform", "interval"):
        return _between(text, inside)
    return None


def whole_numbers(parameter: Parameter) -> Parameter:
    """Return a range with only its whole numbers; other parameters as they are."""
    if not isinstance(parameter, Range) or parameter.whole:
        return parameter
    return replace(parameter, low=math.ceil(parameter.low), high=math.floor(parameter.high), whole=True)


def number_text(value: float, whole: bool = False) -> str:
    """Return a number as an override has it, floats with all their digits."""
    return str(round(value)) if whole else repr(float(value))


def _before_call(inside: str) -> tuple[str, str, str]:
    """Split `log, interval(…)` before the call."""
    head, _, tail = inside.partition("(")
    tags, comma, name = head.rpartition(",")
    return tags, comma, f"{name}({tail}"


def _between(text: str, inside: str) -> Range:
    parts = [part.partition("=")[2] or part for part in inside.split(",")]
    try:
        low, high = (float(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"{text.strip()} needs two numbers, the lowest and the highest") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{text.strip()} needs finite numbers")
    if low >= high:
        raise ValueError(f"{text.strip()}: the lowest number comes first; the two must differ")
    return Range(low, high)


def _log(range_: Range, text: str) -> Range:
    if range_.low <= 0:
        raise ValueError(
            f"{text.strip()}: a logarithmic range begins above 0; for a range with 0, write "
            f"uniform({range_.low:g},{range_.high:g})"
        )
    return replace(range_, log=True)


def _whole(range_: Range, text: str) -> Range:
    low, high = range_.low, range_.high
    if low != int(low) or high != int(high):
        raise ValueError(f"{text.strip()}: int needs whole numbers")
    return replace(range_, whole=True)
