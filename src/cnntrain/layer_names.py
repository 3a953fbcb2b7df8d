"""Layer names: shell patterns that select layers (initialization.layers, model.freeze), short lists of names.

A layer is a module with its own weights or statistics: a convolution, a linear layer, a norm. Its name is
its path in the network, as in features.conv1_1.conv; a tensor that belongs to the network itself, such as
a transformer's class token, counts as a layer with the tensor's name.

A pattern names a layer if it matches the path of the layer or of a module that contains it, with or without
the leading `features.` or `head.`: conv1_1 and features.conv1_1 select the convolution and its norm, and
layer1 a whole stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from .settings.nearest_name import did_you_mean

PARTS = ("features.", "head.")


def layers_of(tensors: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the layers that hold the named tensors, in order, with the tensors of each."""
    layers: dict[str, list[str]] = {}
    for tensor in tensors:
        layers.setdefault(tensor.rpartition(".")[0] or tensor, []).append(tensor)
    return layers


def is_named(layer: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns names a layer."""
    names = [name for path in _paths(layer) for name in (path, _short(path))]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def pattern_problems(setting: str, patterns: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Return an error line for each pattern of a setting that names none of the layers."""
    known = list(layers)
    # Outer modules first, so that a truncated list of names shows them.
    names = sorted(dict.fromkeys(_short(path) for layer in known for path in _paths(layer)), key=_depth)
    return [
        f"{setting}: {pattern} names no layer; {did_you_mean(pattern, names, many=12)}"
        for pattern in patterns
        if not any(is_named(layer, [pattern]) for layer in known)
    ]


def outermost_names(chosen: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Return the fewest names that cover the chosen layers: that of a module if all its layers are chosen."""
    chosen = list(chosen)
    partial = {path for layer in set(layers) - set(chosen) for path in _paths(layer)}
    names = [next(path for path in _paths(layer) if path not in partial) for layer in chosen]
    return list(dict.fromkeys(_short(name) for name in names))


def join_names(names: list[str], limit: int = 12) -> str:
    """Return names on one line, the first `limit` of them."""
    more = f", … and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _paths(layer: str) -> list[str]:
    """Return the paths of the modules that contain a layer, the outermost first, and its own path."""
    parts = layer.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _short(path: str) -> str:
    part = next((part for part in PARTS if path.startswith(part)), "")
    return path.removeprefix(part)


def _depth(path: str) -> int:
    return path.count(".")
