"""The gradient of each module of a network by itself, to name the one whose backward pass is wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .numerical_gradient import backpropagated, compare_gradients


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module in a forward pass, with its arguments."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def wrong_modules(
    network: nn.Module, forward: Callable[[], Any], rng: torch.Generator, until: float = math.inf
) -> list[str]:
    """Return the names of the modules whose gradients are wrong, in the order of the forward pass.

    Each module called by `forward`, other than torch's own, is compared by itself: a random weighting of its
    outputs, with respect to its inputs and the parameters that it holds directly. A module that contains a
    wrong one is not named. Double precision. None is begun after `until`, in seconds of time.perf_counter.
    """
    wrong: list[str] = []
    for call in _calls(network, forward):
        if type(call.module).__module__.startswith("torch.nn."):
            continue
        if time.perf_counter() > until:
            break
        contains_wrong = any(name.startswith(f"{call.name}." if call.name else "") for name in wrong)
        if call.name not in wrong and not contains_wrong and _is_wrong(call, rng):
            wrong.append(call.name)
    return [name or type(network).__name__ for name in wrong]


def _calls(network: nn.Module, forward: Callable[[], Any]) -> list[ModuleCall]:
    """Return the calls of all modules in a forward pass; modules within a module come before it."""
    calls: list[ModuleCall] = []
    stored: dict[int, list[tuple[Any, ...]]] = {}  # arguments of the calls not yet ended, by module
    handles = []
    for name, module in network.named_modules():

        def after(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str = name
        ) -> None:
            calls.append(ModuleCall(name, module, stored[id(module)].pop(), kwargs))

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            # Copied before the call, which may work in place.
            copies = tuple(value.detach().clone() if isinstance(value, Tensor) else value for value in args)
            stored.setdefault(id(module), []).append(copies)

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _is_wrong(call: ModuleCall, rng: torch.Generator) -> bool:
    inputs = {
        f"input {number}": value.clone().requires_grad_()
        for number, value in enumerate(call.args)
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    own = call.module.named_parameters(recurse=False)
    parameters = {name: value for name, value in own if value.requires_grad}
    weightings: list[Tensor] = []

    def weighted_output() -> Tensor:
        # In-place modules may not overwrite the inputs, which the differences change.
        args = [
            inputs[f"input {number}"].clone() if f"input {number}" in inputs else value
            for number, value in enumerate(call.args)
        ]
        torch.manual_seed(0)  # the same dropout in every evaluation
        outputs = list(_floats(call.module(*args, **call.kwargs)))
        if not weightings:
            weightings.extend(
                torch.randn(output.shape, generator=rng, dtype=output.dtype) for output in outputs
            )
        products = zip(outputs, weightings, strict=True)
        return torch.stack([(output * weighting).sum() for output, weighting in products]).sum()

    tensors = inputs | parameters
    value = weighted_output()
    if not tensors or not value.requires_grad:
        return False
    gradients = backpropagated(weighted_output, tensors)
    return any(error.is_wrong for error in compare_gradients(weighted_output, tensors, gradients, 2, rng))


def _floats(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of real numbers in the output of a module."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, dict):
        yield from _floats(list(output.values()))
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _floats(value)
