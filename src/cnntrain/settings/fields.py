"""Settings: dataclass fields with a type, a default, a range of values and a help text.

`setting` declares one, `problem` checks a value against its type and rule. The command line, YAML files,
the composed tree and the generated reference all use these functions.
"""

import dataclasses
import functools
import math
import types
import typing
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOAT32_MAX = float.fromhex("0x1.fffffep127")


@dataclass(frozen=True)
class Rule:
    """The help text and the allowed values of one setting.

    ge, gt, le, lt: bounds. words: texts that may stand in place of a number, such as "auto". length: required
    number of values of a list. resume: whether run=FOLDER may change the setting: "fixed" (no) or "free"
    (yes, as it changes neither weights nor metrics). fixed: the field is the name of the option and cannot be
    set. path: "path" if the value is that of a file or folder, "or_name" if it is a path or a name; a run
    stores paths as absolute ones. former: the value of stored configurations written before the setting
    existed, None for its default.
    """

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    words: tuple[str, ...] = ()
    length: int | None = None
    resume: str = "fixed"
    fixed: bool = False
    path: str | None = None
    former: Any = None

    def range(self) -> str:
        """Return the allowed values in mathematical notation, or an empty string."""
        if self.choices is not None:
            return ", ".join(format_value(choice) for choice in self.choices)
        if self.ge is None and self.gt is None and self.le is None and self.lt is None:
            return ""
        low, high = (self.ge if self.gt is None else self.gt), (self.le if self.lt is None else self.lt)
        or_words = "".join(f" or {word}" for word in self.words)
        if high is None:
            return f"{'≥' if self.gt is None else '>'} {format_value(low)}{or_words}"
        if low is None:
            return f"{'≤' if self.lt is None else '<'} {format_value(high)}{or_words}"
        opening, closing = "[" if self.gt is None else "(", "]" if self.lt is None else ")"
        return f"{opening}{format_value(low)}, {format_value(high)}{closing}{or_words}"


def setting(default: Any, help: str, **rule: Any) -> Any:
    """Declare a setting: a dataclass field with its default, its help text and its `Rule`."""
    metadata = {"rule": Rule(help, **rule)}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def fixed(name: str) -> Any:
    """Declare the field `name`, which identifies the option of its group and cannot be set."""
    return setting(name, "name of this option; cannot be set", fixed=True, choices=(name,))


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """Return the `Rule` of a dataclass field declared by `setting`."""
    rule = field.metadata["rule"]
    assert isinstance(rule, Rule)
    return rule


