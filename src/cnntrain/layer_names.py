"""Layers by name: what a shell pattern means (initialization.layers, model.freeze), and short lists of names.

A layer is what has weights or statistics of its own: a convolution, a linear layer, a norm. Its name is
its path in the network, as in features.conv1_1.conv; a tensor that belongs to the network itself, such as
a transformer's class token, counts as a layer with the tensor's name.

A pattern names a layer where it matches the layer's path or that of a module around it, with or without
the leading `features.` or `head.`: conv1_1 and features.conv1_1 mean the convolution and its norm, and
layer1 a whole stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from .settings.suggest import did_you_mean

PARTS = ("features.", "head.")


def layers_of(tensors: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the layers behind the names of tensors, in order, with the tensors of each."""
    layers: dict[str, list[str]] = {}
    for tensor in tensors:
        layers.setdefault(tensor.rpartition(".")[0] or tensor, []).append(tensor)
    return layers


def is_named(layer: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns names a layer."""
    written = [form for path in _paths(layer) for form in (path, _short(path))]
    return any(fnmatchcase(form, pattern) for pattern in patterns for form in written)


def pattern_problems(setting: str, patterns: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Return a line for each pattern of a setting that names none of the layers."""
    known = list(layers)
    # Outer modules first: they are what a list of names begins with.
    names = sorted(dict.fromkeys(_short(path) for layer in known for path in _paths(layer)), key=_depth)
    return [
        f"{setting}: {pattern} names no layer; {did_you_mean(pattern, names, many=12)}"
        for pattern in patterns
        if not any(is_named(layer, [pattern]) for layer in known)
    ]


def outermost_names(chosen: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Return the fewest names for the chosen layers: a module whose layers are all chosen stands for them."""
    chosen = list(chosen)
    divided = {path for layer in set(layers) - set(chosen) for path in _paths(layer)}
    names = [next(path for path in _paths(layer) if path not in divided) for layer in chosen]
    return list(dict.fromkeys(_short(name) for name in names))


def join_names(names: list[str], most: int = 12) -> str:
    """Return names on one line, the first `most` of them."""
    more = f", … and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _paths(layer: str) -> list[str]:
    """Return the paths of the modules around a layer, the outermost first, and its own."""
    parts = layer.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _short(path: str) -> str:
    part = next((part for part in PARTS if path.startswith(part)), "")
    return path.removeprefix(part)


def _depth(path: str) -> int:
    return path.count(".")
