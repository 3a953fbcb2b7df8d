"""Overrides, parsed as Hydra parses them; its parser, slow to import, reads only those that are not plain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import first_line

# key=value with a value that is one number or one name: all that most command lines consist of.
PLAIN = re.compile(r"^\+{0,2}(?P<key>[A-Za-z_]\w*(?:[./][A-Za-z_]\w*)*)=(?P<value>[\w./-]+)$", re.ASCII)
KEY = re.compile(r"^\+{0,2}([A-Za-z_]\w*(?:[./][A-Za-z_]\w*)*)=(.*)$", re.ASCII | re.DOTALL)
INTEGER = re.compile(r"^-?(0|[1-9][0-9]{0,17})$")
FLOAT = re.compile(r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?(e-?[0-9]{1,3})?$")
NAME = re.compile(r"^[A-Za-z/][\w./-]*$", re.ASCII)
# Names with a value of their own.
CONSTANTS = {"true": True, "false": False, "null": None}
NON_FINITE = ("inf", "nan")


@dataclass(frozen=True)
class Override:
    """One override.

    text: as it was given. key: without + and ~. value: plain Python, None for a deletion and for a sweep.
    written: the text of the value. package: what follows @ in the key. sweeps: whether it has several values.
    error: why Hydra's grammar does not accept the value, which can then only be that of a text setting.
    """

    text: str
    key: str
    value: Any
    written: str
    deletes: bool = False
    package: str | None = None
    sweeps: bool = False
    error: str | None = None

    def literal(self) -> str | None:
        """Return the value as text, exactly as written but for quotes around it; None for null."""
        raw = self.text.partition("=")[2]
        if raw == "null":
            return None
        is_quoted = len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"" and self.error is None
        return str(self.value) if is_quoted else raw


def parse_override(text: str) -> Override:
    """Return an override parsed; raises ValueError where it has no key that Hydra's grammar accepts."""
    match = PLAIN.match(text)
    if match is not None:
        written = match["value"]
        if INTEGER.match(written):
            return Override(text, match["key"], int(written), written)
        if FLOAT.match(written):
            return Override(text, match["key"], float(written), written)
        if NAME.match(written) and written.lower() not in NON_FINITE:
            value = CONSTANTS.get(written.lower(), written)
            return Override(text, match["key"], value, written)
    return _parsed_by_hydra(text)


def quoted(text: str) -> str:
    """Return text as a quoted value in Hydra's grammar; interpolations in it stay interpolations."""
    escaped = re.sub(r"(\\*)'", lambda match: 2 * match[1] + "\\'", text)
    return "'" + re.sub(r"(\\+)$", lambda match: 2 * match[1], escaped) + "'"


def _parsed_by_hydra(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        reason = first_line(error)
        match = KEY.match(text)
        if match is None:
            raise ValueError(reason) from error
        key, value = match.groups()
        return Override(text, key, None, value, error=reason)
    sweeps, deletes = parsed.is_sweep_override(), parsed.type == OverrideType.DEL
    if sweeps or deletes:
        written = text.partition("=")[2] if sweeps else ""
    else:
        written = str(parsed.get_value_element_as_str()).strip("'\"")
    value = None if sweeps or deletes else _plain(parsed.value())
    return Override(text, parsed.key_or_group, value, written, deletes, parsed.package, sweeps)


def _plain(value: Any) -> Any:
    """Return a value that Hydra parsed as plain Python."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(entry) for key, entry in value.items()}
    return value
