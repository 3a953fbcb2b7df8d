"""The content of checkpoints, checked on loading: every key, its type, and the shape of every tensor.

A file can be whole and still not fit: one of another version, another network, or changed by hand.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from typing import Any

from torch import Tensor

from ..errors import DataError
from .run_progress import Progress

Tensors = dict[str, Tensor]
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


@dataclass
class TrainedState:
    """The content of best.pt: everything needed for prediction.

    config: the configuration as YAML. names: of the classes, attributes or values. image_shape: (height,
    width, channels) of the stored images. data: the fingerprint of the data. preprocess, loss: buffers with
    statistics of the training split. batch_size, compile, winograd: what data.batch_size=auto,
    trainer.compile=auto and trainer.winograd=auto are. network_of_…: with averaging, both candidates of the
    best epoch. teacher: the SHA-256 of the checkpoint that a run is distilled from.
    """

    format: int
    config: str
    names: list[str]
    image_shape: list[int]
    precision: str
    network: Tensors
    preprocess: Tensors
    loss: Tensors
    threads: int | None = None
    batch_size: int | None = None
    compile: bool | None = None
    winograd: bool | None = None
    data: dict[str, Any] | None = None
    network_of_last_step: Tensors | None = None
    network_of_average: Tensors | None = None
    teacher: str | None = None


@dataclass
class UpdateState:
    """What the next update depends on besides the weights.

    weights_with_state: their numbers, by optimizer and by part of its state; earlier versions wrote none.
    """

    optimizers: list[dict[str, Any]]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    skipped: Tensor
    weights_with_state: list[list[list[int]]] | None = None


@dataclass(kw_only=True)
class RunState(TrainedState):
    """The content of last.pt: everything the next step depends on.

    sums: running sums of the current epoch's metrics.
    """

    update: UpdateState
    average: dict[str, Any] | None
    progress: Progress
    sums: Tensor


def check_state(state: dict[str, Any], schema: type, source: str) -> None:
    """Raise DataError naming the first key of a checkpoint that is missing, unknown or of another type."""
    wrong = _mapping_problem(state, schema, "")
    if wrong is None and "batch_size" in state:  # written by versions that wrote these, too
        wrong = next((f"{name} is missing" for name in ("threads", "data") if state.get(name) is None), None)
    if wrong is None and state["precision"] not in PRECISIONS:
        wrong = f"precision must be one of {', '.join(PRECISIONS)}"
    if wrong is not None:
        raise DataError(f"{source}: {wrong}; start a new run, or restore the file")


def check_structure(stored: Any, own: Any, key: str, source: str) -> None:
    """Raise DataError where a part of a checkpoint differs in keys, types or shapes from what the run has."""
    wrong = _difference(stored, own, key)
    if wrong is not None:
        raise DataError(f"{source}: {wrong}; it is not the checkpoint of this configuration")


@contextmanager
def reading(key: str, source: str) -> Iterator[None]:
    """Raise DataError naming a key of a checkpoint if its content fails to load inside the context."""
    try:
        yield
    except (
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        AssertionError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: {key} does not fit this configuration ({reason[:200]})") from error


def _mapping_problem(state: Any, schema: type, key: str) -> str | None:
    if not isinstance(state, dict):
        return f"{key} must be a mapping"
    annotations = typing.get_type_hints(schema)
    prefix = f"{key}." if key else ""
    for field in fields(schema):
        if field.name not in state:
            # The defaults of Progress are those of a new run, not of a key that is missing.
            if field.default is MISSING or (schema is Progress and "optional" not in field.metadata):
                return f"{prefix}{field.name} is missing"
        elif wrong := _type_problem(state[field.name], annotations[field.name], f"{prefix}{field.name}"):
            return wrong
    unknown = [name for name in state if name not in annotations]
    return f"{prefix}{unknown[0]} is unknown" if unknown else None


def _type_problem(value: Any, annotation: Any, key: str) -> str | None:
    """Return an error if a value has another type than an annotation; nothing is converted."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return None
    if origin in (typing.Union, types.UnionType):
        found = [_type_problem(value, part, key) for part in arguments]
        return None if None in found else found[0]
    if origin is list:
        if not isinstance(value, list):
            return f"{key} must be a list"
        return next(
            (w for n, v in enumerate(value) if (w := _type_problem(v, arguments[0], f"{key}[{n}]"))), None
        )
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            return f"{key} must be a mapping"
        return next(
            (w for n, v in value.items() if (w := _type_problem(v, arguments[1], f"{key}.{n}"))), None
        )
    if hasattr(annotation, "__dataclass_fields__"):
        return _mapping_problem(value, annotation, key)
    if annotation is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif annotation is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif annotation is Tensor:
        fits = isinstance(value, Tensor) and not value.is_complex()
    else:
        fits = isinstance(value, annotation)
    names = {
        int: "a whole number ≥ 0",
        float: "a number",
        str: "text",
        bool: "true or false",
        Tensor: "a tensor of real numbers",
    }
    return None if fits else f"{key} must be {names.get(annotation, 'null')}"


def _difference(stored: Any, own: Any, key: str) -> str | None:
    if isinstance(own, Tensor):
        if not isinstance(stored, Tensor):
            return f"{key} must be a tensor"
        if stored.shape != own.shape or stored.dtype != own.dtype:
            return f"{key} is {describe(stored)}, must be {describe(own)}"
        return None
    if isinstance(own, dict):
        if not isinstance(stored, dict):
            return f"{key} must be a mapping"
        missing, unknown = own.keys() - stored.keys(), stored.keys() - own.keys()
        if missing or unknown:
            name = sorted(map(str, missing or unknown))[0]
            return f"{key}.{name} is {'missing' if missing else 'unknown'}"
        return next((w for name in own if (w := _difference(stored[name], own[name], f"{key}.{name}"))), None)
    if isinstance(own, list | tuple):
        if not isinstance(stored, list | tuple) or len(stored) != len(own):
            return f"{key} must be a list of {len(own)}"
        pairs = enumerate(zip(stored, own, strict=True))
        return next((w for n, (a, b) in pairs if (w := _difference(a, b, f"{key}[{n}]"))), None)
    if isinstance(own, int | float) and not isinstance(own, bool):
        is_number = isinstance(stored, int | float) and not isinstance(stored, bool)
        if is_number and isinstance(own, int) and stored < 0:
            return f"{key} must not be negative"
        return None if is_number else f"{key} must be a number"
    return None if isinstance(stored, type(own)) or own is None else f"{key} must be {type(own).__name__}"


def describe(tensor: Tensor) -> str:
    """Return a tensor's shape and type in words."""
    shape = "x".join(map(str, tensor.shape)) or "a number"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')}"
