"""A network of the user's own (N14): their function is found, called, and tried on two images."""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import ConfigError, Interrupted, first_line
from ..machine_errors import machine_error
from ..settings.fields import shorten
from ..settings.nearest_name import did_you_mean
from .external import set_dropout

# How torch says that a map is too small for a layer, which costs.layer_costs reports with the size needed.
TOO_SMALL = re.compile(r"[Oo]utput size is too small|[Kk]ernel size can't be greater than actual input size")
# Folders with code that is not the user's: this package, those installed beside torch, Python's own.
INSTALLED = (
    str(Path(__file__).resolve().parents[1]),
    str(Path(torch.__file__).resolve().parents[1]),
    str(Path(inspect.__file__).resolve().parent),
)
# What a user's code may change of the process by mistake, on which training depends: how it is read and set.
PROCESS_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "whether torch computes gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the working directory": (os.getcwd, os.chdir),
}


def custom_problems(factory: str, arguments: dict[str, Any]) -> list[str]:
    """Return the errors that prevent a call of `factory` with in_channels, classes and `arguments`."""
    return _find_factory(factory, arguments)[1]


def custom_network(
    factory: str,
    arguments: dict[str, Any],
    in_channels: int,
    classes: int,
    image_size: tuple[int, int],
    dropout: float | None,
) -> nn.Module:
    """Return factory(in_channels=…, classes=…, **arguments), tried in evaluation and in training.

    Raises ConfigError if the function is not found, does not accept these arguments, fails, changes
    PROCESS_STATE, or does not return a torch.nn.Module with weights whose output is (N, classes).
    """
    function, problems = _find_factory(factory, arguments)
    if function is None:
        raise ConfigError(problems)
    prefix = f"model.factory={factory}"
    with _users_code(prefix, f"calling {factory.rpartition(':')[2]}"):
        network = function(in_channels=in_channels, classes=classes, **arguments)
    if not isinstance(network, nn.Module):
        type_name = type(network).__name__
        raise ConfigError([f"{prefix}: returned a {type_name}; it must return a torch.nn.Module"])
    if isinstance(network, torch.jit.ScriptModule):
        raise ConfigError([f"{prefix}: returned a ScriptModule; leave torch.jit.script out"])
    images = torch.zeros(2, in_channels, *image_size)
    height, width = image_size
    shape = f"images of {height}x{width}x{in_channels},"
    for action, trial in (("its forward pass, of", _problem), ("a training step, on", _training_problem)):
        with _users_code(prefix, f"{action} {shape}"):
            try:
                problem = trial(network, images, classes)
            except RuntimeError as error:
                if TOO_SMALL.search(str(error)) is None:
                    raise
                problem = None
        if problem is not None:
            raise ConfigError([f"{prefix}: {problem}"])
    set_dropout(network, dropout)
    return network


def _problem(network: nn.Module, images: Tensor, classes: int) -> str | None:
    """Return what is wrong with a network or its output in evaluation; lazy layers get their weights."""
    training = network.training
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            network.eval()
            training_parts = [name for name, part in network.named_modules() if part.training]
            if training_parts:
                part = training_parts[0] or "it"
                return (
                    f"eval() leaves {part} in training mode, and with it dropout and batch normalization; "
                    "call super().train(mode) in its train()"
                )
            if any(map(is_lazy, network.parameters())):
                network(images)
            before = _shapes(network)
            output = network(images)
    finally:
        network.train(training)
    if problem := _changed(before, network, "its forward pass"):
        return problem
    if extra := [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]:
        return f"its state has {extra[0]}, which is no tensor; checkpoints hold tensors only, so use a buffer"
    if problem := _output_problem(output, len(images), classes, "evaluation"):
        return problem
    for name, weight in network.named_parameters():
        if weight.dtype != torch.float32:
            kind = str(weight.dtype).removeprefix("torch.")
            return f"its weights {name} are of type {kind}; leave them float32 (trainer.precision=bf16 casts)"
    if not any(weight.requires_grad for weight in network.parameters()):
        return "the network has no weights to train"
    if not output.requires_grad:
        return "its scores have no gradient; leave out detach(), torch.no_grad() and rounding in forward"
    return None


