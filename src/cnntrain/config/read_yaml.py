"""YAML files of settings, read safely: every problem has its line, and nothing in a file is executed.

Numbers are read as OmegaConf reads them (1e-3 is a number). Anchors, aliases and tags are refused, and so are
files too large or too deeply nested for settings; they take a reader's time or memory, or build objects.
"""

from __future__ import annotations

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_DIGITS = 400

# What YAML 1.1 reads as another number than the one written.
OCTAL = re.compile(r"^[-+]?0[0-9_]+$")
SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
# OmegaConf's floats: unlike those of YAML 1.1, they need neither a point nor the sign of an exponent.
FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _Loader(yaml.SafeLoader):
    """Loads settings: plain mappings, lists, numbers, text; raises YAMLError for everything else."""

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases (& and *) are not read; write the value again",
                problem_mark=event.start_mark,
            )
        if event.tag is not None:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {event.tag} is not read; write the value without it",
                problem_mark=event.start_mark,
            )
        if self._depth == MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"is nested more than {MAX_DEPTH} levels deep", problem_mark=event.start_mark
            )
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":merge"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


# libyaml's emitter, where PyYAML was built with it, is several times faster.
_SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc, valid-type]
    """Writes settings so that _Loader reads the same: text that looks like a number is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def dump_yaml(content: Any) -> str:
    """Return plain values as YAML text, in their order."""
    text = yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    assert isinstance(text, str)
    return text


def read_yaml(path: Path) -> tuple[Any, list[str]]:
    """Return a YAML file's content, None if it is empty, and a line for each problem of the file itself."""
    where = f"{path}: "
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return None, [f"{where}cannot be read ({error.strerror})"]
    if len(data) > MAX_BYTES:
        return None, [f"{where}is larger than {MAX_BYTES >> 20} MiB, too large for settings"]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [f"{where}is not UTF-8 (byte {error.start}); save it as UTF-8"]
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> tuple[Any, list[str]]:
    """Return the content of YAML text, None if it is empty, and its problems, which begin with `where`."""
    content, problems = _parsed(text, where)
    return deepcopy(content), list(problems)


@lru_cache(maxsize=128)  # the file of a choice is asked for its settings, its parents and its schema
def _parsed(text: str, where: str) -> tuple[Any, list[str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"^ *\t", line):
            return None, [f"{where}line {number} is indented with a tab; YAML takes spaces only"]
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, []
        if problems := _misread(where, root):
            return None, problems
        return loader.construct_document(root), []
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        return None, [f"{where}line {number}: has the character U+{error.character:04X}, not allowed in YAML"]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}: " if mark else ""
        return None, [f"{where}{at}{' '.join(str(error.problem or error.context).split())[:200]}"]
    except (ValueError, OverflowError) as error:
        return None, [f"{where}has a value that cannot be read ({str(error)[:200]})"]


def _misread(where: str, node: yaml.Node) -> list[str]:
    """Return keys that are doubled or no text, and numbers too long or read by YAML 1.1 in base 8 or 60."""
    problems: list[str] = []
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":null"):
                problems.append(f"{where}line {line}: a key must be text, as in `key: value`")
                continue
            if key.value in seen:
                problems.append(f"{where}line {line}: {key.value} is set twice; keep one of the two")
            seen.add(key.value)
            problems += _misread(where, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            problems += _misread(where, value)
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        if OCTAL.match(node.value):
            plain = node.value.lstrip("0") or "0"
            problems.append(f"{where}line {line}: YAML reads {node.value[:60]} in base 8; write {plain[:60]}")
        elif SEXAGESIMAL.match(node.value):
            problems.append(
                f"{where}line {line}: YAML reads {node.value[:60]} in base 60; quote it or write a number"
            )
        elif node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
            problems.append(f"{where}line {line}: has a number of {len(node.value)} characters")
    return problems
