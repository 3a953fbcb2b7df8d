"""Classes of the user's own that are told of a run (trainer.hooks): found, checked, called with a view."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, UserError
from ..kept_state import state_kept
from ..runs.metrics_file import Row, is_of_epoch
from ..runs.run_progress import Progress
from ..settings.nearest_name import did_you_mean
from ..user_code import UserFunction, kind_of

# What a hook may do: the names of its methods.
EVENTS = ("on_start", "on_step", "on_epoch", "on_end")


@dataclass(frozen=True)
class RunView:
    """What a hook sees of a run; nothing of it can be changed.

    folder: the run's. config: its whole configuration, as in config["optim"]["lr"]. step: updates made.
    epoch: epochs made, with a fraction within one. row: the row of metrics.jsonl just written, {} in
    on_start. summary: summary.json, with the status of the run, in on_end; {} before.
    """

    folder: Path
    config: Mapping[str, Any]
    step: int = 0
    epoch: float = 0
    row: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    summary: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Hooks:
    """The hooks of a run, called in the order of the setting; a `Recorder` calls them with each row.

    Making them and each call leave random numbers and the state of the process as they are. What one raises
    is passed on.
    """

    def __init__(self, paths: list[str]):
        self._hooks = [(path, _made(path)) for path in paths]
        self._view: RunView | None = None

    def start(self, folder: Path, config: dict[str, Any], progress: Progress) -> None:
        """Call on_start; progress: that with which a continued run begins."""
        view = RunView(folder.absolute(), _frozen(config), progress.step, progress.epoch)
        self._call("on_start", view)
        self._view = view

    def __call__(self, row: Row) -> None:
        """Call on_step or on_epoch with a row of metrics.jsonl."""
        assert self._view is not None
        self._view = replace(self._view, step=row["step"], epoch=row["epoch"], row=_frozen(row))
        self._call("on_epoch" if is_of_epoch(row) else "on_step", self._view)

    def end(self, summary: dict[str, Any]) -> None:
        """Call on_end, once and only after on_start."""
        if self._view is not None:
            view, self._view = replace(self._view, summary=_frozen(summary)), None
            self._call("on_end", view)

    def _call(self, event: str, view: RunView) -> None:
        for path, hook in self._hooks:
            if (method := getattr(hook, event, None)) is not None:
                with _process_kept(f"trainer.hooks={path}: {event}"):
                    method(view)


def hook_problems(paths: list[str]) -> Iterator[str]:
    """Yield an error for each class that is not found, cannot be made, or has other methods than EVENTS."""
    for path in paths:
        function = _function(path)
        if problems := function.problems():
            yield from problems
        else:
            yield from (f"{function.prefix}: {line}" for line in _class_problems(function.load()))


class _HookClass(UserFunction):
    """A class named by trainer.hooks, which has no setting for arguments."""

    def _call_problem(self, function: Any) -> str | None:
        if not isinstance(function, type):
            return f"is a {type(function).__name__}; name a class with methods among {', '.join(EVENTS)}"
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            return f"is made without arguments ({error}); give each a default"
        return None


def _function(path: str) -> UserFunction:
    return _HookClass("trainer.hooks", path)


def _made(path: str) -> Any:
    """Return an object of the class at package.module:Class; raises ConfigError."""
    with _process_kept(f"trainer.hooks={path}: making it"):
        hook = _function(path).call()
    for name in EVENTS:
        if hasattr(hook, name) and not callable(method := getattr(hook, name)):
            raise ConfigError([f"trainer.hooks={path}: {_no_method(name, method)}"])
    return hook


def _class_problems(hook: Any) -> Iterator[str]:
    events = [name for name in dir(hook) if name.startswith("on_")]
    if not events:
        yield f"has no method that is called; write def on_epoch(self, run), or one of {', '.join(EVENTS)}"
    for name in events:
        method = inspect.getattr_static(hook, name)
        if name not in EVENTS:
            yield f"{name} is never called; {did_you_mean(name, EVENTS)}"
        elif inspect.iscoroutinefunction(method):
            yield f"{name} is an async function; write def in place of async def"
        elif inspect.isgeneratorfunction(method):
            yield f"{name} is a generator, whose body would never run; leave yield out of it"
        elif not (callable(method) or isinstance(method, staticmethod | classmethod)):
            yield _no_method(name, method)
        elif not _takes_view(hook, name):
            yield f"{name} must take one argument, the view of the run; write def {name}(self, run)"


def _no_method(name: str, value: object) -> str:
    return f"{name} is {kind_of(value)}, which cannot be called; write def {name}(self, run)"


def _takes_view(hook: type, name: str) -> bool:
    """Return whether a method of an instance can be called with one argument."""
    method, is_static = getattr(hook, name), isinstance(inspect.getattr_static(hook, name), staticmethod)
    arguments = (None,) if is_static or inspect.ismethod(method) else (None, None)
    try:
        inspect.signature(method).bind(*arguments)
    except (TypeError, ValueError):  # not callable, other arguments; a builtin without a signature
        return False
    return True


@contextmanager
def _process_kept(caller: str) -> Iterator[None]:
    """Keep random numbers and the state of the process; raises UserError where the latter is changed."""
    drawn = random.getstate(), np.random.get_state()
    has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if has_cuda else []
    with torch.random.fork_rng(devices=devices), state_kept() as changed:
        try:
            yield
        finally:
            random.setstate(drawn[0])
            np.random.set_state(drawn[1])
    if changed:
        raise UserError(f"{caller} changes {changed[0]}; take that out")


def _frozen(value: Any) -> Any:
    """Return mappings and lists, also those within, as ones that cannot be changed."""
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(entry) for name, entry in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