def _training_problem(network: nn.Module, images: Tensor, classes: int) -> str | None:
    """Return what is wrong with a network in training: two steps are made with a copy of it.

    A network that cannot be copied is not tried.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # whatever is in a user's network; a run itself makes no copies
        if "deepcopy protocol" not in str(error):
            return None
        return "it keeps a tensor of one forward pass for the next, with its graph; keep tensor.detach()"
    before = _shapes(copied)
    copied.train()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        inputs = torch.randn(images.shape)
        for _ in range(2):
            outputs = copied(inputs.clone())
            scores = outputs if isinstance(outputs, tuple) else (outputs,)
            if len(scores) > 1 and not isinstance(getattr(copied, "auxiliary_weight", None), float):
                return (
                    "the network returns several tensors in training; return one, or set its attribute "
                    "auxiliary_weight, the weight of the losses of the others"
                )
            for one in scores:
                if problem := _output_problem(one, len(images), classes, "training"):
                    return problem
            torch.autograd.backward([one.float().logsumexp(1).sum() for one in scores])
    if problem := _changed(before, copied, "a training step"):
        return problem
    sparse = [name for name, w in copied.named_parameters() if w.grad is not None and w.grad.is_sparse]
    if sparse:
        return f"the gradient of {sparse[0]} is sparse; penalties and clipping need sparse=False"
    return None


def _output_problem(output: object, images: int, classes: int, mode: str) -> str | None:
    """Return what is wrong with the output of a forward pass in a mode, or None."""
    if not isinstance(output, Tensor):
        return f"the network returns a {type(output).__name__} in {mode}; it must return one tensor"
    shape = (images, classes)
    if tuple(output.shape) != shape:
        found = tuple(output.shape)
        return f"the network returns scores of {found} in {mode} for {images} images, not {shape}"
    return None


def _changed(before: dict[str, torch.Size], network: nn.Module, action: str) -> str | None:
    """Return an error if the weights and buffers of a network are not those of before any more, or None."""
    after = _shapes(network)
    for name in [*after, *before]:
        if after.get(name) != before.get(name):
            change = "changes the shape of" if name in before and name in after else "adds or removes"
            return f"{action} {change} {name}; no checkpoint could be loaded"
    return None


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items() if isinstance(value, Tensor)}


@contextmanager
def _users_code(prefix: str, action: str) -> Iterator[None]:
    """Raise ConfigError where a user's code in the context fails, with its line, or changes PROCESS_STATE."""
    before = {name: read() for name, (read, _) in PROCESS_STATE.items()}
    try:
        yield
    except SystemExit as error:
        raise ConfigError([f"{prefix}: {action} ended the program by sys.exit({error.code})"]) from error
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:
        if machine_error(error) is not None:
            raise
        place = place_in_users_code(error)
        reason = f"{type(error).__name__}: {first_line(error)}"
        if "keyword argument 'in_channels'" in reason or "keyword argument 'classes'" in reason:
            reason += "; name a function of your own that takes in_channels and classes, and calls it"
        where = f" in {place}" if place else ""
        raise ConfigError([f"{prefix}: {action} failed{where}: {shorten(reason, 300)}"]) from error
    finally:
        changed = [name for name, (read, _) in PROCESS_STATE.items() if read() != before[name]]
        for name in changed:
            PROCESS_STATE[name][1](before[name])
    if changed:
        raise ConfigError([f"{prefix}: {action} changes {changed[0]}; take that out"])


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


def _find_factory(factory: str, arguments: dict[str, Any]) -> tuple[Callable[..., Any] | None, list[str]]:
    """Return the function at package.module:function, or None and the errors."""
    prefix = f"model.factory={factory}"
    if not factory:
        return None, ["model.factory: is not set; write model.factory=package.module:function"]
    module_name, colon, name = factory.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        return None, [f"{prefix}: must be package.module:function, as in my_package.nets:my_net"]
    working_folder = str(Path.cwd())
    if working_folder not in sys.path:
        sys.path.insert(0, working_folder)
    try:
        with _users_code(prefix, f"importing {module_name}"):
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                missing = error.name or ""
                if module_name == missing or module_name.startswith(f"{missing}."):
                    return None, [f"{prefix}: no module {missing}, neither in {working_folder} nor installed"]
                return None, [f"{prefix}: {module_name} imports {missing}, which is not installed"]
    except ConfigError as error:
        return None, error.problems
    if not hasattr(module, name):
        functions = [key for key, _ in inspect.getmembers(module, callable) if not key.startswith("_")]
        hint = f"; {did_you_mean(name, functions)}" if functions else ""
        return None, [f"{prefix}: module {module_name} has no {name}{hint}"]
    function = getattr(module, name)
    if not callable(function):
        return None, [f"{prefix}: {name} is a {type(function).__name__}, not a function"]
    problem = _call_problem(function, arguments)
    return (None, [f"{prefix}: {problem}"]) if problem else (function, [])


def _call_problem(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """Return why a function cannot be called with in_channels, classes and `arguments`, or None."""
    reserved = [key for key in ("in_channels", "classes") if key in arguments]
    if reserved:
        return f"{reserved[0]} comes from the data; take it out of model.arguments"
    if inspect.iscoroutinefunction(function):
        return "is an async function; write def in place of async def"
    try:
        inspect.signature(function).bind(in_channels=1, classes=2, **arguments)
    except TypeError as error:
        signature = ", ".join(["in_channels=…", "classes=…", *(f"{key}=…" for key in arguments)])
        return f"cannot be called with ({signature}): {error}"
    except ValueError:
        return None  # a builtin without a signature cannot be checked before the call
    return None
