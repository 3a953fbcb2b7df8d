"""Functions and classes of the user's own, named package.module:name: found, checked and called."""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .errors import ConfigError, Interrupted, UserError, first_line
from .kept_state import state_kept
from .machine_errors import machine_error
from .settings.fields import shorten
from .settings.nearest_name import did_you_mean

# Folders with code that is not the user's: this package, those installed beside torch, Python's own.
INSTALLED = (
    str(Path(__file__).resolve().parent),
    str(Path(torch.__file__).resolve().parents[1]),
    str(Path(inspect.__file__).resolve().parent),
)
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class UserFunction:
    """A function or class named by a setting, with the arguments of its calls.

    setting: that names it, such as "model.factory". path: package.module:name, in the working directory or
    installed. arguments: those of the user, by keyword. positional, keywords: the names of the arguments that
    the program passes, by position and by keyword. of_instance: whether a class gets positional when an
    instance of it is called, not when it is made.
    """

    setting: str
    path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    of_instance: bool = False

    @property
    def prefix(self) -> str:
        """The setting with its value, with which messages begin."""
        return f"{self.setting}={self.path}"

    @property
    def name(self) -> str:
        """The name of the function in its module."""
        return self.path.rpartition(":")[2]

    def problems(self) -> list[str]:
        """Return the errors that prevent a call; the module is imported for it."""
        return self._find()[1]

    def load(self) -> Callable[..., Any]:
        """Return the function or class; raises ConfigError with the lines of `problems`."""
        function, problems = self._find()
        if function is None:
            raise ConfigError(problems)
        return function

    def call(self, *values: Any, **given: Any) -> Any:
        """Return what a call with the program's values and the user's arguments returns.

        Raises ConfigError where it cannot be called, fails, or changes the state of the process.
        """
        function = self.load()
        with self.running(f"calling {self.name}"):
            return function(*values, **given, **self.arguments)

    def wrong(self, problem: str) -> ConfigError:
        """Return the error for what the function does or returns."""
        return ConfigError([f"{self.prefix}: {problem}"])

    @contextmanager
    def running(self, action: str, error_type: Callable[[str], UserError] | None = None) -> Iterator[None]:
        """Raise where the user's code in the context fails, with its line, or changes the process.

        Its state (`kept_state.PARTS`) is put back. error_type: makes the error of a line; by default a
        ConfigError.
        """
        failed = error_type or (lambda line: ConfigError([line]))
        with state_kept() as changed:
            try:
                yield
            except SystemExit as error:
                line = f"{self.prefix}: {action} ended the program by sys.exit({error.code})"
                raise failed(line) from error
            except (KeyboardInterrupt, Interrupted, UserError):
                raise
            except BaseException as error:
                if machine_error(error) is not None:
                    raise
                raise failed(f"{self.prefix}: {action} failed{self._described(error)}") from error
        if changed:
            raise failed(f"{self.prefix}: {action} changes {changed[0]}; take that out")

    def _described(self, error: BaseException) -> str:
        """Return where in the user's code an error was raised, and what it says."""
        place = place_in_users_code(error)
        reason = f"{type(error).__name__}: {first_line(error)}"
        if any(f"keyword argument '{name}'" in reason for name in self.keywords):
            given = " and ".join(self.keywords)
            reason += f"; name a function of your own that takes {given}, and calls it"
        return f"{f' in {place}' if place else ''}: {shorten(reason, 300)}"

    def _find(self) -> tuple[Callable[..., Any] | None, list[str]]:
        """Return the function, or None and the errors."""
        if not self.path:
            return None, [f"{self.setting}: is not set; write {self.setting}=package.module:function"]
        module_name, colon, name = self.path.partition(":")
        if not (
            colon and name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))
        ):
            return None, [f"{self.prefix}: must be package.module:function, as in my_package.parts:my_part"]
        try:
            with self.running(f"importing {module_name}"):
                module, problem = _imported(module_name)
        except ConfigError as error:
            return None, error.problems
        if problem is None and not hasattr(module, name):
            public = [key for key, _ in inspect.getmembers(module, callable) if not key.startswith("_")]
            hint = f"; {did_you_mean(name, public)}" if public else ""
            problem = f"module {module_name} has no {name}{hint}"
        if problem is None:
            function = getattr(module, name)
            problem = self._call_problem(function)
        return (function, []) if problem is None else (None, [f"{self.prefix}: {problem}"])

    def _call_problem(self, function: Any) -> str | None:
        """Return why the function cannot be called with the program's and the user's arguments, or None."""
        if not callable(function):
            return f"{self.name} is {kind_of(function)}, not a function"
        if inspect.iscoroutinefunction(function):
            return "is an async function; write def in place of async def"
        try:
            signature = inspect.signature(function)
        except ValueError:
            return None  # a builtin without a signature cannot be checked before the call
        positional = () if self.of_instance and isinstance(function, type) else self.positional
        passed = (*positional, *self.keywords)
        own = self.setting.rpartition(".")[0] + ".arguments"
        taken = list(signature.parameters.values())
        first = [parameter.name for parameter in taken[: len(positional)]]
        for name in self.arguments:
            if name in (*passed, *first):
                return f"{name} is passed by the program; take it out of {own}"
        names = [parameter.name for parameter in taken if parameter.kind in BY_NAME]
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken):
            known = [name for name in names if name not in (*passed, *first)]
            for name in self.arguments:
                if name not in names:
                    hint = did_you_mean(name, known) if known else f"take it out of {own}"
                    return f"{self.name} has no argument {name}; {hint}"
        try:
            signature.bind(*positional, **dict.fromkeys(self.keywords), **self.arguments)
        except TypeError as error:
            given = (*self.keywords, *self.arguments)
            lacking = [entry.name for entry in taken[len(positional) :] if _is_required(entry)]
            missing = next((name for name in lacking if name not in given), None)
            if missing is not None and "missing" in str(error):
                return f"needs the argument {missing}; write +{own}.{missing}=VALUE"
            call = ", ".join([*positional, *(f"{name}=…" for name in given)])
            return f"cannot be called with ({call}): {error}"
        return None


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.kind in BY_NAME and parameter.default is inspect.Parameter.empty


def kind_of(value: object) -> str:
    """Return the type of a value as messages name it, such as "a list" or "an int"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def place_in_users_code(error: BaseException) -> str | None:
    """Return file and line of the innermost frame of code that is not INSTALLED, or None.

    Only frames below one of this package count: above are the script or the test that called it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    inside = itertools.dropwhile(lambda frame: not frame.filename.startswith(INSTALLED[0]), frames)
    for frame in reversed(list(inside)):
        if not frame.filename.startswith((*INSTALLED, "<")):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def _imported(module_name: str) -> tuple[Any, str | None]:
    """Return a module, found in the working directory before others; or None and why it is not there."""
    working_folder = str(Path.cwd())
    if working_folder not in sys.path:
        sys.path.insert(0, working_folder)
    try:
        return importlib.import_module(module_name), None
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            return None, f"no module {missing}, neither in {working_folder} nor installed"
        return None, f"{module_name} imports {missing}, which is not installed"