def is_fixed(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field was declared by `fixed`."""
    return "rule" in field.metadata and rule_of(field).fixed


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default value of a dataclass field."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def settings_of(option: type) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a settings dataclass by name."""
    return {field.name: field for field in dataclasses.fields(option)}


def type_of(option: type, name: str) -> Any:
    """Return the resolved type annotation of one field."""
    return _type_hints(option)[name]


@functools.cache
def _type_hints(option: type) -> dict[str, Any]:
    return typing.get_type_hints(option)


def is_free_text(option: type, name: str) -> bool:
    """Return whether a field takes any text, such as a path: no number, list or choice among words."""
    annotation = type_of(option, name)
    parts = set(typing.get_args(annotation)) if _is_union(annotation) else {annotation}
    return parts <= {str, type(None)} and rule_of(settings_of(option)[name]).choices is None


def describe_type(annotation: Any) -> str:
    """Return the name of a type in messages, such as "whole number or null"."""
    if _is_union(annotation):
        parts = typing.get_args(annotation)
        described = [part for part in parts if not (part is int and float in parts)]
        return " or ".join(describe_type(part) for part in described)
    origin = typing.get_origin(annotation)
    if origin is list:
        (item,) = typing.get_args(annotation)
        return f"list of {describe_type(item)}s"
    if origin is dict:
        return "mapping"
    names = {
        int: "whole number",
        float: "number",
        bool: "true or false",
        str: "text",
        type(None): "null",
        Any: "anything",
    }
    return names[annotation]


def problem(annotation: Any, rule: Rule, value: Any) -> str | None:
    """Return an error text for a value that breaks the type or the rule of a setting, or None.

    Text that OmegaConf converts is accepted too: "3" for a whole number, "no" for false.
    """
    try:
        converted = convert(annotation, value)
    except ValueError:
        allowed = f" {_limits(rule)}" if rule.range() else ""
        if rule.choices is not None:
            return f"must be one of {rule.range()}"
        return f"must be a {describe_type(annotation)}{allowed}".replace("a true or", "true or").replace(
            "a anything", "anything"
        )
    items = converted if isinstance(converted, list) else [converted]
    if rule.length is not None and isinstance(converted, list) and len(converted) != rule.length:
        return f"must be a list of {rule.length} values, has {len(converted)}"
    for item in items:
        if item is None:
            continue
        if rule.choices is not None and item not in rule.choices:
            return f"must be one of {rule.range()}"
        if rule.words and isinstance(item, str):
            if item not in rule.words:
                return f"must be a {describe_type(_without_text(annotation))} {_limits(rule)}"
            continue
        if isinstance(item, str) and not item.isascii() and _has_surrogates(item):
            return "must be text in UTF-8"
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            return f"must be a whole number of at most 64 bits{f', {_limits(rule)}' if rule.range() else ''}"
        if isinstance(item, float) and math.isfinite(item) and abs(item) > FLOAT32_MAX:
            return f"must be at most {FLOAT32_MAX:.2g}, the largest float32"
        if isinstance(item, float) and not math.isfinite(item):
            return f"must be a finite number {_limits(rule)}".rstrip()
        if not _inside(item, rule):
            return f"must be {_limits(rule)}"
    return None


def setting_problems(settings: Any, prefix: str, skip: tuple[str, ...] = ()) -> list[str]:
    """Return a line for every field of a settings dataclass that breaks its rule, except fields in `skip`."""
    problems = []
    for name, field in settings_of(type(settings)).items():
        value = getattr(settings, name)
        error = None if name in skip else problem(type_of(type(settings), name), rule_of(field), value)
        if error is not None:
            problems.append(f"{prefix}{name}={value}: {error}")
    return problems


def expanded(path: str | Path) -> Path:
    """Return a path with the user's home in place of ~, which shells expand at the start of a word only."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user
        return Path(path)


def make_paths_absolute(settings: Any) -> None:
    """Replace the paths in a settings dataclass by absolute ones; ~ is the user's home."""
    for name, field in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if "rule" not in field.metadata or not value or rule_of(field).path is None:
            continue
        path = expanded(value)
        if rule_of(field).path == "path" or ((path.suffix or "/" in value) and path.is_file()):
            setattr(settings, name, str(path.absolute()))


def convert(annotation: Any, value: Any) -> Any:
    """Return `value` converted to the annotated type.

    Raises ValueError where it cannot be converted.
    """
    if annotation is Any:
        return value
    if _is_union(annotation):
        parts = typing.get_args(annotation)
        if value is None and type(None) in parts:
            return None
        if int in parts and isinstance(value, float) and value.is_integer():
            return int(value)
        for part in parts:
            if part is not type(None):
                try:
                    return convert(part, value)
                except ValueError:
                    continue
        raise ValueError
    origin = typing.get_origin(annotation)
    if origin is list:
        if not isinstance(value, list | tuple):
            raise ValueError
        (item,) = typing.get_args(annotation)
        return [convert(item, entry) for entry in value]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError
        return value
    return _convert_scalar(annotation, value)


def _convert_scalar(annotation: Any, value: Any) -> Any:
    if annotation is bool:
        if isinstance(value, str) and value.lower() in ("yes", "on", "true", "y"):
            return True
        if isinstance(value, str) and value.lower() in ("no", "off", "false", "n"):
            return False
        if isinstance(value, bool):
            return value
        raise ValueError
    if isinstance(value, bool | list | tuple | dict) or value is None:
        raise ValueError
    if annotation is str:
        return str(value)
    if annotation is int:
        if isinstance(value, float):
            raise ValueError
        return int(value)
    if annotation is float:
        return float(value)
    raise AssertionError(f"settings of type {annotation} are not supported")


def _limits(rule: Rule) -> str:
    """Return the range as used after "must be", such as "in [0, 1)" or "≥ 1"."""
    limits = rule.range()
    return f"in {limits}" if limits.startswith(("[", "(")) else limits


def _inside(value: Any, rule: Rule) -> bool:
    return not (
        (rule.ge is not None and value < rule.ge)
        or (rule.gt is not None and value <= rule.gt)
        or (rule.le is not None and value > rule.le)
        or (rule.lt is not None and value >= rule.lt)
    )


def _has_surrogates(text: str) -> bool:
    """Return whether a text has bytes that are not UTF-8, which Python keeps as surrogates."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _without_text(annotation: Any) -> Any:
    """Return a union of types without text."""
    (part,) = (part for part in typing.get_args(annotation) if part is not str)
    return part


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def describe_changes(settings: Any) -> str:
    """Return an option's name, and those of its settings that differ from their defaults, on one line."""
    assignments = [
        f"{name}={format_value(getattr(settings, name))}"
        for name, field in settings_of(type(settings)).items()
        if name != "name" and getattr(settings, name) != default_of(field)
    ]
    return f"{settings.name} ({', '.join(assignments)})" if assignments else str(settings.name)


def shorten(value: Any, length: int = 80) -> str:
    """Return a value as printable text of limited length, for messages that repeat what a user wrote."""
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value)[: length + 1])
    return text if len(text) <= length else f"{text[:length]}…"


def has_control_characters(text: str) -> bool:
    """Return whether a text has characters that end or break a line, or that are no text at all.

    Joiners between letters, which some scripts need, are none of them.
    """
    return any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") for char in text)


def format_value(value: Any) -> str:
    """Return a value in the notation of YAML and of the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(format_value(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
