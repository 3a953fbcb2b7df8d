"""The columns of a Hugging Face data set with its images and classes, found by their features and names."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np

from ..errors import ConfigError, DataError
from ..settings.fields import shorten
from ..settings.nearest_name import did_you_mean

# Usual names of columns with classes, where no column has the feature ClassLabel.
LABELS = ("label", "labels", "class", "category", "target", "y")


def image_column(features: Any, given: str, source: str) -> str:
    """Return the column of the images; raises ConfigError."""
    found: list[str] = [name for name, feature in features.items() if _is_image(feature)]
    if given:
        if given not in features:
            raise ConfigError([f"data.image={given}: no such column; {did_you_mean(given, list(features))}"])
        if given not in found:
            what = shorten(features[given])
            raise ConfigError([f"data.image={given}: has no images but {what}; {_choose(found, features)}"])
        return given
    if len(found) != 1:
        what = f"{len(found)} columns of images" if found else "no column of images"
        raise ConfigError([f"{source}: has {what}; write data.image=NAME, {_choose(found, features)}"])
    return found[0]


def _is_image(feature: Any) -> bool:
    """Return whether a feature is an image, or the content and path of one, as in parquet files of others."""
    if isinstance(feature, datasets.Image):
        return True
    return isinstance(feature, dict) and feature.keys() == {"bytes", "path"}


def label_column(features: Any, given: str, source: str) -> str:
    """Return the column of the classes; raises ConfigError."""
    found: list[str] = [name for name, feature in features.items() if _is_class(feature)]
    possible = found or [name for name, feature in features.items() if _may_be_class(feature)]
    if given:
        if given not in features:
            raise ConfigError([f"data.label={given}: no such column; {did_you_mean(given, list(features))}"])
        if given not in found and not _may_be_class(features[given]):
            what = shorten(features[given])
            raise ConfigError(
                [f"data.label={given}: has not one class per image but {what}; {_choose(possible, features)}"]
            )
        return given
    usual = [name for name in possible if name.lower() in LABELS]
    candidates = possible if len(possible) == 1 else usual
    if len(candidates) != 1:
        what = f"{len(possible)} columns that may be classes" if possible else "no column of classes"
        raise ConfigError([f"{source}: has {what}; write data.label=NAME, {_choose(possible, features)}"])
    return candidates[0]


def _is_class(feature: Any) -> bool:
    return isinstance(feature, datasets.ClassLabel)


def _may_be_class(feature: Any) -> bool:
    """Return whether a feature is a whole number or a text for each image."""
    kind = getattr(feature, "dtype", "")
    return isinstance(feature, datasets.Value) and (kind == "string" or "int" in kind)


def _choose(names: list[str], features: Any) -> str:
    return f"one of {', '.join(names or list(features))}"


def classes_of(parts: dict[str, Any], column: str, source: str) -> tuple[dict[str, Any], list[str] | None]:
    """Return the labels of the splits, int64 (N,), -1 where there are none; and names, None for numbers."""
    feature = parts["train"].features[column]
    values = {split: part.with_format(None)[column][:] for split, part in parts.items()}
    if _is_class(feature):
        return {split: _numbers(found) for split, found in values.items()}, list(feature.names)
    if feature.dtype != "string":
        return {split: _numbers(found) for split, found in values.items()}, None
    names = sorted({value for value in values["train"] if value is not None})
    number_of = {name: number for number, name in enumerate(names)} | {None: -1}
    for split, found in values.items():
        unknown = next((value for value in found if value not in number_of), None)
        if unknown is not None:
            raise DataError(f"{source}: {split} has the class {shorten(unknown)}, which train does not have")
    return {split: _numbers([number_of[v] for v in found]) for split, found in values.items()}, names


def _numbers(values: list[Any]) -> Any:
    """Return labels as int64 (N,), -1 for those that are missing."""
    return np.array([-1 if value is None else value for value in values], dtype=np.int64)
